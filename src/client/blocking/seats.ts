/**
 * The slots that a blocking thread has at the nodes of this machine, as the I/O thread takes them
 * for it: one seat per connection to a node.
 *
 *   none --link attached--> asking --slot--> settling --fence--> usable
 *    ^                                          ^-- doubt ---------'|
 *    +------------ link attached no more, or another process -------+
 *
 * A seat is usable only while the client's own link to the node is attached, which watches
 * connection and process, and only once a fence over that link has told that no earlier operation
 * of the thread can still be executed by the node: a step must not overtake one.
 */

import { Status } from '../../base/status.js';
import type { Link } from '../../fabric/link.js';
import type { Timer } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType } from '../../wire/messages.js';
import type { Connection, MemorySharing } from '../connections.js';
import { fenceOver } from '../fence.js';
import type { RouteFacts } from './port.js';

const CALL_MS = 5_000;
/** A node that is away sees by itself when the process has ended. */
const DETACH_MS = 500;
const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 10_000;
/** Of one thread; regions at more nodes go by the I/O thread. */
const SEATS_MAX = 256;

type Taken = Omit<RouteFacts, 'seat' | 'number' | 'window'>;

interface Seat {
  readonly connection: Connection;
  readonly index: number;
  /** Names the thread to the node: the same one means the same slot again. */
  readonly token: number;
  readonly unwatch: () => void;
  taken: Taken | undefined;
  number: number;
  /** The slot that the node has given, also when it is not used; -1: none. */
  slot: number;
  isSettled: boolean;
  /** Rises with everything that makes an answer, which is under way, an old one. */
  changes: number;
  isAsking: boolean;
  retry: Timer | undefined;
  retryMs: number;
}

export interface SeatsParts {
  readonly runtime: Runtime;
  /** None where memory cannot, or is not to, be reached without its node. */
  readonly sharing: MemorySharing | undefined;
  /** What the thread knows holds no more, or there is something better. */
  readonly changed: () => void;
}

export class Seats {
  readonly #parts: SeatsParts;
  readonly #seats: Seat[] = [];
  #isEnded = false;

  constructor(parts: SeatsParts) {
    this.#parts = parts;
  }

  /** How the thread reaches the node's memory now; undefined: not at all, but maybe later. */
  at(connection: Connection): Omit<RouteFacts, 'window'> | undefined {
    if (this.#isEnded || this.#parts.sharing === undefined) return undefined;
    const seat = this.#seats.find((one) => one.connection === connection) ?? this.#make(connection);
    if (seat === undefined) return undefined;
    if (seat.taken !== undefined && seat.isSettled) {
      return { seat: seat.index, number: seat.number, ...seat.taken };
    }
    this.#ask(seat);
    return undefined;
  }

  #make(connection: Connection): Seat | undefined {
    const { sharing, runtime } = this.#parts;
    if (sharing === undefined || this.#seats.length === SEATS_MAX) return undefined;
    const seat: Seat = {
      connection,
      index: this.#seats.length,
      token: runtime.entropy.u53(),
      unwatch: sharing.watch(connection.link, () => this.#linkChanged(seat)),
      taken: undefined,
      number: 0,
      slot: -1,
      isSettled: false,
      changes: 0,
      isAsking: false,
      retry: undefined,
      retryMs: RETRY_MS_MIN,
    };
    this.#seats.push(seat);
    return seat;
  }

  #linkChanged(seat: Seat): void {
    this.#leave(seat);
    seat.retry?.cancel();
    seat.retry = undefined;
    this.#parts.runtime.timers.soon(() => this.#ask(seat));
  }

  /** The thread may not use it as it is. */
  #leave(seat: Seat): void {
    seat.changes += 1;
    seat.taken = undefined;
    seat.isSettled = false;
    this.#parts.changed();
  }

  /** An operation of the thread may still be executed by a node, nobody knows when. */
  doubt(): void {
    for (const seat of this.#seats) {
      seat.changes += 1;
      seat.isSettled = false;
    }
    this.#parts.changed();
    for (const seat of this.#seats) this.#ask(seat);
  }

  /** The thread could not open the files that it was told of. */
  unusable(index: number, number: number): void {
    const seat = this.#seats[index];
    if (seat === undefined || seat.number !== number || seat.taken === undefined) return;
    this.#leave(seat);
    void this.#detach(seat);
    this.#tryLater(seat);
  }

  #ask(seat: Seat): void {
    const { sharing } = this.#parts;
    const { link, isClosed } = seat.connection;
    if (this.#isEnded || isClosed || seat.isAsking || seat.retry !== undefined) return;
    if (sharing?.isAttached(link) !== true) return;
    seat.isAsking = true;
    const { changes } = seat;
    void this.#askNow(seat, link, sharing.client).then((status) => {
      seat.isAsking = false;
      if (this.#isEnded) void this.#detach(seat);
      else if (seat.changes !== changes) this.#ask(seat);
      else if (status === Status.Ok) this.#settled(seat);
      else this.#tryLater(seat);
    });
  }

  async #askNow(seat: Seat, link: Link, client: number): Promise<Status> {
    const { changes } = seat;
    if (seat.taken === undefined) {
      const { identity } = this.#parts.runtime.processes;
      const request = { token: seat.token, identity };
      const reply = await link.call(MessageType.Attach, request, CALL_MS);
      if (reply.status !== Status.Ok) return reply.status;
      const { slot, incarnation, table, frames, slots } = reply;
      seat.slot = slot;
      if (seat.changes !== changes) return Status.Stale;
      const { memoryId } = seat.connection;
      seat.taken = { client, memoryId, slot, incarnation, table, frames, slots };
      seat.number += 1;
    }
    return fenceOver(link, this.#parts.runtime.clock.now() + CALL_MS);
  }

  #settled(seat: Seat): void {
    seat.isSettled = true;
    seat.retryMs = RETRY_MS_MIN;
    this.#parts.changed();
  }

  #tryLater(seat: Seat): void {
    const ms = seat.retryMs;
    seat.retryMs = Math.min(RETRY_MS_MAX, 2 * ms);
    seat.retry?.cancel();
    seat.retry = this.#parts.runtime.timers.after(ms, () => {
      seat.retry = undefined;
      this.#ask(seat);
    });
  }

  async #detach(seat: Seat): Promise<void> {
    const { token, slot, connection } = seat;
    if (slot < 0 || connection.isClosed) return;
    seat.slot = -1;
    await connection.link.call(MessageType.Detach, { token, slot }, DETACH_MS);
  }

  /** Gives all slots back: only when the thread cannot be in a step any more. */
  async end(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const seat of this.#seats) {
      seat.unwatch();
      seat.retry?.cancel();
    }
    const detached = this.#seats.map((seat) => (seat.isAsking ? undefined : this.#detach(seat)));
    await Promise.all(detached);
  }
}
