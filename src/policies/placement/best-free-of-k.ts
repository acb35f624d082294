/**
 * Draw six nodes, take the one with most free memory: closer to even than two choices, at the price
 * of following the last heartbeat more blindly.
 */
import { freeAfterPromises, type PlacementPolicy } from './candidate.js';
import { bestOfSample } from './sample-best.js';

const SAMPLE_SIZE = 6;

export const bestFreeOfK: PlacementPolicy = (request) =>
  bestOfSample(request, SAMPLE_SIZE, freeAfterPromises);
