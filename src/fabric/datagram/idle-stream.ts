/**
 * Closes the stream of a link over datagrams when nobody has needed it for a while, so that the
 * node keeps nothing of a client that reads and writes alone. It is made again by the next call.
 *
 *   open --nothing was started over it for so long--> let go (with a goodbye) --call--> open
 *
 * A client to whom something at the node belongs keeps its stream: windows over ranges, which end
 * with it, and frames that were promised to an operation. See docs/internals/datagrams.md.
 */

import { Status } from '../../base/status.js';
import type { Timer } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType, type Reply, type Request } from '../../wire/messages.js';
import { fabricFaults } from '../planted.js';
import type { Transport } from '../transport.js';

/** Opening a stream again costs two round trips; keeping it costs the node a slot and buffers. */
export const STREAM_IDLE_MS_DEFAULT = 5_000;

/** A window that ends when its client is forgotten. */
interface Held {
  readonly lease: number;
}

export class IdleStream {
  readonly #runtime: Runtime;
  readonly #transport: Transport;
  readonly #idleMs: number;
  /** By number. */
  readonly #windows = new Map<number, Held>();
  readonly #reservations = new Set<number>();
  #timer: Timer | undefined;
  #usesSeen = 0;
  #isClosed = false;

  constructor(runtime: Runtime, transport: Transport, idleMs: number) {
    this.#runtime = runtime;
    this.#transport = transport;
    this.#idleMs = idleMs;
  }

  /** From the transport: its state may be another one. */
  changed(): void {
    if (this.#transport.isClosed) this.close();
    if (this.#timer !== undefined || this.#isClosed || this.#transport.way === '') return;
    this.#usesSeen = this.#transport.uses;
    this.#timer = this.#runtime.timers.after(this.#idleMs, () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  #look(): void {
    const transport = this.#transport;
    const isInCall = !transport.isEmpty && !fabricFaults.streamClosedInCall;
    const isUsed = transport.uses !== this.#usesSeen || isInCall;
    const holds = this.#windows.size > 0 || this.#reservations.size > 0;
    const isHeld = holds && !fabricFaults.streamClosedThoughHeld;
    if (isUsed || isHeld || !transport.letGo()) this.changed();
  }

  reserved(reservation: number): void {
    this.#reservations.add(reservation);
  }

  unreserved(reservation: number): void {
    this.#reservations.delete(reservation);
  }

  /** Takes note of what a call has made or ended at the node; hands its reply on. */
  async follow<T extends MessageType>(
    type: T,
    request: Request<T>,
    answer: Promise<Reply<T>>,
  ): Promise<Reply<T>> {
    const reply = await answer;
    const isOk = reply.status === Status.Ok;
    if (type === MessageType.OpenRange && isOk) {
      const { window } = reply as { readonly window: number };
      this.#windows.set(window, { lease: (request as unknown as Held).lease });
    } else if (type === MessageType.RevokeWindow || type === MessageType.CloseWindow) {
      const isGone = isOk || reply.status === Status.Stale || reply.status === Status.NotFound;
      if (isGone) this.#windows.delete((request as unknown as { window: number }).window);
    } else if (type === MessageType.EndLease && isOk) {
      const { lease } = request as unknown as Held;
      for (const [window, held] of this.#windows) {
        if (held.lease === lease) this.#windows.delete(window);
      }
    }
    return reply;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }
}
