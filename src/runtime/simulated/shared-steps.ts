/**
 * A thread's accesses of memory that others change at the same time, made one by one.
 *
 * At times all of them are made in one turn, with others' events in between (`kernel.meanwhile`);
 * at times each few are an event of their own, so that time passes and the process can be paused or
 * killed in the middle. What a copy stores into shared memory may be held back, as a processor's
 * store buffer does, until the next fence; the thread itself never reads around it.
 */

import { assert } from '../../base/assert.js';
import type { Steps } from '../memory.js';
import type { Kernel } from './kernel.js';
import type { Task } from './task.js';
import { EventKind } from './trace.js';

const HOLD_BACK_PER_MILLION = 500_000;
const PARTS_MAX = 4;
const PART_US_MAX = 20;

interface HeldStore {
  readonly target: Uint8Array;
  readonly start: number;
  readonly bytes: Uint8Array;
}

export class SharedSteps {
  readonly #kernel: Kernel;
  readonly #task: Task;
  #isStepping = false;
  #holdsBack = false;
  #isApart = false;
  readonly #held: HeldStore[] = [];

  constructor(kernel: Kernel, task: Task) {
    this.#kernel = kernel;
    this.#task = task;
  }

  runNow(steps: Steps): void {
    assert(!this.#isStepping && !this.#isApart, 'steps are begun in the middle of others');
    while (this.#next(steps)) this.#kernel.meanwhile(this.#task);
    steps.ended();
  }

  run(steps: Steps): void {
    const { prng, knobs } = this.#kernel;
    if (!prng.chance(knobs.stepsApartPerMillion)) {
      this.runNow(steps);
      return;
    }
    assert(!this.#isStepping && !this.#isApart, 'steps are begun in the middle of others');
    this.#isApart = true;
    this.#task.isBusy = true;
    this.#schedule(steps);
  }

  #schedule(steps: Steps): void {
    const delayNs = this.#kernel.withinUs(PART_US_MAX);
    this.#kernel.schedule(delayNs, this.#task, EventKind.Part, () => this.#part(steps));
  }

  #part(steps: Steps): void {
    for (let left = 1 + this.#kernel.prng.below(PARTS_MAX); left > 0; left--) {
      if (this.#next(steps)) continue;
      this.#isApart = false;
      this.#task.isBusy = false;
      this.#kernel.release(this.#task.held.splice(0));
      steps.ended();
      return;
    }
    this.#schedule(steps);
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
  }

  /** Whether a copy into shared memory was taken into the store buffer. */
  holdBack(target: Uint8Array, start: number, source: Uint8Array): boolean {
    if (!this.#isStepping || !this.#holdsBack) return false;
    this.#held.push({ target, start, bytes: source.slice() });
    return true;
  }

  /** Before a copy out of shared memory: what this thread has stored there it must see. */
  beforeReading(): void {
    if (this.#isStepping) this.#flush();
  }
}
