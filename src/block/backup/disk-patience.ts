/**
 * How long a disk is waited for: one that neither does what it was asked nor fails counts as one
 * that has failed.
 *
 * What is late may still be done, at any time. So the disk keeps the buffer that it was given, and
 * its file stays open, and locked, until all of that has ended.
 */

import type { Timers } from '../../runtime/clock.js';
import { DiskError } from '../../runtime/disk.js';

const TICK_MS = 1_000;
/** Less than the patience of who reads or writes; a process that stands still counts once. */
const TICKS = 20;

/** It has not ended yet. */
export class LateError extends DiskError {
  constructor() {
    super('io', `the disk has not answered for ${(TICKS * TICK_MS) / 1_000} s`);
  }
}

interface Operation {
  ticks: number;
  readonly late: () => void;
}

export class DiskPatience {
  readonly #timers: Timers;
  readonly #running = new Set<Operation>();
  #late = 0;
  #isTicking = false;
  #waiting: (() => void)[] = [];

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Something is late. */
  get isHung(): boolean {
    return this.#late > 0;
  }

  /** As what is under way ends; or it rejects with a `LateError`. */
  wait<T>(doing: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let isLate = false;
      const late = (): void => {
        isLate = true;
        this.#late += 1;
        this.#running.delete(operation);
        reject(new LateError());
      };
      const operation = { ticks: 0, late };
      this.#running.add(operation);
      this.#tick();
      const end = (): void => {
        this.#running.delete(operation);
        if (isLate) this.#lateEnded();
      };
      doing.then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          end();
          reject(error as Error);
        },
      );
    });
  }

  /** When nothing is late any more. */
  async ended(): Promise<void> {
    while (this.#late > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #lateEnded(): void {
    this.#late -= 1;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #tick(): void {
    if (this.#isTicking || this.#running.size === 0) return;
    this.#isTicking = true;
    this.#timers.after(TICK_MS, () => {
      this.#isTicking = false;
      for (const operation of [...this.#running]) {
        operation.ticks += 1;
        if (operation.ticks > TICKS) operation.late();
      }
      this.#tick();
    });
  }
}
