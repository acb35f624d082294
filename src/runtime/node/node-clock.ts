/** Time and timers of the process. */

import type { Clock, Timer, Timers } from '../clock.js';
import type { SoonQueue } from './soon.js';

/** `performance.now` begins with the thread; this is the same clock for all of the machine. */
const threadStartMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export const nodeClock: Clock = {
  now: () => threadStartMs + performance.now(),
  wall: () => Date.now(),
};

/** `setTimeout` fires at once for longer delays: it keeps them as 32-bit integers. */
const DELAY_MS_MAX = 2 ** 31 - 1;

export class NodeTimers implements Timers {
  readonly #soon: SoonQueue;

  constructor(soon: SoonQueue) {
    this.#soon = soon;
  }

  after(ms: number, callback: () => void): Timer {
    return new NodeTimer(ms, callback);
  }

  soon(callback: () => void): void {
    this.#soon.add(callback);
  }
}

class NodeTimer implements Timer {
  readonly #due: number;
  readonly #callback: () => void;
  #handle: NodeJS.Timeout;

  constructor(ms: number, callback: () => void) {
    this.#callback = callback;
    this.#due = performance.now() + ms;
    this.#handle = setTimeout(this.#fire, delayOf(ms));
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  readonly #fire = (): void => {
    // Timers count whole milliseconds of a clock read earlier, so they may come a little early.
    const left = this.#due - performance.now();
    if (left > 0) this.#handle = setTimeout(this.#fire, delayOf(left));
    else this.#callback();
  };
}

function delayOf(ms: number): number {
  return Math.min(Math.max(0, Math.ceil(ms)), DELAY_MS_MAX);
}
