/**
 * How much of what is moved in the background is on its way to one peer at a time, so that those
 * who wait for something through the same pipe wait little longer. As LEDBAT does (RFC 6817) it
 * goes by delay: a step that takes much longer than the fastest has met somebody in a queue. It
 * needs nobody's help, so programs share the pipe of a node without a word about it.
 *
 *   a step as fast as ever -> a block more; slower -> half; but a least rate always
 */

import type { Clock } from '../runtime/clock.js';
import { backgroundFaults } from './planted.js';

/** The smallest step: others wait no longer behind it than behind one of theirs. */
export const STEP_BYTES_MIN = 4096;
const STEP_BYTES_MAX = 16 * STEP_BYTES_MIN;
const WINDOW_BYTES_MAX = 4 * STEP_BYTES_MAX;
/** So much longer than the fastest: the most that others wait for what is here under way. */
const SLOWER = 1.5;
/** Nobody is harmed by less, and threads are as late by themselves. */
const NOTHING_MS = 0.15;
/** However crowded the pipe is: what is copied is to be whole one day. */
const BYTES_PER_MS_MIN = (1024 * 1024) / 1000;
/** Steps that are fast, for each block more: one block too many is noticed by others. */
const GROWTH_STEPS = 64;
/** The way may be another one by then: what is fast is found out anew, by small steps. */
const KNOWN_MS = 10_000;

export class BackgroundWindow {
  readonly #clock: Pick<Clock, 'now'>;
  #bytes = STEP_BYTES_MIN;
  #underWay = 0;
  #leastMs = Infinity;
  #forgetMs = -Infinity;
  /** Steps of before have met what was cut since. */
  #cutMs = -Infinity;
  /** Nothing was slow since it was begun anew. */
  #isFirst = true;
  readonly #waiting: (() => void)[] = [];

  /** Ever. */
  steps = 0;
  slowSteps = 0;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** How much may be under way. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Runs `work` when there is room for a step of at most `bytes`, and tells it how many these are:
   * a multiple of the smallest step, or all. It ends when they are there, or are given up.
   */
  async step<T>(bytes: number, work: (bytes: number) => Promise<T>): Promise<T> {
    while (this.#underWay > 0 && this.#underWay + STEP_BYTES_MIN > this.#bytes) {
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
    const began = this.#clock.now();
    if (began >= this.#forgetMs) this.#beginAnew(began);
    const isAlone = this.#underWay === 0;
    const left = backgroundFaults.stepsLarge ? STEP_BYTES_MAX : this.#bytes - this.#underWay;
    const room = Math.min(Math.max(left, STEP_BYTES_MIN), STEP_BYTES_MAX);
    const part = Math.min(bytes, room - (room % STEP_BYTES_MIN));
    this.#underWay += part;
    try {
      return await work(part);
    } finally {
      this.#ended(began, isAlone);
      this.#underWay -= part;
      this.#waiting.shift()?.();
    }
  }

  #beginAnew(now: number): void {
    this.#forgetMs = now + KNOWN_MS;
    this.#leastMs = Infinity;
    this.#bytes = STEP_BYTES_MIN;
    this.#isFirst = true;
  }

  #ended(began: number, isAlone: boolean): void {
    const now = this.#clock.now();
    const ms = now - began;
    // Others of here are no measure of the way.
    if (isAlone) this.#leastMs = Math.min(this.#leastMs, ms);
    const least = Math.min(ms * BYTES_PER_MS_MIN, STEP_BYTES_MAX);
    const isSlow = ms > Math.max(SLOWER * this.#leastMs, NOTHING_MS);
    this.steps += 1;
    if (isSlow) {
      this.slowSteps += 1;
      this.#isFirst = false;
    }
    if (!isSlow || this.#bytes < least) {
      const isUsed = 2 * this.#underWay >= this.#bytes;
      const more = this.#isFirst ? STEP_BYTES_MIN : STEP_BYTES_MIN / GROWTH_STEPS;
      if (isUsed) this.#bytes = Math.min(this.#bytes + more, WINDOW_BYTES_MAX);
    } else if (began >= this.#cutMs && !backgroundFaults.neverHalved) {
      this.#cutMs = now;
      this.#bytes = Math.max(this.#bytes / 2, least, STEP_BYTES_MIN);
    }
  }
}
