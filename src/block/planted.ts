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
  /** Of a device that became smaller the rest of its last slab stays what it was. */
  restKept: false,
};

/** Of what devices of one host share, and of what each is allowed. */
export const sharingFaults = {
  /** What was not used once may be used later, all of it. */
  savedUp: false,
  /** Who was allowed more pays for it at the rate of now. */
  debtKept: false,
  /** Requests are not counted, only their bytes. */
  requestsFree: false,
  /** All devices have the same weight. */
  weightIgnored: false,
  /** Who has had what he is allowed in a round goes on. */
  turnKept: false,
  /** Who comes goes before those that wait. */
  waitingPassed: false,
  /** What has begun and does not end is under way for ever. */
  neverForgotten: false,
  /** A device is alone as long as no other one's requests wait, whatever is under way. */
  othersUnseen: false,
  /** A device that is alone waits as if it were not. */
  aloneWaits: false,
  /** What was taken back has its turn still. */
  takenStays: false,
};
