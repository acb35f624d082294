/** Bugs that the tests plant, to see that they are found. */

export const backupFaults = {
  /** A block that is written again while it is on its way to the disk counts as written. */
  outOfOrder: false,
  /** An area is written to before the disk says that it is. */
  markedLate: false,
  /** Checksums are written before what they are of is on the disk. */
  checksumApart: false,
};
