/** The placement policies by the names that a configuration may use. */
import { bestFreeOfK } from './best-free-of-k.js';
import { bestFreeOfTwo } from './best-free-of-two.js';
import type { PlacementPolicy } from './candidate.js';
import { leastLoadedOfTwo } from './least-loaded-of-two.js';
import { random } from './random.js';
import { roundRobin } from './round-robin.js';

const POLICIES = {
  'best-free-of-two': bestFreeOfTwo,
  'best-free-of-k': bestFreeOfK,
  'round-robin': roundRobin,
  'least-loaded-of-two': leastLoadedOfTwo,
  random,
} as const satisfies Record<string, PlacementPolicy>;

export type PlacementPolicyName = keyof typeof POLICIES;

export const PLACEMENT_POLICY_DEFAULT: PlacementPolicyName = 'best-free-of-k';
export const PLACEMENT_POLICY_NAMES = Object.keys(POLICIES) as readonly PlacementPolicyName[];

export function isPlacementPolicyName(name: string): name is PlacementPolicyName {
  return Object.hasOwn(POLICIES, name);
}

export function placementPolicy(name: PlacementPolicyName): PlacementPolicy {
  return POLICIES[name];
}
