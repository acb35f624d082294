/**
 * How fast a host copies slabs in the background, all its devices together: as fast as it goes
 * while nobody uses them, and with a rest after each piece while somebody does. A piece is some
 * hundred KiB. Some are under way at a time, so that one whose node is slow holds up no others.
 * What of them is on its way to one node its window says.
 */

import { BackgroundWindow } from '../fabric/background-window.js';
import type { Paced } from '../replication/copy.js';
import { type Clock, sleep, type Timers } from '../runtime/clock.js';

export interface CopyPaceParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  /** Reads and writes of devices that there ever were here. */
  uses(): number;
}

const AT_ONCE = 4;
/** A piece that takes longer waits for somebody, and does not count any more. */
const LANE_MS = 3_000;
/** Others have the other half of the time. */
const REST_PER_WORK = 1;
/** Of the steps of a piece: from here on the way is shared with somebody, from there on crowded. */
const SLOW_SHARED = 1 / 8;
const SLOW_CROWDED = 1 / 2;
const REST_PER_WORK_CROWDED = 3;
/** A piece may have waited for a node, and worked little. */
const REST_MS_MAX = 50;
/** When nobody uses the devices: others share the network. */
const BYTES_PER_S_MAX = 1024 * 1024 * 1024;

export class CopyPace {
  readonly #parts: CopyPaceParts;
  #underWay = 0;
  #freeMs = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #windows = new Map<string, BackgroundWindow>();

  constructor(parts: CopyPaceParts) {
    this.#parts = parts;
  }

  /** Of a node, for all devices together. */
  readonly windowTo = (node: string): BackgroundWindow => {
    const known = this.#windows.get(node) ?? new BackgroundWindow(this.#parts.clock);
    this.#windows.set(node, known);
    return known;
  };

  readonly run: Paced = async (bytes, copy) => {
    while (this.#underWay >= AT_ONCE) await new Promise<void>((wake) => this.#waiting.push(wake));
    const leave = this.#enter();
    try {
      await this.#rest();
      return await this.#timed(bytes, copy);
    } finally {
      leave();
    }
  };

  #enter(): () => void {
    this.#underWay += 1;
    let isOut = false;
    const leave = (): void => {
      if (isOut) return;
      isOut = true;
      timer.cancel();
      this.#underWay -= 1;
      this.#waiting.shift()?.();
    };
    const timer = this.#parts.timers.after(LANE_MS, leave);
    return leave;
  }

  async #rest(): Promise<void> {
    const { clock, timers } = this.#parts;
    for (;;) {
      const waitMs = this.#freeMs - clock.now();
      if (waitMs <= 0) return;
      await sleep(timers, waitMs);
    }
  }

  async #timed<T>(bytes: number, copy: () => Promise<T>): Promise<T> {
    const { clock, uses } = this.#parts;
    const began = clock.now();
    const usesBefore = uses();
    const before = this.#steps();
    // What begins meanwhile begins after it at the least rate.
    this.#freeMs = Math.max(this.#freeMs, began) + (bytes / BYTES_PER_S_MAX) * 1000;
    try {
      return await copy();
    } finally {
      const now = clock.now();
      const after = this.#steps();
      const slow = (after.slow - before.slow) / Math.max(after.all - before.all, 1);
      const isShared = uses() !== usesBefore || slow > SLOW_SHARED;
      const rest = slow > SLOW_CROWDED ? REST_PER_WORK_CROWDED : isShared ? REST_PER_WORK : 0;
      // What is under way beside it has had its part of the time.
      const workMs = (now - began) / Math.max(this.#underWay, 1);
      const restMs = Math.min(workMs * rest, REST_MS_MAX);
      if (rest > 0) this.#freeMs = Math.max(this.#freeMs, now) + restMs;
    }
  }

  #steps(): { readonly all: number; readonly slow: number } {
    const steps = { all: 0, slow: 0 };
    for (const window of this.#windows.values()) {
      steps.all += window.steps;
      steps.slow += window.slowSteps;
    }
    return steps;
  }
}
