/** The policies of rebalancing by the names that a configuration may use. */
import { evenUsed } from './even-used.js';
import type { RebalancingPolicy } from './rebalancing.js';

const POLICIES = {
  /** Regions stay where they are until somebody says otherwise. */
  off: undefined,
  'even-used': evenUsed,
} as const satisfies Record<string, RebalancingPolicy | undefined>;

export type RebalancingPolicyName = keyof typeof POLICIES;

export const REBALANCING_POLICY_DEFAULT: RebalancingPolicyName = 'off';
export const REBALANCING_POLICY_NAMES = Object.keys(POLICIES) as readonly RebalancingPolicyName[];

export function isRebalancingPolicyName(name: string): name is RebalancingPolicyName {
  return Object.hasOwn(POLICIES, name);
}

/** Undefined: off. */
export function rebalancingPolicy(name: RebalancingPolicyName): RebalancingPolicy | undefined {
  return POLICIES[name];
}
