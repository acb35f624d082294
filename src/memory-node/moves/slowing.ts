/**
 * Slows those who work on a region that is copied in rounds: its pages are paused again and again
 * for a part of the time, so that less is written to while a round copies. Nobody waits for longer
 * than one such pause.
 */

import { type Clock, sleep, type Timers } from '../../runtime/clock.js';

/** Short beside what clients wait, long beside what it takes to wake them. */
const PAUSE_MS_MIN = 40;
/** To pause all pages of a large region takes time by itself: at most this part of each pause. */
const PAUSING_SHARE = 0.05;
/** Between two pauses something can be done. */
const BETWEEN_MS_MIN = 5;

export interface SlowingParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  /** Within it nobody else pauses pages. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
  readonly pause: () => void;
  readonly resume: () => void;
}

export class Slowing {
  readonly #parts: SlowingParts;
  #share = 0;
  #running: Promise<void> | undefined;

  constructor(parts: SlowingParts) {
    this.#parts = parts;
  }

  /** The part of the time in which all wait: 0 to below 1. */
  set(share: number): void {
    this.#share = share;
    if (share > 0) this.#running ??= this.#run();
  }

  /** Nothing is paused by it when this resolves, and nothing will be. */
  async end(): Promise<void> {
    this.#share = 0;
    await this.#running;
    this.#running = undefined;
  }

  async #run(): Promise<void> {
    const { clock, timers, alone, pause, resume } = this.#parts;
    while (this.#share > 0) {
      const ratio = (1 - this.#share) / this.#share;
      let ms = Math.max(PAUSE_MS_MIN, BETWEEN_MS_MIN / ratio);
      await alone(async () => {
        const began = clock.now();
        pause();
        ms = Math.max(ms, (clock.now() - began) / PAUSING_SHARE);
        await sleep(timers, ms);
        resume();
      });
      if (this.#share > 0) await sleep(timers, ms * ratio);
    }
  }
}
