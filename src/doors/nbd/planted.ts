/** Bugs that the tests plant, to see that they are found. */

export const nbdFaults = {
  /** Who flushes by any connection but the first of a device is told at once. */
  flushOfFirstOnly: false,
};
