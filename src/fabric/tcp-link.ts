/**
 * A link over streams (tcp and unix sockets): the verbs of `link.ts`, each of which is one place
 * in the ring of the link's transport.
 */

import { assert } from '../base/assert.js';
import { regionKey } from '../base/region-key.js';
import { Status } from '../base/status.js';
import type { Reply, Request } from '../wire/messages.js';
import { type CallType, isCallType, MessageType } from '../wire/messages.js';
import { BodyPool } from './body-pool.js';
import { encodeRequest } from './call-codec.js';
import { CallSink } from './call-sink.js';
import type { CompletionSink, Link, Window } from './link.js';
import type { OperationRing } from './operation-ring.js';
import { QueuedVerbs } from './ring-verbs.js';
import { type Asking, Transport } from './transport.js';

export class TcpLink extends QueuedVerbs implements Link {
  readonly #asking: Asking;
  readonly #bodies = new BodyPool();
  /** How things stand with the node: for who goes another way as well. */
  readonly transport: Transport;

  /** `onClose` is told once, when the link is closed on this side. */
  constructor(asking: Asking, address: string, memoryId: number, onClose: () => void) {
    super();
    this.#asking = asking;
    this.transport = new Transport(asking, address, memoryId, onClose);
  }

  protected get ring(): OperationRing {
    return this.transport.ring;
  }

  protected start(type: number, sink: CompletionSink, token: number, deadline: number): number {
    return this.transport.add(type, sink, token, deadline);
  }

  call<T extends MessageType>(type: T, request: Request<T>, timeoutMs: number): Promise<Reply<T>> {
    assert(isCallType(type), 'data messages are verbs, not calls');
    const bodies = this.#bodies;
    const body = encodeRequest(type, request as Request<CallType>, bodies);
    return new Promise((resolve) => {
      const sink = new CallSink(type, this.transport, (reply) => {
        // The ring has let go of it before it tells how the call ended.
        if (typeof body !== 'string') bodies.giveBack(body);
        resolve(reply as Reply<T>);
      });
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
    const { windowRights: rights } = this.transport;
    const reply = await this.call(MessageType.OpenWindow, { space, rights }, timeoutMs);
    if (reply.status !== Status.Ok) return reply.status;
    const known = this.transport.windows.get(space);
    const window: Window = known ?? { space, id: reply.window, epoch: reply.epoch };
    window.id = reply.window;
    window.epoch = reply.epoch;
    this.transport.windows.set(space, window);
    return window;
  }

  get opening(): number {
    return this.transport.opening;
  }

  awaits(space: number, region: number): boolean {
    return this.transport.ring.awaits(regionKey(space, region));
  }

  giveBack(space: number, region: number): void {
    this.transport.giveBack(regionKey(space, region));
  }

  set onLoss(callback: () => void) {
    this.transport.onLoss = callback;
  }

  /** The number of the client that this link is of. */
  get client(): number {
    return this.#asking.client;
  }

  /** Ends everything: what waits is told `Closed`, soon. */
  close(): void {
    this.transport.close();
  }
}
