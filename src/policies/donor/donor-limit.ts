/**
 * How much a machine may lend now, from what it has left: a pure function, stepped with each
 * reading. docs/internals/donors.md says why it is as it is.
 *
 * It decides upon what there would be without us: what is available plus what we hold. Our own
 * giving back moves bytes from one to the other and changes nothing in the sum, so that neither how
 * long it takes nor how late it shows can make the limit swing.
 *
 * (Infiniswap's daemon smooths free memory with a weight of 0.7, evicts below 8 GB and expands
 * above 16 GB after 20 readings; it looks at free memory, which leaves out the page cache.)
 */

import { GiB, MiB } from '../../base/units.js';
import { smoothed } from '../average.js';

/** All in bytes; low below high. */
export interface DonorMarks {
  readonly low: number;
  readonly high: number;
}

export interface DonorReading {
  readonly nowMs: number;
  /** What programs could still take; whoever calls has seen that it is plausible. */
  readonly availableBytes: number;
  /** Physical memory of what is lent, at the same moment. */
  readonly heldBytes: number;
  /** The share of time in which something waited for memory; 0 where nobody says so. */
  readonly stalledShare: number;
}

export interface DonorState {
  /** So much may be lent: [0, capacity]. */
  readonly limitBytes: number;
  /** The average of what there would be without us, and one that forgets sooner. */
  readonly meanBytes: number;
  readonly quickBytes: number;
  /** Of the last reading. */
  readonly atMs: number;
  /** Bytes per ms by which what others use grows; at least 0. */
  readonly fallRate: number;
  /** Since when more could be lent without a break; undefined: it cannot. */
  readonly roomSinceMs: number | undefined;
  readonly isPanic: boolean;
}

/** Of the averages: after so long a change is seen by half. */
export const MEAN_MS = 1_500;
const QUICK_MS = 300;
/** Others would have used up all in so short a time. */
export const PANIC_WITHIN_MS = 5_000;
/** What falls in this time is given back ahead. */
export const AHEAD_MS = 2_000;
export const RAISE_AFTER_MS = 5_000;
/** Raised by at most this part of the capacity, each time that it has waited. */
const RAISE_STEPS = 8;
const RAISE_STEP_MS = 1_000;
/** By at least this part of the distance of the marks. */
const RAISE_PARTS = 4;
export const STALLED_SHARE = 0.1;

const LOW_SHARE = 0.05;
const HIGH_SHARE = 0.1;
const LOW_MIN = 32 * MiB;
const LOW_MAX = 8 * GiB;

/** Where nobody has set them: shares of the machine or control group, within bounds. */
export function defaultMarks(totalBytes: number): DonorMarks {
  const low = Math.min(LOW_MAX, Math.max(LOW_MIN, totalBytes * LOW_SHARE));
  const high = Math.min(2 * LOW_MAX, Math.max(2 * LOW_MIN, totalBytes * HIGH_SHARE));
  return { low: Math.floor(low), high: Math.floor(high) };
}

/** With the first reading all is lent that leaves the high mark. */
export function firstDonorState(
  reading: DonorReading,
  marks: DonorMarks,
  capacityBytes: number,
): DonorState {
  const without = reading.availableBytes + reading.heldBytes;
  return {
    limitBytes: within(without - marks.high, capacityBytes),
    meanBytes: without,
    quickBytes: without,
    atMs: reading.nowMs,
    fallRate: 0,
    roomSinceMs: undefined,
    isPanic: false,
  };
}

export function nextDonorState(
  before: DonorState,
  reading: DonorReading,
  marks: DonorMarks,
  capacityBytes: number,
): DonorState {
  const { nowMs, availableBytes, heldBytes, stalledShare } = reading;
  // A clock that stands still or goes back is no time.
  const passedMs = Math.max(0, nowMs - before.atMs);
  const without = availableBytes + heldBytes;
  const meanBytes = smoothed(before.meanBytes, without, passedMs, MEAN_MS);
  const quickBytes = smoothed(before.quickBytes, without, passedMs, QUICK_MS);
  // Of a steady fall each average lags behind by its time; noise is in neither.
  const fallRate = Math.max(0, (meanBytes - quickBytes) / (MEAN_MS - QUICK_MS));
  const isPanic = availableBytes < marks.low / 2 || availableBytes < fallRate * PANIC_WITHIN_MS;
  const ahead = isPanic ? fallRate * AHEAD_MS : 0;
  const seen = isPanic ? Math.min(meanBytes, without) - ahead : meanBytes;
  const isStalled = stalledShare >= STALLED_SHARE;
  const limit = within(before.limitBytes, capacityBytes);
  const middle = (marks.low + marks.high) / 2;
  const [lowMark, lowered] = isStalled ? [marks.high, marks.high] : [marks.low, middle];
  let limitBytes = limit;
  if (limit > seen - lowMark) limitBytes = Math.min(limit, within(seen - lowered, capacityBytes));
  const least = (marks.high - marks.low) / RAISE_PARTS;
  const raised = raise({ ...before, limitBytes }, seen - marks.high, least, nowMs, capacityBytes);
  const mayRaise = !isPanic && !isStalled && limitBytes === limit;
  return {
    ...(mayRaise ? raised : { limitBytes, roomSinceMs: undefined }),
    meanBytes,
    quickBytes,
    atMs: nowMs,
    fallRate,
    isPanic,
  };
}

function raise(
  state: { readonly limitBytes: number; readonly roomSinceMs: number | undefined },
  mayLend: number,
  leastBytes: number,
  nowMs: number,
  capacityBytes: number,
): { readonly limitBytes: number; readonly roomSinceMs: number | undefined } {
  const { limitBytes, roomSinceMs } = state;
  const target = within(mayLend, capacityBytes);
  // Not for what may be noise; the last bit of the capacity, once it is there, stays.
  const isWorthIt = target >= limitBytes + leastBytes || target === capacityBytes;
  if (target <= limitBytes || !isWorthIt) return { limitBytes, roomSinceMs: undefined };
  if (roomSinceMs === undefined) return { limitBytes, roomSinceMs: nowMs };
  if (nowMs - roomSinceMs < RAISE_AFTER_MS) return { limitBytes, roomSinceMs };
  const step = limitBytes + capacityBytes / RAISE_STEPS;
  // The next step comes after a shorter while.
  const next = nowMs - RAISE_AFTER_MS + RAISE_STEP_MS;
  return { limitBytes: Math.min(target, step), roomSinceMs: next };
}

function within(bytes: number, capacityBytes: number): number {
  return Math.min(Math.max(0, bytes), capacityBytes);
}
