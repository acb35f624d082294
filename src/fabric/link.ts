/**
 * The waist of the system: one-sided verbs against a memory node, and calls to any process.
 *
 * Verbs are made for many in flight: no object, closure or promise per operation. The caller names
 * a sink and a token; the link tells the sink exactly once how the operation ended, never from
 * within the call that started it. Operations of one link take effect at the node in the order in
 * which they were started (over tcp; the order rules of other links stand with them).
 */

import type { Outcome, Status } from '../base/status.js';
import type { MessageType, Reply, Request } from '../wire/messages.js';

/** A capability at one node for the part of one space that the node holds. */
export interface Window {
  readonly space: number;
  /**
   * Index in the node's window table, and the epoch it is good for; renewed after a restart. When
   * it cannot be renewed operations on it end as `Stale`, until `openWindow` has opened it again.
   */
  id: number;
  epoch: number;
}

/** What an operation on memory is about, by places; see `OperationRing`. */
export interface OperationColumns {
  readonly type: Uint8Array;
  readonly address: Float64Array;
  readonly start: Float64Array;
  readonly deadline: Float64Array;
  /** In which they were asked for. */
  readonly order: Float64Array;
  readonly operands: Int32Array;
  readonly buffer: readonly (Uint8Array | undefined)[];
}

export interface CompletionSink {
  /**
   * `token` is the caller's. The value (of atomics: the old one) comes in two unsigned halves,
   * because a bigint per operation is expensive; both 0 for the other verbs.
   */
  completed(token: number, status: Status, outcome: Outcome, low: number, high: number): void;
  /**
   * The node does not hold the region any more: `bytes` of the operation in `place` of the ring,
   * from `offset` of its range on, were not executed, and are to be started anew elsewhere. Told
   * before the operation is completed (`Moved`: nothing was executed). Nothing may be started at
   * the link before this has returned.
   */
  moved?(token: number, ring: OperationColumns, place: number, offset: number, bytes: number): void;
}

/** From a verb that is done at once or not at all: it was not, and has no effect. */
export const NOT_NOW = -1;

export interface Peer {
  /**
   * A call of any kind. Resolves with the reply, whose `status` may be any; never rejects. When
   * the connection is lost the status says whether it was applied (`OutcomeUnknown`) or not
   * (`Unavailable`, `Timeout`).
   */
  call<T extends MessageType>(type: T, request: Request<T>, timeoutMs: number): Promise<Reply<T>>;
  close(): void;
}

export interface Link extends Peer {
  /** Opens, or renews, a window for `space`. Status `NotFound`: the node holds none of it. */
  openWindow(space: number, timeoutMs: number): Promise<Window | Status>;
  /**
   * At most `PIECE_BYTES_MAX` bytes, within one page. `into` belongs to the link until told. When
   * the connection was lost and a later write of this link to the same bytes may have been
   * executed already, repeating the read would show it: then it ends as `Unavailable`.
   */
  read(
    window: Window,
    address: number,
    into: Uint8Array,
    intoStart: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void;
  /**
   * The bytes of `from` are copied before the call returns, or kept referenced until told. A page
   * that has no frame gets one of those that were promised under `reservation`, or, with 0 or when
   * none is left, one that nobody was promised.
   */
  write(
    window: Window,
    address: number,
    from: Uint8Array,
    fromStart: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
    reservation?: number,
  ): void;
  /** Operands and result are unsigned 64-bit values in two 32-bit halves. */
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
  ): void;
  fetchAndAdd(
    window: Window,
    address: number,
    deltaLow: number,
    deltaHigh: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void;
  /**
   * Promises frames for every page of the range that has none yet, so that the writes that follow
   * cannot run out of memory halfway; `NoSpace`, with nothing changed, when there are too few.
   * `reservation` is a number that the caller chooses, from 1 to below `RESERVATIONS_END`.
   */
  reserve(
    window: Window,
    address: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
    reservation?: number,
  ): void;
  /** Gives back what is left of the reservation. */
  unreserve(sink: CompletionSink, token: number, deadline: number, reservation?: number): void;
  /** Whether something that was started here to bytes of the region has not been told. */
  awaits(space: number, region: number): boolean;
  /**
   * The node does not answer, and another one holds the region now: what was never sent to it, and
   * reads, come back (`moved`). What may have been executed before goes on waiting. Of datagrams
   * nothing comes back.
   */
  giveBack(space: number, region: number): void;
  /** Called when a connection is lost, or not made, that somebody waits for. */
  onLoss?: (() => void) | undefined;
  /** Completes when everything started before it has taken effect at the node. */
  fence(sink: CompletionSink, token: number, deadline: number): void;

  // The same at once, for memory that can be reached without the node: done when they return, with
  // a `Status`; or `NOT_NOW`, when nothing was done and the verb above is to be used instead.
  // `OutcomeUnknown` of a write or an atomic: it may or may not have taken effect. They never
  // overtake an operation of this link that was started before.

  /** Whether something can be done at once now; else all of these are `NOT_NOW`. */
  readonly mayStep: boolean;

  /** At most `PIECE_BYTES_MAX` bytes, within one page. */
  readNow(
    window: Window,
    address: number,
    into: Uint8Array,
    intoStart: number,
    bytes: number,
  ): number;
  writeNow(
    window: Window,
    address: number,
    from: Uint8Array,
    fromStart: number,
    bytes: number,
  ): number;
  compareAndSwapNow(
    window: Window,
    address: number,
    expectedLow: number,
    expectedHigh: number,
    desiredLow: number,
    desiredHigh: number,
  ): number;
  fetchAndAddNow(window: Window, address: number, deltaLow: number, deltaHigh: number): number;
  /** What the last atomic that was done at once found, in unsigned halves. */
  readonly resultLow: number;
  readonly resultHigh: number;
  /** Where several can be done at once together. */
  readonly together?: Together;
  /**
   * Of the file of the memory, as the last hello told it: what is written from now on is written
   * under this opening, or a later one. 0, or missing: there was none, or it is no file.
   */
  readonly opening?: number;
}

/**
 * Reads alone, or writes alone, that are collected and then done at once, which is cheaper than one
 * by one. Whoever adds something runs it before it gives the thread to others.
 */
export interface Together {
  /** How many were added since the last `run`. */
  readonly count: number;
  /** As the verb that is done at once. False: it is full, and was not added. */
  addRead(
    window: Window,
    address: number,
    into: Uint8Array,
    intoStart: number,
    bytes: number,
  ): boolean;
  addWrite(
    window: Window,
    address: number,
    from: Uint8Array,
    fromStart: number,
    bytes: number,
  ): boolean;
  /** In the order in which they were added, up to the first that is not done; says how many. */
  run(): number;
  /** Of one of those: `Ok`, `OutcomeUnknown` of a write, `NOT_NOW` of a read to be redone. */
  statusOf(index: number): number;
  /**
   * Whether writes to all pages of the range would be done, as far as one look tells. It promises
   * nothing.
   */
  mayWrite(window: Window, address: number, bytes: number): boolean;
}
