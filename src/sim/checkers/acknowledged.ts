/**
 * Invariant 1: what was acknowledged stays readable while the memory of its node lives (what it
 * then reads is linearizability's to judge); what is gone with its node is named `DataLost`, from
 * the node's end on and for ever, and is never served as zeros. Judged at the end, when it is
 * known which node held what.
 */

import { type Allocation, type Ended, SUCCESS } from '../journal.js';
import type { Complaint } from './foreign.js';

/** The memory of a node ended, by the hand of whoever runs the simulation. */
export interface MemoryEnd {
  readonly node: string;
  /** From here on it is doomed: what is acknowledged before is lost for sure. */
  readonly at: number;
  /** The process that served it is gone as well; until then it may still have answered. */
  readonly goneAt: number;
  /**
   * Processes of its machine may have opened it: to them it is there until they notice that nobody
   * serves it any more.
   */
  readonly isOpened: boolean;
}

/** What the rack says in the end of the region of an allocation. */
export interface RegionInTheEnd {
  readonly node: string;
  readonly isLost: boolean;
  /** It was to go to other nodes: it may have been at any of them when their memory ended. */
  readonly mayHaveMoved?: boolean;
}

/** `readBack`: how the last attempt to read the allocation ended, when all was well again. */
export function judgeKeeping(
  allocation: Allocation,
  region: RegionInTheEnd,
  ends: readonly MemoryEnd[],
  readBack: Ended = SUCCESS,
): Complaint | undefined {
  const { name, lastServed, firstCalledLost } = allocation;
  const { mayHaveMoved = false } = region;
  const own = ends.filter((end) => mayHaveMoved || end.node === region.node);
  const certain = mayHaveMoved ? undefined : own.find((end) => end.at > allocation.returnedAt);
  const mustBeLost = certain !== undefined;
  // An end between call and answer may have come before the allocation was made, or after it; of
  // several, the last one that can have been it says longest that the allocation may be served.
  const end = certain ?? own.filter((one) => one.goneAt > allocation.calledAt).at(-1);
  if (region.isLost && end === undefined) {
    return { kind: 'lost-by-mistake', text: `${name} is called lost, but ${region.node} lived on` };
  }
  if (!region.isLost && mustBeLost) {
    return { kind: 'loss-not-named', text: `${name} was on ${region.node}, whose memory ended` };
  }
  const lostAt = region.isLost && end !== undefined ? end.goneAt : Infinity;
  if (lastServed > lostAt && end?.isOpened === false) {
    return { kind: 'lost-as-zeros', text: `${name} was lost, and yet an operation succeeded` };
  }
  if (firstCalledLost !== Infinity && lostAt === Infinity) {
    return { kind: 'lost-by-mistake', text: `${name} lives, but was answered DataLost` };
  }
  const wanted = lostAt === Infinity ? 'Ok' : 'DataLost';
  if (readBack.code === wanted) return undefined;
  return { kind: 'not-readable', text: `${name}: ${readBack.code} in the end, not ${wanted}` };
}
