/**
 * Keeps the ring of zeroed frames full.
 *
 * Frames come from two places. Retired ones hold the bytes of their last owner: they wait here, in
 * quarantine, and are filled with zeros before they go to the ring. Fresh ones were never used
 * since the memory file was made, so they read as zeros; they are touched, so that the machine
 * gives the memory here and not under a client's first write. Retired ones go first, because their
 * memory is there already.
 *
 * One `step` is a bounded piece of work, so that requests need not wait for a frame of 1 GiB.
 */

import { assert } from '../../base/assert.js';
import { KiB } from '../../base/units.js';
import type { RingProducer } from '../../runtime/threads.js';
import { memoryNodeFaults } from '../planted.js';
import type { Frames } from '../store/frames.js';

/** About 20 us of zeroing. */
const STEP_BYTES = 256 * KiB;
/** The machine gives memory in pages of this size. */
const TOUCH_BYTES = 4 * KiB;
const NO_FRAME = -1;

export interface FrameCleanerOptions {
  readonly frames: Frames;
  readonly zeroed: RingProducer;
  /** How many records the ring of zeroed frames has, and up to how many it is filled. */
  readonly ringRecords: number;
  readonly target: number;
  /** Every frame below this has been used and every one from here on has not. */
  readonly firstFresh: number;
}

export class FrameCleaner {
  readonly #frames: Frames;
  readonly #zeroed: RingProducer;
  /** The ring is full enough when it has no more room than this. */
  readonly #roomAtTarget: number;
  /** A circle with room for every frame. */
  readonly #quarantine: Int32Array;
  #head = 0;
  #waiting = 0;
  #nextFresh: number;
  /** The frame that is being worked on, and how far. */
  #frame = NO_FRAME;
  #isFresh = false;
  #done = 0;
  #isHandedOut = false;
  readonly #record = new Int32Array(1);

  constructor(options: FrameCleanerOptions) {
    this.#frames = options.frames;
    this.#zeroed = options.zeroed;
    this.#roomAtTarget = options.ringRecords - options.target;
    this.#quarantine = new Int32Array(options.frames.count);
    this.#nextFresh = options.firstFresh;
  }

  /** Frames that wait to be zeroed. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Takes a frame that may hold anything. */
  retire(frame: number): void {
    const capacity = this.#quarantine.length;
    assert(frame >= 0 && frame < capacity && this.#waiting < capacity, 'a frame too many');
    this.#quarantine[(this.#head + this.#waiting) % capacity] = frame;
    this.#waiting += 1;
  }

  /** True while the ring wants more and there is a frame to make ready. */
  get hasWork(): boolean {
    if (this.#frame !== NO_FRAME) return true;
    const isThere = this.#waiting > 0 || this.#nextFresh < this.#frames.count;
    return isThere && this.#zeroed.room() > this.#roomAtTarget;
  }

  /** Zeroes or touches one piece of one frame; hands the frame to the ring after its last. */
  step(): void {
    if (this.#frame === NO_FRAME) {
      this.#begin();
      if (this.#isHandedOut) return;
    }
    const bytes = Math.min(STEP_BYTES, this.#frames.pageBytes - this.#done);
    const at = this.#frames.offset(this.#frame) + this.#done;
    if (this.#isFresh) this.#touch(at, bytes);
    else if (!memoryNodeFaults.zeroingSkipped) {
      this.#frames.piece(this.#frame).bytes.fill(0, at, at + bytes);
    }
    this.#done += bytes;
    if (this.#done === this.#frames.pageBytes) this.#finish();
  }

  #begin(): void {
    this.#done = 0;
    this.#isFresh = this.#waiting === 0;
    if (this.#isFresh) {
      assert(this.#nextFresh < this.#frames.count, 'no frame to make ready');
      this.#frame = this.#nextFresh;
      this.#nextFresh += 1;
    } else {
      this.#frame = this.#quarantine[this.#head] as number;
      this.#head = (this.#head + 1) % this.#quarantine.length;
      this.#waiting -= 1;
    }
    this.#isHandedOut = memoryNodeFaults.frameReusedAtOnce;
    if (this.#isHandedOut) this.#handOut();
  }

  #touch(at: number, bytes: number): void {
    const { words } = this.#frames.piece(this.#frame);
    for (let offset = at; offset < at + bytes; offset += TOUCH_BYTES) {
      Atomics.store(words, offset / 4, 0);
    }
  }

  #finish(): void {
    if (!this.#isHandedOut) this.#handOut();
    this.#frame = NO_FRAME;
  }

  #handOut(): void {
    this.#record[0] = this.#frame;
    const done = this.#zeroed.submit(this.#record);
    assert(done, 'the ring of zeroed frames is fuller than its target');
  }
}
