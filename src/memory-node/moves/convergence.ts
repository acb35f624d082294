/**
 * When a region that is copied in rounds is paused for the last one: each round copies what was
 * written to during the one before. A client that writes everywhere dirties as much in a round as
 * the round copies; no further round makes that less, so what counts then is how long a pause it
 * would be. Where it would be too long, clients are slowed, more and more.
 */

/** With no more than this left the pause begins. */
const FEW_BYTES = 4 * 2 ** 20;
/** A longer pause is not planned: half of what is allowed, as the machine may become slower. */
const PAUSE_MS = 500;
const ROUNDS_MAX = 16;
/** From then on it can be told whether rounds become smaller. */
const ROUNDS_MIN = 3;
/** Rounds that leave more than this part of what the one before left lead nowhere. */
const STILL = 0.75;
/** The part of the time in which those wait who work on the region, one after the other. */
const SLOWING = [0, 0.5, 0.8, 0.95] as const;

export type Next = 'again' | 'pause' | 'hopeless';

export class Convergence {
  rounds = 0;
  /** The part of the time in which all should wait during the next round. */
  slowing = 0;
  #step = 0;
  #left = Number.POSITIVE_INFINITY;
  /** The best of all rounds: small ones say little. */
  #bytesPerMs = 0;

  /** `left`: bytes to be copied again, after a round in which so many were copied in so long. */
  after(bytes: number, ms: number, left: number): Next {
    this.rounds += 1;
    this.#bytesPerMs = Math.max(this.#bytesPerMs, ms > 0 ? bytes / ms : bytes);
    const isStill = this.rounds >= ROUNDS_MIN && left > STILL * this.#left;
    this.#left = left;
    if (left <= FEW_BYTES) return 'pause';
    if (this.rounds < ROUNDS_MAX && !isStill) return 'again';
    if (left <= PAUSE_MS * this.#bytesPerMs) return 'pause';
    if (this.rounds >= ROUNDS_MAX) return 'hopeless';
    this.#step = Math.min(this.#step + 1, SLOWING.length - 1);
    this.slowing = SLOWING[this.#step] ?? 0;
    return 'again';
  }
}
