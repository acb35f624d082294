/**
 * How much may be done on a device in a time: a bucket that runs out at the rate, for bytes and for
 * requests. A request goes when neither holds more than what the rate lets through in `BURST_MS`,
 * so one that is larger than that goes, too, and those behind it wait longer.
 */

import type { Clock } from '../runtime/clock.js';
import { sharingFaults } from './planted.js';

export interface RateLimits {
  /** Undefined: as many as there are. */
  readonly bytesPerS?: number | undefined;
  readonly requestsPerS?: number | undefined;
}

/** What a device's host allows it. */
export interface DeviceAllowance extends RateLimits {
  /** Beside other devices of its host; undefined: 1. */
  readonly weight?: number | undefined;
}

const BURST_MS = 100;

export class RateLimit {
  readonly #clock: Pick<Clock, 'now'>;
  #bytesPerMs = Infinity;
  #requestsPerMs = Infinity;
  #bytes = 0;
  #requests = 0;
  #atMs = 0;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** From now on. What was allowed before holds nobody up for longer than a burst. */
  set({ bytesPerS = Infinity, requestsPerS = Infinity }: RateLimits): void {
    this.#run();
    this.#bytesPerMs = bytesPerS / 1000;
    this.#requestsPerMs = requestsPerS / 1000;
    if (sharingFaults.debtKept) return;
    this.#bytes = isFinite(bytesPerS) ? Math.min(this.#bytes, this.#bytesPerMs * BURST_MS) : 0;
    this.#requests = isFinite(requestsPerS)
      ? Math.min(this.#requests, this.#requestsPerMs * BURST_MS)
      : 0;
  }

  /** Until the next request may go; 0: it may now. */
  waitMs(): number {
    this.#run();
    const bytesMs = this.#bytes / this.#bytesPerMs - BURST_MS;
    const requestsMs = this.#requests / this.#requestsPerMs - BURST_MS;
    return Math.max(bytesMs, requestsMs, 0);
  }

  /** It goes. */
  take(bytes: number): void {
    if (isFinite(this.#bytesPerMs)) this.#bytes += bytes;
    if (isFinite(this.#requestsPerMs) && !sharingFaults.requestsFree) this.#requests += 1;
  }

  #run(): void {
    const now = this.#clock.now();
    const ms = now - this.#atMs;
    this.#atMs = now;
    const least = sharingFaults.savedUp ? -Infinity : 0;
    if (this.#bytes > 0) this.#bytes = Math.max(least, this.#bytes - ms * this.#bytesPerMs);
    if (this.#requests > 0) {
      this.#requests = Math.max(least, this.#requests - ms * this.#requestsPerMs);
    }
  }
}
