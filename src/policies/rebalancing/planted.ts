/**
 * Bugs that the simulator can plant, to show that its checkers would find them. All are off, and
 * nothing but the simulator ever sets one.
 */
export const rebalancingFaults = {
  /** A region may make the emptier node the fuller one, and moves again at once. */
  movesForEver: false,
};
