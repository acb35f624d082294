/**
 * The default: draw six nodes, take the one with most free memory. On nodes of several sizes two
 * are often both small, and small ones fill up first (`npm run bench -- placement`); six nearly
 * always have a large one. What was granted since the last heartbeat is counted as used, so a burst
 * does not land on one node.
 */
import { freeAfterPromises, type PlacementPolicy } from './candidate.js';
import { bestOfSample } from './sample-best.js';

const SAMPLE_SIZE = 6;

export const bestFreeOfK: PlacementPolicy = (request) =>
  bestOfSample(request, SAMPLE_SIZE, freeAfterPromises);
