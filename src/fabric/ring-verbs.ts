/** The queued verbs of `link.ts`: each is one place in a ring, which `start` makes. */

import { assert } from '../base/assert.js';
import { PIECE_BYTES_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { type CompletionSink, NOT_NOW, type Window } from './link.js';
import type { OperationRing } from './operation-ring.js';

export abstract class RingVerbs {
  /** The ring in which `start` has just made a place. */
  protected abstract readonly ring: OperationRing;

  /**
   * The place of a new operation, for the caller to fill in; -1: it was refused, and its sink is
   * told soon.
   */
  protected abstract start(
    type: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): number;

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
    const place = this.start(MessageType.Read, sink, token, deadline);
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
    const place = this.start(MessageType.Write, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, bytes, from, fromStart);
    this.ring.operands[place * 4] = reservation;
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
    const place = this.start(MessageType.CompareAndSwap, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, 8, undefined, 0);
    const { operands } = this.ring;
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
    const place = this.start(MessageType.FetchAndAdd, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, 8, undefined, 0);
    this.ring.operands[place * 4] = deltaLow;
    this.ring.operands[place * 4 + 1] = deltaHigh;
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
    const place = this.start(MessageType.Reserve, sink, token, deadline);
    if (place < 0) return;
    this.#aim(place, window, address, bytes, undefined, 0);
    this.ring.operands[place * 4] = reservation;
  }

  unreserve(sink: CompletionSink, token: number, deadline: number, reservation = 0): void {
    const place = this.start(MessageType.Unreserve, sink, token, deadline);
    if (place >= 0) this.ring.operands[place * 4] = reservation;
  }

  fence(sink: CompletionSink, token: number, deadline: number): void {
    this.start(MessageType.Fence, sink, token, deadline);
  }

  #aim(
    place: number,
    window: Window,
    address: number,
    bytes: number,
    buffer: Uint8Array | undefined,
    start: number,
  ): void {
    const { ring } = this;
    ring.window[place] = window;
    ring.address[place] = address;
    ring.bytes[place] = bytes;
    ring.buffer[place] = buffer;
    ring.start[place] = start;
  }
}

/** The verbs of a link that does nothing at once. */
export abstract class QueuedVerbs extends RingVerbs {
  readonly resultLow = 0;
  readonly resultHigh = 0;
  readonly mayStep = false;

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
}
