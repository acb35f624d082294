/**
 * Bugs that are planted to show that tests would find them. All are off, and nothing but a test or
 * the simulator ever sets one.
 */

export const replicationFaults = {
  /** A write is told as done when the first copy has it. */
  acknowledgedByOne: false,
  /** Copies that may differ are taken for equal after a write that has failed at one. */
  divergenceForgotten: false,
  /** What may differ is read from any copy. */
  unsettledRead: false,
  /** Areas are written to before all copies know that they are. */
  noIntent: false,
  /** The intent word goes before the checksums are there. */
  closedTooEarly: false,
  /** What a copy answers is taken for what was written. */
  checksumsIgnored: false,
  /** Writes do not go to the copy that learns. */
  learnerSkipped: false,
  /** What is settled is not written to the copy that learns. */
  learnerNotSettled: false,
  /** A new writer takes all areas for settled. */
  intentsNotRead: false,
  /** What is known of blocks that are trimmed stays what it was. */
  trimNotNoted: false,
};

/** The same, of a copy in which a thread was stopped in the middle of a write. */
export const tornFaults = {
  /** Blocks of which a copy may have half of a write are taken from that copy, too. */
  tornTaken: false,
};

/** The same, of a copy in a file. */
export const fileFaults = {
  /** What a file has that was behind counts as what any copy has. */
  staleServed: false,
  /** It is read from by whoever was the writer once, without a question. */
  fileUnconfirmed: false,
  /** A copy that is made new is not told of zeros, whatever it had before. */
  zerosNotTaught: false,
  /** A flush is told before the file has what was written. */
  flushNotWaited: false,
};
