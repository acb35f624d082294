/** The streams over rings that are polled at present: one source of the poller for all of them. */

import type { Poller, Source } from './poller.js';

export interface HotRing {
  /** Kept here: whether it is polled. */
  hot: boolean;
  /** Until when it is worth polling. */
  readonly pollUntil: number;
  /** Looks once; true if anything was moved. */
  look(): boolean;
  /** Is not polled any more: the other side has to wake this thread. */
  settle(): void;
}

/** So many looks without reading the clock. */
const LOOKS_PER_SWEEP = 256;
/** A ring that is no longer worth polling stays so long while others are polled anyway. */
const LINGER_MS = 2;

export class HotRings implements Source {
  readonly #poller: Poller;
  readonly #hot: HotRing[] = [];
  #looks = 0;

  constructor(poller: Poller) {
    this.#poller = poller;
    poller.addSource(this);
  }

  /** Polls `ring` until `pollUntil` at least; without effect where polling is not allowed. */
  heat(ring: HotRing, now: number): void {
    if (!this.#poller.heatSources(now, ring.pollUntil) || ring.hot) return;
    ring.hot = true;
    this.#hot.push(ring);
  }

  /** Takes a ring out without settling it. */
  remove(ring: HotRing): void {
    if (!ring.hot) return;
    ring.hot = false;
    const last = this.#hot.pop() as HotRing;
    if (last !== ring) this.#hot[this.#hot.indexOf(ring)] = last;
  }

  look(): boolean {
    let moved = false;
    // Downwards: a ring that leaves is replaced by the last one.
    for (let i = this.#hot.length - 1; i >= 0; i--) {
      if (this.#hot[i]?.look() === true) moved = true;
    }
    if ((this.#looks = (this.#looks + 1) % LOOKS_PER_SWEEP) === 0) this.#sweep(performance.now());
    return moved;
  }

  settle(): void {
    for (const ring of this.#hot.splice(0)) {
      ring.hot = false;
      ring.settle();
    }
  }

  #sweep(now: number): void {
    for (let i = this.#hot.length - 1; i >= 0; i--) {
      const ring = this.#hot[i] as HotRing;
      if (ring.pollUntil + LINGER_MS > now) continue;
      this.remove(ring);
      ring.settle();
    }
  }
}
