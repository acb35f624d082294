/**
 * What every policy of rebalancing sees, and what it answers: pure functions, chosen by name. One
 * region at a time; when to ask again is the caller's.
 */

export interface BalancedRegion {
  /** Whatever the caller knows it by. */
  readonly key: number;
  /** What it uses, as far as that is known. */
  readonly bytes: number;
}

export interface BalancedNode {
  readonly node: string;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  /** Those that may move away from it. */
  readonly regions: readonly BalancedRegion[];
}

export interface RebalancingRequest {
  /** Nodes between which regions can move. */
  readonly nodes: readonly BalancedNode[];
  /** The answer before this one was a move. */
  readonly isUnderWay: boolean;
}

export interface Rebalancing {
  readonly key: number;
  readonly from: string;
  readonly to: string;
}

/** Undefined: all may stay where it is. */
export type RebalancingPolicy = (request: RebalancingRequest) => Rebalancing | undefined;

/** Of what the node lends. */
export function usedShare({ bytesUsed, bytesLent }: BalancedNode, more = 0): number {
  return (bytesUsed + more) / Math.max(bytesLent, 1);
}
