/**
 * For how long one client has seen the word of a lock stand still.
 *
 * Counted from the end of the first look that showed it: the holder counts from before its change,
 * so it has always less time left than whoever looks believes.
 */

import { gapMsMax, RUN_MS, STEP_BACK_MS, takeOverMs } from './timing.js';
import { isHeld, isStarving, leaseMsOf, withoutFlag } from './word.js';

export class Sight {
  #value = 0n;
  #since = Infinity;
  #lastLook = -Infinity;
  /** Since when the lock has been free for those who starve. */
  #freeSince = Infinity;
  /** Since when nobody is asked to step back. */
  #unflaggedSince = Infinity;

  /** A look that began at `startedAt`, and ended now. */
  saw(value: bigint, startedAt: number, now: number): void {
    const bare = withoutFlag(value);
    const gap = isHeld(value) ? gapMsMax(leaseMsOf(value)) : Infinity;
    if (bare !== this.#value || now - this.#lastLook > gap) {
      this.#value = bare;
      this.#since = now;
      this.#lastLook = startedAt;
      this.#freeSince = Infinity;
    } else {
      this.#lastLook = Math.max(this.#lastLook, startedAt);
    }
    if (isStarving(value)) this.#unflaggedSince = Infinity;
    else if (this.#unflaggedSince === Infinity) this.#unflaggedSince = now;
    if (isHeld(value) || !isStarving(value)) this.#freeSince = Infinity;
    else if (this.#freeSince === Infinity) this.#freeSince = now;
  }

  seenMs(now: number): number {
    return Math.max(0, now - this.#since);
  }

  /** The holder's lease has ended, and it has not renewed: the word may be taken from it. */
  hasEnded(value: bigint, now: number): boolean {
    const leaseMs = leaseMsOf(value);
    if (withoutFlag(value) !== this.#value || now - this.#lastLook > gapMsMax(leaseMs))
      return false;
    return now - this.#since >= takeOverMs(leaseMs);
  }

  /** The last one who was let go first has had its time. */
  mayAsk(now: number): boolean {
    return now - this.#unflaggedSince >= RUN_MS;
  }

  /** Whoever starves has had the time to take it. */
  hasSteppedBack(now: number): boolean {
    return now - this.#freeSince >= STEP_BACK_MS;
  }
}
