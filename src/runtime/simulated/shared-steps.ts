/**
 * A thread's accesses of memory that others change at the same time, made one by one.
 *
 * At times all of them are made in one turn, with others' events in between (`kernel.meanwhile`);
 * at times each few are an event of their own, so that time passes and the process can be paused or
 * killed in the middle, or the thread stopped there (`StepStopped`). What a copy stores into shared
 * memory, or its later part, may be held back until the next fence, as a processor's store buffer
 * does; the thread itself never reads around it, and what was held back when it ended is lost.
 */

import { assert } from '../../base/assert.js';
import type { Steps } from '../memory.js';
import { FaultKind } from './faults.js';
import { type Kernel, NS_PER_MS } from './kernel.js';
import type { Task } from './task.js';
import { EventKind } from './trace.js';

const HOLD_BACK_PER_MILLION = 500_000;
const PARTS_MAX = 4;
/** A part ends more often where being stopped matters most, and the thread is stopped there. */
const ENDS_THERE_PER_MILLION = 500_000;
const ROLLS_AT_FENCES = 4;
const ROLLS_AT_TOUCHES = 24;
const PART_US_MAX = 20;
const WORD_BYTES = 8;
/** How long a thread that is stopped stays so; once in a while it is minutes. */
const STOPPED_MS = [1, 20, 120, 150, 250, 400, 1_500] as const;
const STOPPED_LONG_MS = [30_000, 90_000] as const;
const LONG_PER_MILLION = 10_000;

interface HeldStore {
  readonly target: Uint8Array;
  readonly start: number;
  readonly bytes: Uint8Array;
}

export class SharedSteps {
  readonly #kernel: Kernel;
  readonly #task: Task;
  /** In an access now. */
  #isStepping = false;
  #holdsBack = false;
  /** Those made in parts: the first is being made, or is about to be. */
  readonly #apart: Steps[] = [];
  #hasBegun = false;
  readonly #held: HeldStore[] = [];

  constructor(kernel: Kernel, task: Task) {
    this.#kernel = kernel;
    this.#task = task;
  }

  runNow(steps: Steps): void {
    assert(!this.#isStepping && !this.#hasBegun, 'steps are begun in the middle of others');
    while (this.#next(steps)) this.#kernel.meanwhile(this.#task);
    steps.ended();
  }

  run(steps: Steps): void {
    const { prng, knobs } = this.#kernel;
    assert(!this.#isStepping && !this.#hasBegun, 'steps are begun in the middle of others');
    // Who has several nodes may have several steps to make: each after the one before it.
    if (this.#apart.length === 0 && !prng.chance(knobs.stepsApartPerMillion)) {
      this.runNow(steps);
      return;
    }
    this.#apart.push(steps);
    if (this.#apart.length > 1) return;
    this.#task.isBusy = true;
    this.#schedule();
  }

  #schedule(): void {
    const kernel = this.#kernel;
    const part = (): void => this.#part();
    if (this.#hasBegun && this.#isStopped()) {
      kernel.stop(this.#task, stoppedMs(kernel) * NS_PER_MS, part);
      return;
    }
    kernel.schedule(kernel.withinUs(PART_US_MAX), this.#task, EventKind.Part, part);
  }

  #isStopped(): boolean {
    const { faults } = this.#kernel;
    for (let rolls = rollsBefore(this.#apart[0] as Steps); rolls > 0; rolls--) {
      if (faults.roll(FaultKind.StepStopped)) return true;
    }
    return false;
  }

  #part(): void {
    const steps = this.#apart[0] as Steps;
    const { prng } = this.#kernel;
    this.#hasBegun = true;
    for (let left = 1 + prng.below(PARTS_MAX); left > 0; left--) {
      if (!this.#next(steps)) {
        this.#end(steps);
        return;
      }
      if (rollsBefore(steps) > 1 && prng.chance(ENDS_THERE_PER_MILLION)) break;
    }
    this.#schedule();
  }

  #end(steps: Steps): void {
    this.#hasBegun = false;
    this.#apart.shift();
    if (this.#apart.length > 0) this.#schedule();
    else {
      this.#task.isBusy = false;
      this.#kernel.release(this.#task.held.splice(0));
    }
    steps.ended();
  }

  #next(steps: Steps): boolean {
    if (steps.fencesNext) this.#flush();
    this.#isStepping = true;
    this.#holdsBack = this.#kernel.prng.chance(HOLD_BACK_PER_MILLION);
    const goesOn = steps.next();
    this.#isStepping = false;
    if (!goesOn) this.#flush();
    return goesOn;
  }

  #flush(): void {
    for (const store of this.#held.splice(0)) store.target.set(store.bytes, store.start);
    this.#task.hasStoredPart = false;
  }

  /**
   * How many bytes of a copy into shared memory are to be made now; the rest, from a whole word on,
   * was taken into the store buffer.
   */
  holdBack(target: Uint8Array, start: number, source: Uint8Array): number {
    if (!this.#isStepping) return source.length;
    // One place keeps the order of its stores.
    if (this.#held.some((one) => isOverlapping(one, target, start, source.length))) this.#flush();
    if (!this.#holdsBack) return source.length;
    const { prng } = this.#kernel;
    const isWhole = source.length <= WORD_BYTES || prng.chance(HOLD_BACK_PER_MILLION);
    const now = isWhole ? 0 : prng.below(source.length) & -WORD_BYTES;
    this.#task.hasStoredPart ||= now > 0;
    this.#held.push({ target, start: start + now, bytes: source.slice(now) });
    return now;
  }

  /** Before a copy out of shared memory: what this thread has stored there it must see. */
  beforeReading(): void {
    if (this.#isStepping) this.#flush();
  }
}

function isOverlapping(one: HeldStore, target: Uint8Array, start: number, bytes: number): boolean {
  if (one.target.buffer !== target.buffer) return false;
  const first = one.target.byteOffset + one.start;
  const other = target.byteOffset + start;
  return first < other + bytes && other < first + one.bytes.length;
}

/** How often it is tried to stop a thread before its next access. */
function rollsBefore({ fencesNext, touchesNext }: Steps): number {
  if (touchesNext === true) return ROLLS_AT_TOUCHES;
  return fencesNext ? ROLLS_AT_FENCES : 1;
}

function stoppedMs({ prng, knobs }: Kernel): number {
  if (prng.chance(LONG_PER_MILLION)) return prng.between(...STOPPED_LONG_MS);
  return prng.pick(STOPPED_MS.filter((ms) => ms <= knobs.stoppedMsMax));
}
