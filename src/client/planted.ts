/**
 * Bugs that the simulator can plant, to show that its checkers would find them. All are off, and
 * nothing but the simulator ever sets one.
 */
export const clientFaults = {
  /** What is learned of a region's owner counts, however old it is. */
  olderOwnerLearned: false,
  /** A client goes on at the new owner while operations are under way at the one before. */
  goesOverAtOnce: false,
};
