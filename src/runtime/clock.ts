/** Time, as the world gives it. Nothing else in the core may ask for the time. */

export interface Clock {
  /** Monotonic milliseconds since an arbitrary start, with microsecond resolution. */
  now(): number;
  /** Milliseconds since 1970-01-01 UTC. May jump; only for what people read. */
  wall(): number;
}

export interface Timer {
  /** Idempotent; after it the callback does not run. */
  cancel(): void;
}

export interface Timers {
  /** Runs `callback` once, not before `ms` milliseconds from now, on this thread. */
  after(ms: number, callback: () => void): Timer;
  /**
   * Runs `callback` as soon as the code that runs now, and the promises it settled, are done, and
   * before any new input is looked at. For batching: collect now, send once. Costs no object when
   * the callback is a function made beforehand.
   */
  soon(callback: () => void): void;
}

/** Resolves after `ms` milliseconds. Not for the data path. */
export function sleep(timers: Timers, ms: number): Promise<void> {
  return new Promise((resolve) => timers.after(ms, resolve));
}
