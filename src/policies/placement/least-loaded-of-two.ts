/**
 * Power of two choices by load: draw two nodes, take the one whose committed share of its memory is
 * lower. On nodes of different sizes it evens out the share that is used, not the bytes left.
 */
import type { Candidate, PlacementPolicy } from './candidate.js';
import { bestOfSample } from './sample-best.js';

function negativeLoad(candidate: Candidate): number {
  const promised = candidate.bytesCommitted + candidate.bytesPromised;
  return -promised / Math.max(candidate.bytesLent, 1);
}

export const leastLoadedOfTwo: PlacementPolicy = (request) =>
  bestOfSample(request, 2, negativeLoad);
