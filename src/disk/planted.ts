/**
 * Bugs that the simulator plants, to show that its checkers would find them: all are off, and none
 * is looked at on the path of a read or write.
 */

export const diskFaults = {
  /** A batch at the end of the log is taken though its checksum is wrong. */
  tornBatchTaken: false,
};
