/** Bugs that the tests plant, to see that they are found. */

export const nbdFaults = {
  /** A flush on any connection but the first one of a device is told at once. */
  flushOfFirstOnly: false,
};
