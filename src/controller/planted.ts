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
  /** A commit that failed is told as done, and the controller goes on. */
  failedCommitTold: false,
  /** Nobody looks whether the database is older than what nodes remember. */
  marksIgnored: false,
  /** An older copy of the database is believed as soon as one node has told what it holds. */
  oneAnswerIsEnough: false,
  /** Moves that an older copy of the database does not know go on, and nobody asks for them. */
  movesGoOn: false,
  /** Numbers go on where the nodes' answers end. */
  grantsNotAbove: false,
  /** After a start at which a node was silent numbers go on where the database ends. */
  silentNotAbove: false,
  /** What nodes hold of a space that the database does not know is deleted. */
  unknownSpacesRemoved: false,
  /** What nodes hold beyond the database is left aside, and its numbers are given again. */
  answersIgnored: false,
  /** A lease is taken over although the epoch was not raised at a node that did not answer. */
  takeOverSkipsNode: false,
  /** A region's row says the target as soon as the source is in doubt, without asking. */
  moveCommittedByController: false,
  /** What a node has to give back, and uses, is left to it. */
  askedNobodyToGive: false,
  /** A node counts as drained when its last regions are on their way. */
  drainedBeforeEmpty: false,
  /** New regions are placed without a look at what is to be emptied. */
  placedOnDraining: false,
  /** What a device that was cut had beyond its end is waited for nowhere. */
  cutsForgotten: false,
  /** A controller that starts knows nothing of what was to be emptied. */
  drainsForgotten: false,
};
