/**
 * The bugs that can be planted, each with the workload that is most likely to meet it. A checker
 * that never failed proves nothing: with assertions off, every one of these must be noticed from
 * what clients saw.
 */

import { setAssertions } from '../base/assert.js';
import { backupFaults } from '../block/backup/planted.js';
import { blockFaults } from '../block/planted.js';
import { lockFaults } from '../client/locks/planted.js';
import { controllerFaults } from '../controller/planted.js';
import { diskFaults } from '../disk/planted.js';
import { fabricFaults } from '../fabric/planted.js';
import { leaseFaults } from '../leases/planted.js';
import { durableFaults } from '../memory-node/durable/planted.js';
import { memoryNodeFaults } from '../memory-node/planted.js';
import { nbdFaults } from '../doors/nbd/planted.js';
import { rebalancingFaults } from '../policies/rebalancing/planted.js';
import { fileFaults, replicationFaults, tornFaults } from '../replication/planted.js';

export interface Planted {
  readonly name: string;
  readonly about: string;
  readonly workload: string;
  set(on: boolean): void;
}

/** How many seeds each may take. */
export const PLANTED_SEEDS_MAX = 500;

type Switches = Record<string, boolean>;

function planted(name: string, switches: Switches, key: string, facts: [string, string]): Planted {
  const [workload, about] = facts;
  return {
    name,
    about,
    workload,
    set(on) {
      switches[key] = on;
    },
  };
}

export const PLANTED: readonly Planted[] = [
  planted('zeroing-skipped', memoryNodeFaults, 'zeroingSkipped', [
    'alloc-free',
    'a freed frame is given out with its old bytes',
  ]),
  planted('frame-reused-at-once', memoryNodeFaults, 'frameReusedAtOnce', [
    'alloc-free',
    'a freed frame is given out first and zeroed afterwards',
  ]),
  planted('lent-by-one-mark', memoryNodeFaults, 'oneMark', [
    'short-memory',
    'what is lent follows what is left, without the distance of two marks',
  ]),
  planted('limit-ignored', memoryNodeFaults, 'limitIgnored', [
    'short-memory',
    'first touches take frames beyond what may be lent',
  ]),
  planted('used-given-back', memoryNodeFaults, 'usedGivenBack', [
    'short-memory',
    'a frame that a page has is given back to the machine',
  ]),
  planted('reservation-not-undone', memoryNodeFaults, 'reservationNotUndone', [
    'large',
    'what a client had reserved stays reserved when it is gone',
  ]),
  {
    name: 'epoch-not-raised',
    about: 'a restarted node takes the windows of before, and a client has not renewed them',
    workload: 'restarts',
    set(on) {
      memoryNodeFaults.epochNotRaisedAtReadoption = on;
      // Who renews its windows never needs the epoch: the second line of defence is tried alone.
      fabricFaults.windowsNotRenewed = on;
    },
  },
  planted('retry-applied-twice', fabricFaults, 'recordIgnored', [
    'registers',
    'after a reset everything unanswered is executed again',
  ]),
  planted('reply-matched-wrong', fabricFaults, 'replyMatchedWrong', [
    'registers',
    'a reply is given to another request than its own',
  ]),
  planted('old-connection-not-fenced', fabricFaults, 'oldConnectionNotFenced', [
    'registers',
    'what lies in an old connection is executed after the new one began',
  ]),
  planted('checksum-not-verified', fabricFaults, 'checksumNotVerified', [
    'registers',
    'a corrupted frame is taken as it is',
  ]),
  planted('acknowledged-before-applied', fabricFaults, 'acknowledgedBeforeApplied', [
    'registers',
    'a write is answered before it is executed',
  ]),
  planted('region-granted-twice', controllerFaults, 'regionGrantedTwiceAtRestart', [
    'restarts',
    'a grant is told before it is durable',
  ]),
  planted('restored-unasked', controllerFaults, 'marksIgnored', [
    'restored',
    'a controller does not look whether nodes remember more than its database has',
  ]),
  planted('unknown-space-removed', controllerFaults, 'unknownSpacesRemoved', [
    'restored',
    'what nodes hold of a space that an older copy of the database does not know is deleted',
  ]),
  {
    name: 'answers-ignored',
    about: 'a controller on an older copy of its database asks, and goes on where the copy ends',
    workload: 'restored',
    set(on) {
      controllerFaults.answersIgnored = on;
      // Numbers that jump are the second line of defence.
      controllerFaults.grantsNotAbove = on;
    },
  },
  {
    name: 'one-answer-is-enough',
    about: 'an older copy of the database is believed as soon as one node has answered',
    workload: 'restored-moves',
    set(on) {
      controllerFaults.oneAnswerIsEnough = on;
      controllerFaults.grantsNotAbove = on;
    },
  },
  planted('unknown-moves-go-on', controllerFaults, 'movesGoOn', [
    'restored-moves',
    'moves that an older copy of the database does not know go on, and nobody asks for them',
  ]),
  planted('lock-without-epoch', lockFaults, 'lockWithoutEpoch', [
    'locks',
    'who takes a lock over leaves its epoch as it was',
  ]),
  planted('files-told-early', controllerFaults, 'filesToldBeforeDurable', [
    'directory',
    'an entry of the directory is acknowledged before it is durable',
  ]),
  planted('failed-commit-told', controllerFaults, 'failedCommitTold', [
    'full-disks',
    'a change that found no room on the disk is told as done',
  ]),
  planted('lease-window-not-revoked', memoryNodeFaults, 'leaseWindowNotRevoked', [
    'one-sided-leases',
    'windows of a former holder stay good when the lease is taken over',
  ]),
  planted('lease-renewed-by-controller', leaseFaults, 'leaseRenewedByController', [
    'kept-leases',
    'a holder is renewed by the controller, and no more without it',
  ]),
  planted('no-quarantine', memoryNodeFaults, 'noQuarantine', [
    'one-sided',
    'a frame is given on although a thread is at work on it',
  ]),
  planted('stopped-slot-cleared', memoryNodeFaults, 'stoppedSlotCleared', [
    'one-sided',
    'a thread that is stopped in a step is taken for one that has ended',
  ]),
  planted('adoption-does-not-wait', memoryNodeFaults, 'adoptionDoesNotWait', [
    'one-sided',
    'a restarted node does not look which frames threads are at work on',
  ]),
  planted('revoke-before-slots', memoryNodeFaults, 'revokeBeforeSlots', [
    'one-sided',
    'what is taken away is told as done while steps are under way',
  ]),
  planted('no-copy-on-revoke', memoryNodeFaults, 'noCopyOnRevoke', [
    'one-sided',
    'the page of a thread that is stopped in a step stays where it is',
  ]),
  planted('forced-not-raised', memoryNodeFaults, 'forcedNotRaised', [
    'one-sided',
    'a page is copied away from under a step that is never told',
  ]),
  planted('move-without-pause', memoryNodeFaults, 'moveWithoutPause', [
    'one-sided',
    'a page is moved while threads may be at work on it',
  ]),
  planted('epoch-checked-before-only', fabricFaults, 'epochCheckedBeforeOnly', [
    'one-sided',
    'a step does not look after its copy whether all is as it was before',
  ]),
  planted('verified-before-idle', fabricFaults, 'verifiedBeforeIdle', [
    'one-sided',
    'a step looks again before its bytes must have arrived',
  ]),
  planted('slot-not-idle', fabricFaults, 'slotNotIdle', [
    'one-sided',
    'a slot says that it is idle before the copy',
  ]),
  planted('checked-before-published', fabricFaults, 'checkedBeforePublished', [
    'one-sided',
    'a step looks at the entry and then says which frame it works on',
  ]),
  planted('shm-beside-tcp', fabricFaults, 'shmBesideTcp', [
    'one-sided',
    'operations are done at once beside messages that are under way',
  ]),
  planted('changes-not-recorded', fabricFaults, 'changesNotRecorded', [
    'datagrams',
    'a change that comes twice in datagrams is executed twice',
  ]),
  planted('row-dropped-early', fabricFaults, 'rowDroppedEarly', [
    'datagrams',
    'the record of changes forgets those whose deadline has not passed',
  ]),
  planted('late-change-executed', fabricFaults, 'lateChangeExecuted', [
    'datagrams',
    'a change is executed after its deadline',
  ]),
  planted('recorded-by-datagram', fabricFaults, 'recordedByDatagram', [
    'datagrams',
    'changes are remembered by datagram, not each by itself',
  ]),
  {
    name: 'incarnation-not-compared',
    about: 'a restarted node executes what was sent to the one before',
    workload: 'datagrams',
    set(on) {
      fabricFaults.incarnationNotCompared = on;
      // Cookies of the process before are not good either: they are the second line of defence.
      fabricFaults.cookiesNotChecked = on;
    },
  },
  planted('retry-executed-again', fabricFaults, 'retryExecutedAgain', [
    'datagrams',
    'a further attempt is executed although an earlier one was',
  ]),
  planted('original-executed-again', fabricFaults, 'originalExecutedAgain', [
    'datagrams',
    'a first attempt is executed although a later one was',
  ]),
  planted('atomic-in-two-steps', fabricFaults, 'atomicInTwoSteps', [
    'datagrams',
    'between the halves of an addition others change its word',
  ]),
  planted('swap-in-two-steps', fabricFaults, 'swapInTwoSteps', [
    'datagrams',
    'between the comparison of a swap and its write others change the word',
  ]),
  planted('parts-as-they-come', fabricFaults, 'partsAsTheyCome', [
    'datagrams',
    'parts of a read are put one behind the other as they come',
  ]),
  planted('parts-cut-words', fabricFaults, 'partsCutWords', [
    'datagrams',
    'parts end in the middle of words',
  ]),
  planted('conflicts-ignored', fabricFaults, 'conflictsIgnored', [
    'datagrams',
    'operations that conflict are under way together',
  ]),
  planted('waiting-passed', fabricFaults, 'waitingPassed', [
    'datagrams',
    'an operation passes one that it conflicts with',
  ]),
  planted('change-not-barred', fabricFaults, 'changeNotBarred', [
    'datagrams',
    'a change that was given up bars nothing',
  ]),
  planted('change-cut-anew', fabricFaults, 'changeCutAnew', [
    'unequal-paths',
    'a change that the path does not take any more is cut anew without being withdrawn',
  ]),
  planted('withdrawal-not-recorded', fabricFaults, 'withdrawalNotRecorded', [
    'unequal-paths',
    'a change that was withdrawn is executed when a copy of it comes late',
  ]),
  planted('never-taken-as-done', fabricFaults, 'neverTakenAsDone', [
    'datagrams',
    'a change that was never executed is told as done',
  ]),
  planted('shared-beyond-space', memoryNodeFaults, 'sharedBeyondSpace', [
    'datagrams',
    'who asks for the window that all share is given that of any space',
  ]),
  planted('change-sent-anew', fabricFaults, 'changeSentAnew', [
    'datagrams',
    'a change is sent anew to a restarted node',
  ]),
  planted('stream-closed-though-held', fabricFaults, 'streamClosedThoughHeld', [
    'kept-datagram-leases',
    'an idle stream is closed although windows at its node belong to the client',
  ]),
  planted('stream-closed-in-call', fabricFaults, 'streamClosedInCall', [
    'datagrams',
    'an idle stream is closed while a call is under way, which is made again',
  ]),
  planted('doubts-ignored', fabricFaults, 'doubtsIgnored', [
    'fall-over',
    'a link goes over to datagrams while conflicting messages are in doubt',
  ]),
  planted('sent-both-ways', fabricFaults, 'sentBothWays', [
    'fall-over',
    'a change that was sent over a stream is sent as datagrams before it is settled',
  ]),
  planted('datagrams-overtaken', fabricFaults, 'datagramsOvertaken', [
    'fall-over',
    'a link goes back to its stream while conflicting datagrams are under way',
  ]),
  planted('own-writes-not-marked', memoryNodeFaults, 'ownWritesNotMarked', [
    'moves',
    'what a node writes while a region moves away is not copied again',
  ]),
  planted('switched-before-copy', memoryNodeFaults, 'switchedBeforeCopy', [
    'moves',
    'a region is taken before the last round was copied',
  ]),
  planted('handed-without-pause', memoryNodeFaults, 'handedWithoutPause', [
    'moves',
    'a region is handed over while clients go on at its old place',
  ]),
  planted('writes-not-marked', fabricFaults, 'writesNotMarked', [
    'one-sided-moves',
    'what threads write while a region moves away is not copied again',
  ]),
  planted('drained-before-empty', controllerFaults, 'drainedBeforeEmpty', [
    'drains',
    'a node is called drained while its last region is on its way',
  ]),
  planted('placed-on-draining', controllerFaults, 'placedOnDraining', [
    'drains',
    'new regions are placed on a node that is being drained',
  ]),
  planted('drains-forgotten', controllerFaults, 'drainsForgotten', [
    'drains',
    'a controller that starts again knows nothing of what it was to empty',
  ]),
  planted('frames-not-flushed', durableFaults, 'framesNotFlushed', [
    'persistent',
    'what new pages hold is not flushed before the entries that name them',
  ]),
  planted('batch-not-flushed', durableFaults, 'batchNotFlushed', [
    'persistent',
    'a batch of the log is not flushed before it is told of',
  ]),
  planted('image-not-flushed', durableFaults, 'imageNotFlushed', [
    'persistent',
    'the image of a checkpoint is not flushed before its superblock',
  ]),
  planted('superblock-not-flushed', durableFaults, 'superblockNotFlushed', [
    'persistent',
    'the log begins anew before the superblock is flushed',
  ]),
  planted('range-not-flushed', durableFaults, 'rangeNotFlushed', [
    'persistent',
    'a flush does not flush the bytes of its range',
  ]),
  planted('answered-before-commit', durableFaults, 'answeredBeforeCommit', [
    'persistent',
    'a call is answered before what it has changed is durable',
  ]),
  planted('opening-ignored', durableFaults, 'openingIgnored', [
    'persistent',
    'what was lost before a file was opened anew is told as flushed',
  ]),
  planted('served-on-in-doubt', memoryNodeFaults, 'servedOnInDoubt', [
    'moves',
    'a target that does not answer is taken for one that does not take the region',
  ]),
  planted('freed-before-taken', memoryNodeFaults, 'freedBeforeTaken', [
    'moves',
    'pages are freed before the target has taken them',
  ]),
  planted('move-committed-by-controller', controllerFaults, 'moveCommittedByController', [
    'moves',
    'a controller takes a region in doubt for moved, without asking',
  ]),
  planted('given-away-forgotten', memoryNodeFaults, 'givenAwayForgotten', [
    'moves',
    'a restarted node does not know that it has given regions away',
  ]),
  planted('handing-not-marked', memoryNodeFaults, 'handingNotMarked', [
    'moves',
    'a restarted node serves a region on that was being handed over',
  ]),
  planted('floor-not-kept', memoryNodeFaults, 'floorNotKept', [
    'moves',
    'what a target has refused can be taken later',
  ]),
  planted('held-before-entries', memoryNodeFaults, 'heldBeforeEntries', [
    'moves',
    'a target holds the region before it has its entries',
  ]),
  planted('creation-not-flushed', durableFaults, 'creationNotFlushed', [
    'persistent',
    'a file is made, and named, without a flush',
  ]),
  planted('marks-taken-without-waiting', memoryNodeFaults, 'marksTakenWithoutWaiting', [
    'one-sided-moves',
    'marks are taken and pages copied at once, with steps under way that marked before',
  ]),
  planted('flush-failure-ignored', durableFaults, 'failureIgnored', [
    'persistent',
    'a flush that failed is taken for one that did not',
  ]),
  planted('not-flushed-at-restart', durableFaults, 'notFlushedAtRestart', [
    'persistent',
    'a process is started again although a flush of the one before may have failed',
  ]),
  planted('not-settled', durableFaults, 'notSettled', [
    'persistent',
    'a file is believed as the machine shows it, after a flush that failed',
  ]),
  planted('zeroed-before-commit', durableFaults, 'zeroedBeforeCommit', [
    'persistent',
    'a frame is zeroed before the loss of its page is durable',
  ]),
  planted('served-before-checkpoint', durableFaults, 'servedBeforeCheckpoint', [
    'persistent',
    'a process zeroes frames, and serves, before its first checkpoint is durable',
  ]),
  planted('torn-batch-taken', diskFaults, 'tornBatchTaken', [
    'persistent',
    'a batch at the end of the log is taken though its checksum is wrong',
  ]),
  planted('lost-cancel', memoryNodeFaults, 'lostCancel', [
    'one-sided-moves',
    'a move that is cancelled in its pause goes on, and so do its pages',
  ]),
  planted('moves-for-ever', rebalancingFaults, 'movesForEver', [
    'drains',
    'a policy moves a region with which the emptier node is the fuller one, again and again',
  ]),
  planted('copies-not-flushed', durableFaults, 'copiesNotFlushed', [
    'durable-moves',
    'a target takes a region with copies that were not flushed',
  ]),
  planted('handing-not-durable', durableFaults, 'handingNotDurable', [
    'durable-moves',
    'a target is asked to take a region before it is durable that it is handed over',
  ]),
  planted('given-away-told-early', durableFaults, 'givenAwayToldEarly', [
    'durable-moves',
    'that a region was given away is told before it is durable',
  ]),
  planted('every-opening-taken', durableFaults, 'everyOpeningTaken', [
    'durable-moves',
    'of a region that has moved what was lost before is told as flushed',
  ]),
  planted('openings-not-handed-on', durableFaults, 'openingsNotHandedOn', [
    'durable-moves',
    'what a move has made durable is told as lost',
  ]),
  planted('acknowledged-by-one', replicationFaults, 'acknowledgedByOne', [
    'devices',
    'a write to a block device is told as done when the first copy has it',
  ]),
  planted('unsettled-read', replicationFaults, 'unsettledRead', [
    'devices',
    'what may differ between copies is read from any of them',
  ]),
  planted('torn-taken', tornFaults, 'tornTaken', [
    'near-devices',
    'a copy in which somebody was stopped in the middle of a write is taken for whole',
  ]),
  planted('torn-forgotten', memoryNodeFaults, 'tornForgotten', [
    'near-devices',
    'a node forgets where a thread was at work that has ended in the middle of a write',
  ]),
  planted('no-intent', replicationFaults, 'noIntent', [
    'devices',
    'copies are written to before all of them know that',
  ]),
  planted('intents-not-read', replicationFaults, 'intentsNotRead', [
    'devices',
    'a new writer takes all copies for equal',
  ]),
  planted('trimmed-late', memoryNodeFaults, 'slabTrimmedLate', [
    'devices',
    'a node answers a trim, and does it a little later',
  ]),
  planted('trim-not-noted', replicationFaults, 'trimNotNoted', [
    'devices',
    'the checksums of blocks that are trimmed stay what they were',
  ]),
  planted('copy-joined-unasked', blockFaults, 'joinedUnasked', [
    'devices',
    'writes do not wait for a copy that may count already',
  ]),
  planted('copy-beside-another', blockFaults, 'madeBesideAnother', [
    'devices',
    'a copy is made at a node that has one of the slab already',
  ]),
  planted('rest-kept', blockFaults, 'restKept', [
    'resized-devices',
    'what is beyond the end of a device that becomes smaller comes back when it grows',
  ]),
  planted('cuts-forgotten', controllerFaults, 'cutsForgotten', [
    'resized-devices',
    'a device that was cut grows while nodes still have copies of what was beyond its end',
  ]),
  planted('flush-of-first-only', nbdFaults, 'flushOfFirstOnly', [
    'kept-devices',
    'a flush on a second connection of a device is told at once',
  ]),
  planted('stale-file-served', fileFaults, 'staleServed', [
    'kept-devices',
    'what a file has that was behind counts as what any copy has',
  ]),
  planted('file-out-of-order', backupFaults, 'outOfOrder', [
    'kept-devices',
    'a block goes to the file before what was written to it earlier',
  ]),
];

export function plantedNamed(name: string): Planted | undefined {
  return PLANTED.find((one) => one.name === name);
}

/** Runs with the bug in place and assertions off, and takes both back. */
export async function withPlanted<T>(bug: Planted, run: () => Promise<T>): Promise<T> {
  bug.set(true);
  setAssertions(false);
  try {
    return await run();
  } finally {
    setAssertions(true);
    bug.set(false);
  }
}
