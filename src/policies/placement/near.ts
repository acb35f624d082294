/**
 * When a wish for a certain node counts: while that node has a good part of its memory left, by
 * what is used, by what is allocated and by what was granted since its last heartbeat. Without the
 * limit a few nodes that many spaces are near to fill up with all others empty.
 */
import type { Candidate } from './candidate.js';

/** So much of a node is for those that have no choice: a full node has to refuse or to move. */
const LEFT_SHARE = 0.25;
/** Of a node that lends less than a region: what one more region counts at most. */
const REGION_SHARE_MAX = 1 / 16;

export function isNearEnough(candidate: Candidate, regionBytes: number): boolean {
  const { bytesLent, bytesFree, bytesCommitted, bytesPromised } = candidate;
  const perRegion = Math.min(regionBytes, bytesLent * REGION_SHARE_MAX);
  const promised = (bytesPromised / regionBytes) * perRegion;
  const left = Math.min(bytesFree, bytesLent - bytesCommitted) - promised;
  return left > bytesLent * LEFT_SHARE;
}
