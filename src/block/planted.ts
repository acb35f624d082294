/** Bugs that the tests plant, to see that they are found. */

export const blockFaults = {
  /** A copy that was made is in the next generation, and writes do not wait for it meanwhile. */
  joinedUnasked: false,
  /** What is written before the first generation is known is acknowledged. */
  takenUnasked: false,
  /** That another copy answers is looked at once only, however often is asked. */
  askedBlindly: false,
  /** What was never written is told as zeros by whoever was the writer once. */
  zerosUnconfirmed: false,
  /** A copy is made at any node, also at one that has a copy of the slab. */
  madeBesideAnother: false,
  /** What a node wanted back once goes, whatever it says since. */
  wishKept: false,
};
