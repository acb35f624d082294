/**
 * Requests that left the fast path of the process that serves them: for how long, and why. Noted
 * when they go on, so that a request that waits for nothing costs nothing. The slow ones among the
 * last are kept one by one.
 */

import { Histogram, type HistogramCounts } from '../base/histogram.js';
import type { Clock } from '../runtime/clock.js';
import { messageName } from '../wire/messages.js';

/**
 * `memory`: for a zeroed frame, or a page that is about to get another one; `call`: for the worker
 * or another process that a call needs; `reader`: for the client to read earlier answers.
 */
export const WAIT_CAUSES = ['memory', 'call', 'reader'] as const;
export type WaitCause = (typeof WAIT_CAUSES)[number];

/** From 16 microseconds to half a minute. */
const LEAST_S = 16e-6;
const BUCKETS = 22;
/** Slower ones are kept, the last so many of them. */
export const SLOW_MS = 10;
export const SLOW_MAX = 64;

export interface SlowRequest {
  /** When it went on, by the clock on the wall, in milliseconds. */
  readonly atMs: number;
  readonly cause: WaitCause;
  readonly type: string;
  readonly client: number;
  readonly waitedMs: number;
}

export class Waits {
  readonly #clock: Clock;
  readonly #seconds = WAIT_CAUSES.map(() => new Histogram(LEAST_S, BUCKETS));
  readonly #slow: SlowRequest[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A request of this type goes on, which has waited since `sinceMs` of the clock. */
  note(cause: WaitCause, sinceMs: number, type: number, client: number): void {
    const waitedMs = this.#clock.now() - sinceMs;
    this.#seconds[WAIT_CAUSES.indexOf(cause)]?.add(waitedMs / 1000);
    if (waitedMs < SLOW_MS) return;
    if (this.#slow.length >= SLOW_MAX) this.#slow.shift();
    const atMs = this.#clock.wall();
    this.#slow.push({ atMs, cause, type: messageName(type), client, waitedMs });
  }

  /** Seconds of all, by cause. */
  get seconds(): Readonly<Record<WaitCause, HistogramCounts>> {
    const entries = WAIT_CAUSES.map((cause, i) => [cause, this.#seconds[i]?.counts()] as const);
    return Object.fromEntries(entries) as Record<WaitCause, HistogramCounts>;
  }

  /** The last slow ones, oldest first. */
  get slow(): readonly SlowRequest[] {
    return [...this.#slow];
  }
}
