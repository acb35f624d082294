/**
 * Bugs that the simulator can plant, to show that its checkers would find them. All are off, and
 * nothing but the simulator ever sets one.
 */
export const controllerFaults = {
  /**
   * A grant is told before it is durable, and what a node reports about a region that the database
   * does not know is ignored: after a restart the same region goes to another node.
   */
  regionGrantedTwiceAtRestart: false,
  /** What the directory of files was told to keep is acknowledged before it is durable. */
  filesToldBeforeDurable: false,
  /** A lease is taken over although the epoch was not raised at a node that did not answer. */
  takeOverSkipsNode: false,
};
