/** Bugs that the tests plant, to see that they are found. */

export const evictionFaults = {
  /** Those that are used most go. */
  hottestGoes: false,
};
