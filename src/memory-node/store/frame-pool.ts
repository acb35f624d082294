/**
 * Which frames may be taken, as the main thread counts it.
 *
 * Every frame that no page uses is free, wherever it is just now: in the ring of zeroed frames, or
 * with the slow path; unless a thread of another process may still be at work on it: then it rests,
 * and is neither used nor free. On a disk one also waits until the loss of its page is durable:
 * then it is free, and not zeroed yet.
 *
 * A reservation is a promise of a number of free frames to one operation of one client; what is
 * promised is refused to everybody else, its client's other operations included. So there are three
 * answers to a first touch: a frame, "wait" (there is one, but it is not zeroed yet), and "none",
 * with nothing changed.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import type { RingConsumer, RingProducer } from '../../runtime/threads.js';
import { memoryNodeFaults } from '../planted.js';

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
  /** Of memory on a disk: the frames go on when what was stored before is durable. */
  readonly durably?: (frames: readonly FrameIndex[], done: () => void) => void;
  /** Below this many zeroed frames `refill` is called. */
  readonly refillBelow: number;
  readonly refill: () => void;
}

/** Pages that a write under way may touch first, and what was promised for them. */
export interface FramePromise {
  readonly slot: number;
  readonly reservation: number;
  readonly space: number;
  readonly firstPage: number;
  readonly endPage: number;
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
  /** Frames that may be used, rest and be promised in all; what is promised already is kept. */
  limit: number;
  /** For the counters. */
  firstTouches = 0;
  waits = 0;
  refusals = 0;
  /** By the slot of a client, then by the number that it gave to its reservation. */
  readonly #promisedTo = new Map<number, Map<number, number>>();
  /** Where the promises are meant to be used, by slot; as long as something of them is left. */
  readonly #meant = new Map<number, FramePromise[]>();
  readonly #zeroed: RingConsumer;
  readonly #retired: RingProducer;
  readonly #refillBelow: number;
  readonly #refill: () => void;
  readonly #rest: FramePoolOptions['rest'];
  readonly #durably: FramePoolOptions['durably'];
  /** Those that one call retires. */
  #retiring: FrameIndex[] | undefined;
  readonly #record = new Int32Array(1);

  constructor(options: FramePoolOptions) {
    this.frames = options.frames;
    this.limit = options.frames;
    this.mapped = options.mapped;
    this.#zeroed = options.zeroed;
    this.#retired = options.retired;
    this.#refillBelow = options.refillBelow;
    this.#refill = options.refill;
    this.#rest = options.rest;
    this.#durably = options.durably;
    this.resting = options.resting.length;
    this.#rest(options.resting, this.#rested);
  }

  /** Frames that pages could still take, promised ones included. */
  get free(): number {
    return this.frames - this.mapped - this.resting;
  }

  /** Frames that are used, or that somebody may not be denied. */
  get bound(): number {
    return this.mapped + this.resting + this.promised;
  }

  /** How many more may be taken or promised now. */
  get #grantable(): number {
    const most = memoryNodeFaults.limitIgnored ? this.frames : this.limit;
    return Math.min(this.frames - this.kept, most) - this.bound;
  }

  /** A zeroed frame for the client `slot`, from its reservation if something of it is left. */
  take(slot: number, reservation: number): FrameIndex | typeof FRAME_LATER | typeof FRAME_NONE {
    const isPromised = reservation !== 0 && this.#left(slot, reservation) > 0;
    if (!isPromised && this.#grantable <= 0) {
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

  /** Takes up to so many out of the ring of zeroed ones: the slow path may give them back. */
  giveUpZeroed(count: number): void {
    let left = count;
    while (left > 0 && this.#zeroed.take(this.#record)) {
      const done = this.#retired.submit(this.#record);
      assert(done, 'a frame was retired twice');
      left -= 1;
    }
  }

  /** Zeroed frames that are ready. */
  get ready(): number {
    return this.#zeroed.waiting();
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
    if (count > 0 && this.#grantable < count) {
      this.refusals += 1;
      return false;
    }
    if (count > 0) this.#change(slot, reservation, count);
    return true;
  }

  /** What was promised is for these pages: for who has to know before it is used. */
  mean(promise: FramePromise): void {
    const ofClient = this.#meant.get(promise.slot) ?? [];
    ofClient.push(promise);
    this.#meant.set(promise.slot, ofClient);
  }

  /** All that were meant for pages and are not used up. */
  *promises(): Generator<FramePromise> {
    for (const ofClient of this.#meant.values()) {
      for (const one of ofClient) if (this.#left(one.slot, one.reservation) > 0) yield one;
    }
  }

  /** Takes back what is left of the reservation. */
  release(slot: number, reservation: number): void {
    const left = this.#left(slot, reservation);
    if (left > 0) this.#change(slot, reservation, -left);
    const ofClient = this.#meant.get(slot);
    if (ofClient === undefined) return;
    const others = ofClient.filter((one) => one.reservation !== reservation);
    if (others.length > 0) this.#meant.set(slot, others);
    else this.#meant.delete(slot);
  }

  /** Takes back what is left of all reservations of the client. */
  releaseAll(slot: number): void {
    for (const left of this.#promisedTo.get(slot)?.values() ?? []) this.promised -= left;
    this.#promisedTo.delete(slot);
    this.#meant.delete(slot);
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
    const retiring: FrameIndex[] = [];
    this.#retiring = retiring;
    this.#rest(frames, this.#rested);
    this.#retiring = undefined;
    // Who retires frames tells the slow path so, unless that is later.
    this.#handOn(retiring, false);
  }

  readonly #rested = (frame: FrameIndex): void => {
    this.resting -= 1;
    if (this.#retiring === undefined) this.#handOn([frame], true);
    else this.#retiring.push(frame);
  };

  #handOn(frames: readonly FrameIndex[], tells: boolean): void {
    if (this.#durably === undefined) {
      this.#submit(frames);
      if (tells) this.#refill();
    } else if (frames.length > 0) {
      this.#durably(frames, () => {
        this.#submit(frames);
        this.#refill();
      });
    }
  }

  #submit(frames: readonly FrameIndex[]): void {
    for (const frame of frames) {
      this.#record[0] = frame;
      const done = this.#retired.submit(this.#record);
      assert(done, 'a frame was retired twice');
    }
  }
}
