/**
 * Power of two choices: draw two nodes, take the one with more free memory. Two choices already
 * bring the fullest node close to the average, and unlike "always the freest" a burst of requests
 * between two heartbeats does not land on one node. (Infiniswap places slabs this way.)
 */
import { freeAfterPromises, type PlacementPolicy } from './candidate.js';
import { bestOfSample } from './sample-best.js';

export const bestFreeOfTwo: PlacementPolicy = (request) =>
  bestOfSample(request, 2, freeAfterPromises);
