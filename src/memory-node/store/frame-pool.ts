/**
 * Which frames may be taken, as the main thread counts it.
 *
 * Every frame that no page uses is free, wherever it is just now: in the ring of zeroed frames, or
 * with the slow path; unless a thread of another process may still be at work on it: then it rests,
 * and is neither used nor free.
 *
 * A reservation is a promise of a number of free frames to one operation of one client; what is
 * promised is refused to everybody else, its client's other operations included. So there are three
 * answers to a first touch: a frame, "wait" (there is one, but it is not zeroed yet), and "none",
 * with nothing changed.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import type { RingConsumer, RingProducer } from '../../runtime/threads.js';

/** There is a frame for it, but the ring is empty: ask again when the ring is filled. */
export const FRAME_LATER = -1;
/** All frames are used by pages or promised to others. */
export const FRAME_NONE = -2;

export interface FramePoolOptions {
  readonly frames: number;
  /** How many of them pages use already. */
  readonly mapped: number;
  /** Frames that neither pages nor the slow path have: they rest. */
  readonly resting: readonly FrameIndex[];
  /** Calls `done` for each frame when no thread is at work on it, at once where none is. */
  readonly rest: (frames: readonly FrameIndex[], done: (frame: FrameIndex) => void) => void;
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
  /** Frames that no page uses, and that threads may still be touching. */
  resting = 0;
  /** Frames that are promised, the sum over all reservations. */
  promised = 0;
  /** Free ones that no page takes for itself: for pages that are copied away from a thread. */
  kept = 0;
  /** For the counters. */
  firstTouches = 0;
  waits = 0;
  refusals = 0;
  /** By the slot of a client, then by the number that it gave to its reservation. */
  readonly #promisedTo = new Map<number, Map<number, number>>();
  readonly #zeroed: RingConsumer;
  readonly #retired: RingProducer;
  readonly #refillBelow: number;
  readonly #refill: () => void;
  readonly #rest: FramePoolOptions['rest'];
  #isRetiring = false;
  readonly #record = new Int32Array(1);

  constructor(options: FramePoolOptions) {
    this.frames = options.frames;
    this.mapped = options.mapped;
    this.#zeroed = options.zeroed;
    this.#retired = options.retired;
    this.#refillBelow = options.refillBelow;
    this.#refill = options.refill;
    this.#rest = options.rest;
    this.resting = options.resting.length;
    this.#rest(options.resting, this.#rested);
  }

  /** Frames that pages could still take, promised ones included. */
  get free(): number {
    return this.frames - this.mapped - this.resting;
  }

  /** A zeroed frame for the client `slot`, from its reservation if something of it is left. */
  take(slot: number, reservation: number): FrameIndex | typeof FRAME_LATER | typeof FRAME_NONE {
    const isPromised = reservation !== 0 && this.#left(slot, reservation) > 0;
    if (!isPromised && this.free - this.kept <= this.promised) {
      this.refusals += 1;
      return FRAME_NONE;
    }
    const frame = this.#takeZeroed();
    if (frame === FRAME_LATER) return FRAME_LATER;
    if (isPromised) this.#change(slot, reservation, -1);
    this.firstTouches += 1;
    assert(this.promised <= this.free, 'more frames are promised than are free');
    return frame;
  }

  /** One that takes the place of another frame of a page: also of those that are kept for this. */
  takeForCopy(): FrameIndex | typeof FRAME_LATER | typeof FRAME_NONE {
    if (this.free <= this.promised) return FRAME_NONE;
    return this.#takeZeroed();
  }

  #takeZeroed(): FrameIndex | typeof FRAME_LATER {
    if (!this.#zeroed.take(this.#record)) {
      this.waits += 1;
      return FRAME_LATER;
    }
    this.mapped += 1;
    // Only this thread takes, so the level is seen at every step down.
    if (this.#zeroed.waiting() === this.#refillBelow - 1) this.#refill();
    return this.#record[0] as FrameIndex;
  }

  /** Promises `count` frames more to the reservation; false, with nothing changed, if it cannot. */
  promise(slot: number, reservation: number, count: number): boolean {
    if (count > 0 && this.free - this.kept - this.promised < count) {
      this.refusals += 1;
      return false;
    }
    if (count > 0) this.#change(slot, reservation, count);
    return true;
  }

  /** Takes back what is left of the reservation. */
  release(slot: number, reservation: number): void {
    const left = this.#left(slot, reservation);
    if (left > 0) this.#change(slot, reservation, -left);
  }

  /** Takes back what is left of all reservations of the client. */
  releaseAll(slot: number): void {
    for (const left of this.#promisedTo.get(slot)?.values() ?? []) this.promised -= left;
    this.#promisedTo.delete(slot);
  }

  #left(slot: number, reservation: number): number {
    return this.#promisedTo.get(slot)?.get(reservation) ?? 0;
  }

  #change(slot: number, reservation: number, change: number): void {
    const ofClient = this.#promisedTo.get(slot) ?? new Map<number, number>();
    const left = (ofClient.get(reservation) ?? 0) + change;
    if (left > 0) ofClient.set(reservation, left);
    else ofClient.delete(reservation);
    if (ofClient.size > 0) this.#promisedTo.set(slot, ofClient);
    else this.#promisedTo.delete(slot);
    this.promised += change;
  }

  /** A page has let go of the frame, in the table, too. */
  retire(frame: FrameIndex): void {
    this.retireAll([frame]);
  }

  /** Pages have let go of the frames: to rest, then to quarantine, zeroing, and the ring. */
  retireAll(frames: readonly FrameIndex[]): void {
    this.mapped -= frames.length;
    this.resting += frames.length;
    this.#isRetiring = true;
    this.#rest(frames, this.#rested);
    this.#isRetiring = false;
  }

  readonly #rested = (frame: FrameIndex): void => {
    this.resting -= 1;
    this.#record[0] = frame;
    const done = this.#retired.submit(this.#record);
    assert(done, 'a frame was retired twice');
    // Who retires frames tells the slow path so; of those that rested first nobody else does.
    if (!this.#isRetiring) this.#refill();
  };
}
