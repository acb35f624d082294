/** A bug that can be planted, so that tests and the simulation prove that they would find it. */

export const lockFaults = {
  /** Who takes a lock from a holder that does not renew leaves the epoch as it was. */
  lockWithoutEpoch: false,
};
