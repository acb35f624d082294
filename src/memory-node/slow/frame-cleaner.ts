/**
 * Keeps the ring of zeroed frames full, and gives memory that is not needed back to the machine.
 *
 *   retired -> quarantine --filled with zeros----------------> ring of zeroed frames
 *                   \--too many for long: given back--> fresh --touched--/
 *
 * Retired frames hold the bytes of their last owner. Fresh ones read as zeros without our doing:
 * they were never used since the memory file was made, or were given back to the machine; they are
 * touched, so that the machine gives the memory here and not under a client's first write. Retired
 * ones go first, because their memory is there already.
 *
 * At most `heldMax` frames hold memory, those of pages included: what is beyond that is given back
 * at once, and nothing is made ready beyond it (docs/internals/donors.md).
 *
 * One `step` is a bounded piece of work, so that requests need not wait for a frame of 1 GiB.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { KiB, MiB } from '../../base/units.js';
import type { RingProducer } from '../../runtime/threads.js';
import { memoryNodeFaults } from '../planted.js';
import type { Frames } from '../store/frames.js';

/** Some tens of microseconds of work each. */
const ZERO_STEP_BYTES = 256 * KiB;
const DISCARD_STEP_BYTES = 4 * MiB;

export interface FrameCleanerOptions {
  readonly frames: Frames;
  readonly zeroed: RingProducer;
  /** How many records the ring of zeroed frames has, and up to how many it is filled. */
  readonly ringRecords: number;
  readonly target: number;
  /** Whether the memory file is new: then all frames are fresh. */
  readonly areFresh: boolean;
}

type Work = 'none' | 'zero' | 'touch' | 'give back';

export class FrameCleaner {
  /** Set by the thread when no frame has been retired for a while. */
  mayGiveBack = false;
  heldMax: number;
  /** Frames that may hold memory; of used files some that do not are among them. */
  #held: number;
  readonly #frames: Frames;
  readonly #zeroed: RingProducer;
  /** The ring is full enough when it has no more room than this. */
  readonly #roomAtTarget: number;
  /** More retired frames than this are given back. */
  readonly #keep: number;
  /** A circle with room for every frame. */
  readonly #quarantine: Int32Array;
  #head = 0;
  #waiting = 0;
  /** Fresh frames are those from `#nextUnused` on, and those on this stack. */
  #nextUnused: number;
  readonly #givenBack: Int32Array;
  #givenBackCount = 0;
  /** The frame that is being worked on, how, and how far. */
  #work: Work = 'none';
  #frame = 0 as FrameIndex;
  #done = 0;
  #isHandedOut = false;
  readonly #record = new Int32Array(1);

  constructor(options: FrameCleanerOptions) {
    const { count } = options.frames;
    this.#frames = options.frames;
    this.#zeroed = options.zeroed;
    this.#roomAtTarget = options.ringRecords - options.target;
    this.#keep = options.target;
    this.#quarantine = new Int32Array(count);
    this.#givenBack = new Int32Array(count);
    this.#nextUnused = options.areFresh ? 0 : count;
    this.#held = this.#nextUnused;
    this.heldMax = count;
  }

  /** Takes a frame that may hold anything. */
  retire(frame: FrameIndex): void {
    const capacity = this.#quarantine.length;
    assert(frame >= 0 && frame < capacity && this.#waiting < capacity, 'a frame too many');
    this.#quarantine[(this.#head + this.#waiting) % capacity] = frame;
    this.#waiting += 1;
  }

  /** Whether there are frames to give back. */
  get hasTooMany(): boolean {
    return this.#waiting > this.#keep && !memoryNodeFaults.zeroingSkipped;
  }

  get hasWork(): boolean {
    return this.#work !== 'none' || this.#nextWork() !== 'none';
  }

  #nextWork(): Work {
    if (this.#held > this.heldMax && this.#waiting > 0) return 'give back';
    if (this.#zeroed.room() > this.#roomAtTarget) {
      if (this.#waiting > 0) return 'zero';
      const isFresh = this.#givenBackCount > 0 || this.#nextUnused < this.#frames.count;
      if (isFresh && this.#held < this.heldMax) return 'touch';
    }
    return this.mayGiveBack && this.hasTooMany ? 'give back' : 'none';
  }

  /** Does one piece of the work that `hasWork` told of. */
  step(): void {
    if (this.#work === 'none') {
      this.#begin();
      if (this.#isHandedOut) return;
    }
    const most = this.#work === 'give back' ? DISCARD_STEP_BYTES : ZERO_STEP_BYTES;
    const bytes = Math.min(most, this.#frames.pageBytes - this.#done);
    this.#clean(this.#done, bytes);
    this.#done += bytes;
    if (this.#done === this.#frames.pageBytes) this.#finish();
  }

  #begin(): void {
    this.#work = this.#nextWork();
    this.#done = 0;
    this.#frame = this.#work === 'touch' ? this.#takeFresh() : this.#takeRetired();
    this.#isHandedOut = memoryNodeFaults.frameReusedAtOnce && this.#work === 'zero';
    if (this.#isHandedOut) this.#handOut();
  }

  #takeFresh(): FrameIndex {
    this.#held += 1;
    if (this.#givenBackCount > 0) {
      this.#givenBackCount -= 1;
      return this.#givenBack[this.#givenBackCount] as FrameIndex;
    }
    assert(this.#nextUnused < this.#frames.count, 'no frame to make ready');
    return this.#nextUnused++ as FrameIndex;
  }

  #takeRetired(): FrameIndex {
    assert(this.#waiting > 0, 'no frame to make ready');
    const frame = this.#quarantine[this.#head] as FrameIndex;
    this.#head = (this.#head + 1) % this.#quarantine.length;
    this.#waiting -= 1;
    return frame;
  }

  #clean(start: number, bytes: number): void {
    switch (this.#work) {
      case 'give back':
        this.#frames.discard(this.#frame, start, bytes);
        if (memoryNodeFaults.usedGivenBack) this.#discardNext(start, bytes);
        break;
      case 'touch':
        this.#frames.populate(this.#frame, start, bytes);
        break;
      case 'zero':
        if (!memoryNodeFaults.zeroingSkipped) this.#zero(start, bytes);
        break;
      case 'none':
        assert(false, 'no work was begun');
    }
  }

  /** Planted: also of a frame that may be anybody's. */
  #discardNext(start: number, bytes: number): void {
    const next = ((this.#frame + 1) % this.#frames.count) as FrameIndex;
    this.#frames.discard(next, start, bytes);
  }

  #zero(start: number, bytes: number): void {
    const at = this.#frames.offset(this.#frame) + start;
    this.#frames.piece(this.#frame).bytes.fill(0, at, at + bytes);
  }

  #finish(): void {
    if (this.#work === 'give back') {
      this.#held -= 1;
      this.#givenBack[this.#givenBackCount] = this.#frame;
      this.#givenBackCount += 1;
    } else if (!this.#isHandedOut) {
      this.#handOut();
    }
    this.#work = 'none';
  }

  #handOut(): void {
    this.#record[0] = this.#frame;
    const done = this.#zeroed.submit(this.#record);
    assert(done, 'the ring of zeroed frames is fuller than its target');
  }
}
