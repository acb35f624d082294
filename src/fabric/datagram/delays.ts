/**
 * When to take an attempt for lost, from the delays that were measured.
 *
 * Delays have tails (a collection of garbage, a page that is touched first) of which a mean and a
 * deviation know nothing: a tail of a twentieth would time out each time, and look like loss. So
 * the delays of late are counted in buckets that grow by a tenth, and the time-out lies above all
 * but a hundredth of them, by half. What was counted halves every few hundred samples.
 */

import { assert } from '../../base/assert.js';

/** Before anything was measured, and at least that until there are a few samples. */
const START_MS = 20;
const TIMEOUT_MS_MIN = 5;
const TIMEOUT_MS_MAX = 500;
const SAMPLES_FEW = 16;

/** Buckets for each doubling of the delay; bucket 0 holds all below 1/64 ms, the last all above. */
const BUCKETS_PER_DOUBLING = 7;
const DOUBLINGS_BELOW_1_MS = 6;
const BUCKETS = 20 * BUCKETS_PER_DOUBLING;

/** Then every count is halved: delays of before fade within a few times as many samples. */
const SAMPLES_MAX = 512;
/** The part of the samples that may lie above the quantile. */
const ABOVE = 1 / 100;
const MARGIN = 1.5;
/** How many samples the quantile is used for; a power of two. */
const QUANTILE_FOR = 16;
const SMOOTHING = 1 / 8;
/** More would be beyond every bound; keeps the factor finite. */
const DOUBLINGS_MAX = 20;

const upperEdges = Float64Array.from(
  { length: BUCKETS },
  (_, bucket) => 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING - DOUBLINGS_BELOW_1_MS),
);

export class Delays {
  /** Mean of the delays of late, in milliseconds; 0 before the first. */
  smoothed = 0;
  readonly #maxMs: number;
  readonly #counts = new Uint16Array(BUCKETS);
  #counted = 0;
  #samples = 0;
  /** The longest of the first few. */
  #longest = 0;
  /** What the time-out is as long as something is heard. */
  #heardMs: number;
  #doublings = 0;
  #least = Infinity;
  #leastBefore = Infinity;

  /** The time-out never exceeds `maxMs`. */
  constructor(maxMs = TIMEOUT_MS_MAX) {
    assert(maxMs >= TIMEOUT_MS_MIN);
    this.#maxMs = maxMs;
    this.#heardMs = Math.min(START_MS, maxMs);
  }

  /** How long after it was sent an attempt that is not answered is taken for lost. */
  get timeoutMs(): number {
    return Math.min(this.#heardMs * 2 ** this.#doublings, this.#maxMs);
  }

  /** The least delay of late, in milliseconds; 0 before the first. */
  get least(): number {
    const least = Math.min(this.#least, this.#leastBefore);
    return least === Infinity ? 0 : least;
  }

  /** One attempt was answered after `ms`. */
  sample(ms: number): void {
    assert(ms >= 0 && ms < Infinity, 'an answer comes after its question');
    this.heard();
    this.smoothed = this.#samples === 0 ? ms : this.smoothed + (ms - this.smoothed) * SMOOTHING;
    if (ms < this.#least) this.#least = ms;
    const bucket = bucketOf(ms);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    if (++this.#counted >= SAMPLES_MAX) this.#fade();
    this.#samples++;
    if (this.#samples <= SAMPLES_FEW) {
      this.#longest = Math.max(this.#longest, ms);
      this.#heardMs = this.#within(Math.max(START_MS, this.#longest * MARGIN));
    } else if ((this.#samples & (QUANTILE_FOR - 1)) === 0) {
      this.#heardMs = this.#within(this.#quantile() * MARGIN);
    }
  }

  /** Nothing at all was heard for a time-out: the next one is twice as long. */
  silent(): void {
    if (this.#doublings < DOUBLINGS_MAX) this.#doublings++;
  }

  /** Something came, an answer or not. */
  heard(): void {
    this.#doublings = 0;
  }

  #within(ms: number): number {
    return Math.min(Math.max(ms, TIMEOUT_MS_MIN), this.#maxMs);
  }

  /** The upper edge of the bucket below which all but a hundredth of the delays lie. */
  #quantile(): number {
    const most = this.#counted * ABOVE;
    let above = 0;
    for (let bucket = BUCKETS - 1; bucket > 0; bucket--) {
      above += this.#counts[bucket] as number;
      if (above > most) return upperEdges[bucket] as number;
    }
    return upperEdges[0] as number;
  }

  #fade(): void {
    let left = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const half = (this.#counts[bucket] as number) >> 1;
      this.#counts[bucket] = half;
      left += half;
    }
    this.#counted = left;
    this.#leastBefore = this.#least;
    this.#least = Infinity;
  }
}

function bucketOf(ms: number): number {
  const place = (Math.log2(ms) + DOUBLINGS_BELOW_1_MS) * BUCKETS_PER_DOUBLING;
  // Of 0 the logarithm is -Infinity.
  return place < 0 ? 0 : Math.min(Math.floor(place), BUCKETS - 1);
}
