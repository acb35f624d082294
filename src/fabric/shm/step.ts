/** What a step is made of, and how its operations end. */

import { PIECE_BYTES_MAX } from '../../wire/limits.js';

/** A step is this short, so that who waits for a slot waits for microseconds. */
export const STEP_OPERATIONS_MAX = 64;
export const STEP_BYTES_MAX = 4 * PIECE_BYTES_MAX;

/** Where a step stands: what its next access is. See docs/internals/one-sided.md. */
export const Place = {
  BeginForced: 0,
  BeginGeneration: 1,
  Mark: 2,
  MarkAgain: 3,
  Find: 4,
  PublishEntry: 5,
  PublishFrame: 6,
  CheckFrame: 7,
  CheckFlags: 8,
  CheckPage: 9,
  CheckSpace: 10,
  CheckFrameAgain: 11,
  CheckWindow: 12,
  CheckAlive: 13,
  Copy: 14,
  Idle: 15,
  VerifyAlive: 16,
  VerifyForced: 17,
  VerifyWindows: 18,
  Ended: 19,
  /** Between CheckAlive and Copy, of a change while the node wants to know what is written. */
  MarkPage: 20,
} as const;

/** Why an operation of a step was not done: nothing happened, and it goes as a message. */
export const Elsewhere = {
  None: 0,
  /** A first touch. */
  NoFrame: 1,
  Paused: 2,
  NoPage: 3,
  /** The window is old, or does not cover the range. */
  Window: 4,
  Rights: 5,
  /** Not within one page, an atomic that is not aligned, or a buffer that is gone. */
  Form: 6,
  /** The node's process is another one, or none serves. */
  NotAlive: 7,
  /** The page changed while it was looked at, or the node raises generations all the time. */
  Moved: 8,
} as const;
export type Elsewhere = (typeof Elsewhere)[keyof typeof Elsewhere];

/** Whether what an operation has done is certain. */
export const SURE = 0;
/** Of a read the bytes mean nothing; whether a write or atomic took effect is not known. */
export const UNSURE = 1;
