/**
 * Bugs of persistent memory that the simulator plants: all are off, and none is looked at on the
 * path of a read or write.
 */

export const durableFaults = {
  /** What new entries of a batch name is not flushed before the batch. */
  framesNotFlushed: false,
  /** A batch of the log is not flushed. */
  batchNotFlushed: false,
  /** The image of a checkpoint is not flushed before its superblock is written. */
  imageNotFlushed: false,
  /** The superblock of a checkpoint is not flushed before the log begins anew. */
  superblockNotFlushed: false,
  /** A flush does not flush the frames of its range. */
  rangeNotFlushed: false,
  /** A call is answered before what it has changed is durable. */
  answeredBeforeCommit: false,
  /** A frame is zeroed and given on before the loss of its page is durable. */
  zeroedBeforeCommit: false,
  /** A process serves before its incarnation is durable. */
  servedBeforeCheckpoint: false,
  /** A flush that failed is taken for one that did not. */
  failureIgnored: false,
  /** What was written under an opening of before is told as flushed. */
  openingIgnored: false,
  /** A file is believed as the machine shows it, after a flush that may have failed. */
  notSettled: false,
  /** A file is made without being flushed, and its name, too. */
  creationNotFlushed: false,
  /** A process is started again without a flush of what the one before had stored. */
  notFlushedAtRestart: false,
  // Of regions that move from file to file (docs/internals/moves.md).
  /** A target takes a region with frames that were not flushed. */
  copiesNotFlushed: false,
  /** That a region is being handed over is not durable when its target is asked to take it. */
  handingNotDurable: false,
  /** That a region was given away is told before it is durable. */
  givenAwayToldEarly: false,
  /** Of a region that has come every opening is taken for one under which nothing was lost. */
  everyOpeningTaken: false,
  /** Openings of the files before are not handed on. */
  openingsNotHandedOn: false,
};
