/**
 * Tells whether other threads want the processor that polling takes.
 *
 * Over stretches of polling the time that passed is compared with the processor time of this
 * thread. What is missing went to others: in many short pieces, when they poll too and give way,
 * or in pieces of a millisecond and more, when they have work. Beside the first it is enough to
 * offer the processor between polls; beside the second polls only harm, and sleeping threads are
 * woken sooner than spinning ones get their turn.
 */

import { threadCpuMs } from './system.js';

/** So much polling is judged at once. */
const STRETCH_MS = 20;
/** Of a stretch, lost to others: more is contention. */
const LOST_SHARE_MAX = 0.1;
/** More than this is too much, if it was lost in long pieces. */
const CROWDED_SHARE = 0.25;
/** No few polls take so long: the thread was not running, or a handler was. */
const GAP_MS = 0.5;
const CONTENDED_MS = 100;
const CROWDED_MS_MIN = 100;
const CROWDED_MS_MAX = 1600;

export class Contention {
  #contendedUntil = 0;
  #crowdedUntil = 0;
  #crowdedMs = CROWDED_MS_MIN;
  #awakeMs = 0;
  #gapsMs = 0;
  #cpuMs = 0;
  #last = 0;

  /** Others poll too: give way between polls. */
  contended(now: number): boolean {
    return now < this.#contendedUntil;
  }

  /** Others work: do not poll. */
  crowded(now: number): boolean {
    return now < this.#crowdedUntil;
  }

  /** Polling begins. */
  begin(now: number): void {
    this.#last = now;
  }

  /** Polling goes on: to be called often. */
  look(now: number): void {
    const passed = now - this.#last;
    this.#last = now;
    this.#awakeMs += passed;
    if (passed > GAP_MS) this.#gapsMs += passed;
    if (this.#awakeMs > STRETCH_MS) this.#judge(now);
  }

  #judge(now: number): void {
    const cpuMs = threadCpuMs();
    // Work outside of polling counts as used too: the judgement errs on the side of polling.
    const lost = this.#awakeMs - (cpuMs - this.#cpuMs);
    if (lost > LOST_SHARE_MAX * this.#awakeMs) this.#contendedUntil = now + CONTENDED_MS;
    if (lost > CROWDED_SHARE * this.#awakeMs && this.#gapsMs > lost / 2) {
      this.#crowdedUntil = now + this.#crowdedMs;
      this.#crowdedMs = Math.min(2 * this.#crowdedMs, CROWDED_MS_MAX);
    } else {
      this.#crowdedMs = CROWDED_MS_MIN;
    }
    this.#cpuMs = cpuMs;
    this.#awakeMs = 0;
    this.#gapsMs = 0;
  }
}
