/**
 * What becomes of the operations that were sent over a lost connection, once the node has said
 * what it executed of them. Every one is in exactly one case:
 *
 *   executed, result known      told
 *   executed, can be repeated   sent again; a read only if no later write of ours may show in it
 *   not executed                sent again, in the old order, before anything newer
 *   unknown (no record)         writes, atomics, calls: OutcomeUnknown; what can be repeated: again
 *
 * A read that is repeated would see a later write of the same client to the same bytes, which the
 * order of calls forbids; it ends as `Unavailable` and may be tried again by the caller.
 */

import { Status } from '../base/status.js';
import type { MissedResult } from '../wire/messages.js';
import { MessageType } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import { DROPPED, type OperationRing, SENT, WAITING } from './operation-ring.js';
import { changesBytes, isRepeatable } from './verbs.js';
import { fabricFaults } from './planted.js';

export type Missed = Fields<typeof MissedResult>;

export interface Answer {
  /** False: the node knows nothing of the connection. */
  readonly isKnown: boolean;
  readonly executed: number;
  readonly missed: readonly Missed[];
}

/** How one operation ended. */
export interface Settled {
  readonly position: number;
  readonly status: Status;
  /** From the node's record; undefined where the status says all. */
  readonly result: Missed | undefined;
}

/**
 * Marks every sent operation as waiting again or as dropped, and rewinds the ring, so that what is
 * kept is sent again first. Returns those that have ended; the caller tells them.
 */
export function reconcile(ring: OperationRing, answer: Answer): Settled[] {
  const settled: Settled[] = [];
  const results = new Map(answer.missed.map((missed) => [missed.sequence, missed]));
  const isIgnored = fabricFaults.recordIgnored && answer.isKnown;
  const blockers = new Blockers();
  // Newest first, so that a read meets the writes after it.
  for (let position = ring.sent - 1; position >= ring.head; position--) {
    const place = ring.place(position);
    if (ring.state[place] !== SENT) continue;
    const sequence = ring.sequence[place] as number;
    const isExecuted = answer.isKnown && !isIgnored && ((sequence - answer.executed) | 0) <= 0;
    const mayBeExecuted = isExecuted || !answer.isKnown;
    const found = isExecuted ? results.get(sequence) : undefined;
    // Of another type it is a result from before the numbers wrapped.
    const result = found?.type === ring.type[place] ? found : undefined;
    const status = settle(ring, place, mayBeExecuted, result, blockers);
    if (mayBeExecuted) blockers.add(ring, place);
    if (status === undefined) {
      ring.state[place] = WAITING;
      continue;
    }
    if (ring.sink[place] !== undefined) settled.push({ position, status, result });
    ring.state[place] = DROPPED;
  }
  ring.sent = ring.head;
  if (fabricFaults.replyMatchedWrong) swapTwoReads(ring);
  return settled.reverse();
}

/** How the operation ended if there is no `result` for it; undefined: it is sent again. */
function settle(
  ring: OperationRing,
  place: number,
  mayBeExecuted: boolean,
  result: Missed | undefined,
  blockers: Blockers,
): Status | undefined {
  // Told already, because its deadline passed; its bytes are no longer ours to send.
  if (ring.sink[place] === undefined) return Status.Timeout;
  if (!mayBeExecuted) return undefined;
  const type = ring.type[place] as number;
  if (type === MessageType.Read && blockers.overlap(ring, place)) return Status.Unavailable;
  return isRepeatable(type) && result === undefined ? undefined : Status.OutcomeUnknown;
}

/** Positions of reads that were sent, in which a later operation that was sent may show. */
export function readsTooLate(ring: OperationRing): ReadonlySet<number> {
  const late = new Set<number>();
  const blockers = new Blockers();
  for (let position = ring.sent - 1; position >= ring.head; position--) {
    const place = ring.place(position);
    if (ring.state[place] !== SENT) continue;
    const isRead = ring.type[place] === MessageType.Read;
    if (isRead && blockers.overlap(ring, place)) late.add(position);
    blockers.add(ring, place);
  }
  return late;
}

/** Calls after which a read may be refused that was right before, or shows something else. */
const ENDS_READING: ReadonlySet<number> = new Set([
  MessageType.Free,
  MessageType.GiveSlab,
  MessageType.TrimSlab,
  MessageType.Protect,
  MessageType.CloseWindow,
]);

/** Ranges that later operations may have changed. */
export class Blockers {
  readonly #ranges: { space: number; start: number; end: number }[] = [];
  #isAll = false;

  add(ring: OperationRing, place: number): void {
    const type = ring.type[place] as number;
    if (ENDS_READING.has(type)) this.#isAll = true;
    if (!changesBytes(type)) return;
    const start = ring.address[place] as number;
    const end = start + (ring.bytes[place] as number);
    this.#ranges.push({ space: ring.window[place]?.space ?? 0, start, end });
  }

  overlap(ring: OperationRing, place: number): boolean {
    if (this.#isAll) return true;
    const space = ring.window[place]?.space ?? 0;
    const start = ring.address[place] as number;
    const end = start + (ring.bytes[place] as number);
    return this.#ranges.some(
      (range) => range.space === space && range.start < end && start < range.end,
    );
  }
}

/** A planted bug. */
function swapTwoReads(ring: OperationRing): void {
  const reads: number[] = [];
  for (let position = ring.head; position < ring.tail && reads.length < 2; position++) {
    const place = ring.place(position);
    if (ring.state[place] !== WAITING || ring.type[place] !== MessageType.Read) continue;
    reads.push(place);
  }
  const [a, b] = reads;
  if (a === undefined || b === undefined || ring.bytes[a] !== ring.bytes[b]) return;
  const address = ring.address[a] as number;
  ring.address[a] = ring.address[b] as number;
  ring.address[b] = address;
}
