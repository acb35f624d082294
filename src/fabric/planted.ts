/**
 * Bugs that can be planted, so that the simulation proves that it would find them. All false, and
 * each asked only where the right code would have stopped (or off the data path), so that a
 * product without planted bugs pays nothing worth measuring.
 */

import type { Bytes } from '../runtime/network.js';
import type { ClientSession, DataSession } from './serve.js';

export const fabricFaults = {
  /** A frame with a wrong checksum is taken as it is. */
  checksumNotVerified: false,
  /** A client sends again what the node's record says was executed. */
  recordIgnored: false,
  /** After a reconnect the first two reads that are repeated get each other's replies. */
  replyMatchedWrong: false,
  /** A new connection of a client does not stop its earlier one. */
  oldConnectionNotFenced: false,
  /** A write is answered first and applied a millisecond later. */
  acknowledgedBeforeApplied: false,
  /**
   * A client goes on with its windows at a node that was restarted. By itself harmless, because
   * the node's epoch refuses them: planted together with a node that does not raise its epoch.
   */
  windowsNotRenewed: false,

  // Of what is done at once, without the node (docs/internals/one-sided.md).
  /** What a step has checked before its copy is not looked at again after it. */
  epochCheckedBeforeOnly: false,
  /** A step looks again before it says that it is idle, so before its bytes must be there. */
  verifiedBeforeIdle: false,
  /** A slot says that it is idle before the copy. */
  slotNotIdle: false,
  /** A step looks at the entry first and publishes its frame afterwards. */
  checkedBeforePublished: false,
  /** A step that writes to a page does not say so while its region moves. */
  writesNotMarked: false,
  /** Operations are done at once while others of this client may still be executed by the node. */
  shmBesideTcp: false,

  // Of the serving side of datagrams (docs/internals/datagrams.md).
  /** Changes are executed whatever the record says. */
  changesNotRecorded: false,
  /** The record forgets entries whose deadline has not passed. */
  rowDroppedEarly: false,
  /** A change is executed after its deadline, too. */
  lateChangeExecuted: false,
  /** Changes are remembered by the number of their datagram in place of their own id. */
  recordedByDatagram: false,
  /** A datagram that means another incarnation is executed; its cookie alone still stops it. */
  incarnationNotCompared: false,
  /** Every cookie is good. */
  cookiesNotChecked: false,
  /** A change that is withdrawn counts as never executed, and its copies are executed. */
  withdrawalNotRecorded: false,
  /** An attempt but the first is executed, although the record has the part. */
  retryExecutedAgain: false,
  /** The first attempt is executed, although a later one has come before it. */
  originalExecutedAgain: false,
  /** An addition reads its word at once and writes it a millisecond later. */
  atomicInTwoSteps: false,
  /** A swap compares at once and writes a millisecond later. */
  swapInTwoSteps: false,

  // Of the asking side.
  /** Replies to the parts of a read are put one behind the other as they come. */
  partsAsTheyCome: false,
  /** Parts end wherever the datagram does, in the middle of a word. */
  partsCutWords: false,
  /** Operations that conflict are under way together. */
  conflictsIgnored: false,
  /** An operation passes one that it conflicts with, and that waits. */
  waitingPassed: false,
  /** What its caller has given up bars nothing. */
  changeNotBarred: false,
  /** A part that the node never executed counts as done. */
  neverTakenAsDone: false,
  /** A change that was sent is cut anew without being withdrawn. */
  changeCutAnew: false,
  /** A change that a process before may have executed is sent to the next one. */
  changeSentAnew: false,
  /** An idle stream is closed although windows or frames at the node belong to its client. */
  streamClosedThoughHeld: false,
  /** An idle stream is closed while a call is under way, which is made again over the next. */
  streamClosedInCall: false,

  // Of going over to another link (docs/internals/fall-over.md).
  /** What conflicts with operations in doubt over the stream goes as datagrams. */
  doubtsIgnored: false,
  /** A change that was sent over the stream is sent as datagrams too. */
  sentBothWays: false,
  /** What conflicts with datagrams that are under way goes over the stream. */
  datagramsOvertaken: false,
};

/** Of what is moved in the background through a pipe that others use (background-window.ts). */
export const backgroundFaults = {
  /** Steps are as large as they may be, whatever the window is. */
  stepsLarge: false,
  /** A step that has met somebody leaves the window as it is. */
  neverHalved: false,
};

/** For what is executed behind somebody's back: nobody hears how it ends. */
export function unheardSession({ slot, client }: ClientSession, output: Bytes): DataSession {
  return {
    slot,
    client,
    sinceMs: Infinity,
    dismiss: () => undefined,
    output,
    replyAt: 0,
    mayWait: true,
    finish: () => undefined,
    finishValue: () => undefined,
    resume: () => undefined,
  };
}
