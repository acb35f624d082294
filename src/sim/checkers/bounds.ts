/**
 * Invariant 4, from what nodes count about themselves when all work is done: nothing has grown
 * beyond its limit, nothing stays promised, and nobody of ours ever sent a malformed frame (what
 * the network corrupted shows as a wrong checksum, or as a connection that made no sense after).
 */

import type { Complaint } from './foreign.js';

/** The part of a node's counters that is judged; see the node's `Counters` call. */
export interface NodeCounts {
  readonly node: string;
  readonly framesUsed: number;
  readonly framesPromised: number;
  readonly pagesCommitted: number;
  readonly windows: number;
  /** Of threads that reach the memory themselves; all of them have ended. */
  readonly slotsAttached: number;
  readonly slotsHeldBack: number;
  /** Frames that a thread might still be touching. */
  readonly framesResting: number;
  readonly malformed: Readonly<Record<string, number>>;
}

export interface Limits {
  /** Client processes that there ever were, the auditor and others included. */
  readonly clients: number;
  readonly spaces: number;
  /** Openings of windows of which their client does not know whether they were made. */
  readonly windowsUnheard: number;
  /** Bytes were flipped on the way. */
  readonly isCorrupted: boolean;
}

export function judgeCounts(counts: NodeCounts, limits: Limits): Complaint[] {
  const complaints: Complaint[] = [];
  const complain = (kind: string, text: string): void => {
    complaints.push({ kind, text: `${counts.node}: ${text}` });
  };
  const { framesUsed, framesPromised, pagesCommitted, windows, malformed } = counts;
  if (framesUsed !== 0) complain('frames-leaked', `${framesUsed} frames are used by nothing`);
  if (framesPromised !== 0) complain('promise-leaked', `${framesPromised} frames stay promised`);
  if (pagesCommitted !== 0) complain('pages-leaked', `${pagesCommitted} pages stay committed`);
  const { slotsAttached, slotsHeldBack, framesResting } = counts;
  if (slotsAttached !== 0) complain('slots-leaked', `${slotsAttached} slots belong to nobody`);
  if (slotsHeldBack !== 0) complain('slots-leaked', `${slotsHeldBack} slots hold something back`);
  if (framesResting !== 0) complain('frames-leaked', `${framesResting} frames rest for nobody`);
  const windowsMax = limits.clients * limits.spaces + limits.windowsUnheard;
  if (windows > windowsMax) complain('windows-leaked', `${windows} windows, at most ${windowsMax}`);
  if (limits.isCorrupted) return complaints;
  for (const [kind, count] of Object.entries(malformed)) {
    if (count > 0) complain('malformed', `${count} malformed frames (${kind}) from one of ours`);
  }
  return complaints;
}
