/**
 * Which frames may be taken, as the main thread counts it.
 *
 * Every frame that no page uses is free, wherever it is just now: in the ring of zeroed frames, or
 * with the slow path. A reservation is a promise of a number of free frames to one session; what
 * is promised is refused to everybody else. So there are three answers to a first touch: a frame,
 * "wait" (there is one, but it is not zeroed yet), and "none", with nothing changed.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import type { RingConsumer, RingProducer } from '../../runtime/threads.js';

/** There is a frame for this session, but the ring is empty: ask again when the ring is filled. */
export const FRAME_LATER = -1;
/** All frames are used by pages or promised to other sessions. */
export const FRAME_NONE = -2;

export interface FramePoolOptions {
  readonly frames: number;
  /** How many of them pages use already. */
  readonly mapped: number;
  readonly zeroed: RingConsumer;
  /** Never full: it has room for every frame. */
  readonly retired: RingProducer;
  /** Below this many zeroed frames `refill` is called. */
  readonly refillBelow: number;
  readonly refill: () => void;
}

export class FramePool {
  readonly frames: number;
  /** Frames that pages use. */
  mapped: number;
  /** Frames that are promised, the sum over all sessions. */
  promised = 0;
  /** For the counters. */
  firstTouches = 0;
  waits = 0;
  refusals = 0;
  /** By the slot of a client; grows with the highest slot that ever reserved. */
  #promisedTo = new Int32Array(64);
  readonly #zeroed: RingConsumer;
  readonly #retired: RingProducer;
  readonly #refillBelow: number;
  readonly #refill: () => void;
  readonly #record = new Int32Array(1);

  constructor(options: FramePoolOptions) {
    this.frames = options.frames;
    this.mapped = options.mapped;
    this.#zeroed = options.zeroed;
    this.#retired = options.retired;
    this.#refillBelow = options.refillBelow;
    this.#refill = options.refill;
  }

  /** Frames that pages could still take, promised ones included. */
  get free(): number {
    return this.frames - this.mapped;
  }

  /** A zeroed frame for the session `slot`, from its promise if it has one. */
  take(slot: number): FrameIndex | typeof FRAME_LATER | typeof FRAME_NONE {
    const isPromised = (this.#promisedTo[slot] ?? 0) > 0;
    if (!isPromised && this.free <= this.promised) {
      this.refusals += 1;
      return FRAME_NONE;
    }
    if (!this.#zeroed.take(this.#record)) {
      this.waits += 1;
      return FRAME_LATER;
    }
    if (isPromised) this.#changePromise(slot, -1);
    this.mapped += 1;
    this.firstTouches += 1;
    assert(this.promised <= this.free, 'more frames are promised than are free');
    // Only this thread takes, so the level is seen at every step down.
    if (this.#zeroed.waiting() === this.#refillBelow - 1) this.#refill();
    return this.#record[0] as FrameIndex;
  }

  /** Promises `count` frames more to the session; false, with nothing changed, if it cannot. */
  promise(slot: number, count: number): boolean {
    if (this.free - this.promised < count) {
      this.refusals += 1;
      return false;
    }
    this.#makeRoom(slot);
    this.#changePromise(slot, count);
    return true;
  }

  /** Takes back what is left of the session's promises. */
  release(slot: number): void {
    const left = this.#promisedTo[slot] ?? 0;
    if (left > 0) this.#changePromise(slot, -left);
  }

  #makeRoom(slot: number): void {
    if (slot < this.#promisedTo.length) return;
    const larger = new Int32Array(2 * slot);
    larger.set(this.#promisedTo);
    this.#promisedTo = larger;
  }

  #changePromise(slot: number, change: number): void {
    this.#promisedTo[slot] = (this.#promisedTo[slot] as number) + change;
    this.promised += change;
  }

  /** A page has let go of the frame: to quarantine, zeroing, and then the ring. */
  retire(frame: FrameIndex): void {
    this.#record[0] = frame;
    const done = this.#retired.submit(this.#record);
    assert(done, 'a frame was retired twice');
    this.mapped -= 1;
  }
}
