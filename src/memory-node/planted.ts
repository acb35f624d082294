/**
 * Bugs that the simulator plants, to show that its checkers would find them. All are off; nothing
 * but a simulated run ever switches one on, and none is looked at on the path of a read or write.
 */

export const memoryNodeFaults = {
  /** A freed frame is given out again with the bytes of its former owner. */
  zeroingSkipped: false,
  /** A freed frame is given out first and zeroed afterwards. */
  frameReusedAtOnce: false,
  /** What a client had reserved and not used stays reserved, whatever becomes of the client. */
  reservationNotUndone: false,
  /** A restarted node goes on with the incarnation of the one before it. */
  epochNotRaisedAtReadoption: false,
  /** What is taken away is told as done without a look at the slots. */
  revokeBeforeSlots: false,
  /** A thread that is stopped in a step is not waited for, and its page stays where it is. */
  noCopyOnRevoke: false,
  /** A page is copied away from under a step that is never told. */
  forcedNotRaised: false,
  /** Windows of a former holder stay good when the epoch of the lease is raised. */
  leaseWindowNotRevoked: false,
  /** A page is moved while clients may be at work on it. */
  moveWithoutPause: false,
  /** Which pages stopped threads were at work on is forgotten with them. */
  tornForgotten: false,
  /** A frame that a page let go of is given on although a thread is at work on it. */
  noQuarantine: false,
  /** A thread that is stopped in a step is taken for one that has ended. */
  stoppedSlotCleared: false,
  /** It is looked who works on a frame, and then the page lets go of it. */
  slotsReadBeforeUnmapping: false,
  /** A restarted node does not look what the slots hold. */
  adoptionDoesNotWait: false,
  /** First touches and reservations take frames beyond what may be lent now. */
  limitIgnored: false,
  /** What may be lent follows every reading, without the distance of two marks. */
  oneMark: false,
  /** Frames of pages are given back to the machine, too. */
  usedGivenBack: false,
  // Of regions that move to another node (docs/internals/moves.md).
  /** What the node itself writes while a region moves is not marked. */
  ownWritesNotMarked: false,
  /** Marks are taken and pages copied at once, with steps under way that marked before. */
  marksTakenWithoutWaiting: false,
  /** The region is handed over while clients go on with it at its old place. */
  handedWithoutPause: false,
  /** Paused pages are copied while threads may still be at work on them. */
  pauseNotWaitedFor: false,
  /** The target takes the region before the last round was copied. */
  switchedBeforeCopy: false,
  /** The target holds the region before it has the entries. */
  heldBeforeEntries: false,
  /** A cancel in the pause lets pages go on, and the move goes on, too. */
  lostCancel: false,
  /** Handing is not written down: a new process serves the region on. */
  handingNotMarked: false,
  /** A target that does not answer is taken for one that does not take the region. */
  servedOnInDoubt: false,
  /** What was refused can be taken later. */
  floorNotKept: false,
  /** A region that was given away can be granted again under its old epoch. */
  givenAwayForgotten: false,
  /** The pages are freed before the target has them. */
  freedBeforeTaken: false,
  // Of copies of slabs (slabs.ts).
  /** The epoch is looked at when a copy is asked for, and not when it is made. */
  slabEpochSeenOnce: false,
  /** A call that is repeated while the first one is under way makes another copy. */
  slabTakenTwice: false,
  /** Windows into a copy outlive it. */
  slabWindowsStay: false,
  /** A trim is answered, and done a little later. */
  slabTrimmedLate: false,
  /** What is told for a round that is over counts, too. */
  slabToldLate: false,
  /** Who asks for the window that all share is given that of any space. */
  sharedBeyondSpace: false,
};
