/**
 * The shape that three policies share: look at a few candidates drawn without repetition, take the
 * one that ranks highest; of equals the one with fewer regions, then the one drawn first.
 */
import { defined } from '../../base/assert.js';
import { sample } from '../sample.js';
import type { Candidate, PlacementRequest } from './candidate.js';

export function bestOfSample(
  request: PlacementRequest,
  sampleSize: number,
  rank: (candidate: Candidate) => number,
): number {
  const { candidates, chance } = request;
  const drawn = sample(candidates.length, sampleSize, chance);
  let best = defined(drawn[0]);
  for (const index of drawn) {
    if (isBetter(defined(candidates[index]), defined(candidates[best]), rank)) best = index;
  }
  return best;
}

function isBetter(a: Candidate, b: Candidate, rank: (candidate: Candidate) => number): boolean {
  const difference = rank(a) - rank(b);
  return difference > 0 || (difference === 0 && a.regions < b.regions);
}
