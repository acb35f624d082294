/**
 * A link over streams (tcp and unix sockets): the verbs of `link.ts`, each of which is one place
 * in the ring of the link's transport.
 */

import { assert } from '../base/assert.js';
import { Status } from '../base/status.js';
import { PIECE_BYTES_MAX } from '../wire/limits.js';
import { type CallType, isCallType, MessageType, Right } from '../wire/messages.js';
import type { Reply, Request } from '../wire/messages.js';
import { encodeRequest } from './call-codec.js';
import { CallSink } from './call-sink.js';
import { type CompletionSink, type Link, NOT_NOW, type Window } from './link.js';
import { type Asking, Transport } from './transport.js';

export class TcpLink implements Link {
  readonly resultLow = 0;
  readonly resultHigh = 0;
  readonly #asking: Asking;
  /** How things stand with the node: for who goes another way as well. */
  readonly transport: Transport;

  /** `onClose` is told once, when the link is closed on this side. */
  constructor(asking: Asking, address: string, memoryId: number, onClose: () => void) {
    this.#asking = asking;
    this.transport = new Transport(asking, address, memoryId, onClose);
  }

  read(
    window: Window,
    address: number,
    into: Uint8Array,
    intoStart: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    assert(bytes <= PIECE_BYTES_MAX && intoStart + bytes <= into.length, 'a read out of bounds');
    const place = this.transport.add(MessageType.Read, sink, token, deadline);
    if (place >= 0) this.#aim(place, window, address, bytes, into, intoStart);
  }

  write(
    window: Window,
    address: number,
    from: Uint8Array,
    fromStart: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
    reservation = 0,
  ): void {
    assert(bytes <= PIECE_BYTES_MAX && fromStart + bytes <= from.length, 'a write out of bounds');
    const place = this.transport.add(MessageType.Write, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, bytes, from, fromStart);
    this.transport.ring.operands[place * 4] = reservation;
  }

  compareAndSwap(
    window: Window,
    address: number,
    expectedLow: number,
    expectedHigh: number,
    desiredLow: number,
    desiredHigh: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const place = this.transport.add(MessageType.CompareAndSwap, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, 8, undefined, 0);
    const { operands } = this.transport.ring;
    operands[place * 4] = expectedLow;
    operands[place * 4 + 1] = expectedHigh;
    operands[place * 4 + 2] = desiredLow;
    operands[place * 4 + 3] = desiredHigh;
  }

  fetchAndAdd(
    window: Window,
    address: number,
    deltaLow: number,
    deltaHigh: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const place = this.transport.add(MessageType.FetchAndAdd, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, 8, undefined, 0);
    this.transport.ring.operands[place * 4] = deltaLow;
    this.transport.ring.operands[place * 4 + 1] = deltaHigh;
  }

  reserve(
    window: Window,
    address: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
    reservation = 0,
  ): void {
    const place = this.transport.add(MessageType.Reserve, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, bytes, undefined, 0);
    this.transport.ring.operands[place * 4] = reservation;
  }

  unreserve(sink: CompletionSink, token: number, deadline: number, reservation = 0): void {
    const place = this.transport.add(MessageType.Unreserve, sink, token, deadline);
    if (place >= 0) this.transport.ring.operands[place * 4] = reservation;
  }

  fence(sink: CompletionSink, token: number, deadline: number): void {
    this.transport.add(MessageType.Fence, sink, token, deadline);
  }

  /** Every operation is a message. */
  readNow(): number {
    return NOT_NOW;
  }

  writeNow(): number {
    return NOT_NOW;
  }

  compareAndSwapNow(): number {
    return NOT_NOW;
  }

  fetchAndAddNow(): number {
    return NOT_NOW;
  }

  call<T extends MessageType>(type: T, request: Request<T>, timeoutMs: number): Promise<Reply<T>> {
    assert(isCallType(type), 'data messages are verbs, not calls');
    const body = encodeRequest(type, request as Request<CallType>);
    return new Promise((resolve) => {
      const sink = new CallSink(type, this.transport, resolve as (reply: Reply<CallType>) => void);
      if (typeof body === 'string') {
        sink.refused(Status.Invalid, body);
        return;
      }
      const deadline = this.#asking.runtime.clock.now() + timeoutMs;
      const place = this.transport.add(type, sink, 0, deadline);
      if (place < 0) return;
      this.transport.ring.buffer[place] = body;
      this.transport.ring.bytes[place] = body.length;
    });
  }

  async openWindow(space: number, timeoutMs: number): Promise<Window | Status> {
    const rights = Right.READ | Right.WRITE;
    const reply = await this.call(MessageType.OpenWindow, { space, rights }, timeoutMs);
    if (reply.status !== Status.Ok) return reply.status;
    const known = this.transport.windows.get(space);
    const window: Window = known ?? { space, id: reply.window, epoch: reply.epoch };
    window.id = reply.window;
    window.epoch = reply.epoch;
    this.transport.windows.set(space, window);
    return window;
  }

  /** Ends everything: what waits is told `Closed`, soon. */
  close(): void {
    this.transport.close();
  }

  #aim(
    place: number,
    window: Window,
    address: number,
    bytes: number,
    buffer: Uint8Array | undefined,
    start: number,
  ): void {
    const { ring } = this.transport;
    ring.window[place] = window;
    ring.address[place] = address;
    ring.bytes[place] = bytes;
    ring.buffer[place] = buffer;
    ring.start[place] = start;
  }
}
