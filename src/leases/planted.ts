/**
 * Bugs that are planted to show that tests would find them. All are off, and nothing but a test or
 * the simulator ever sets one.
 */

export const leaseFaults = {
  /** A holder says to the controller that it is there, and not to the nodes. */
  leaseRenewedByController: false,
};
