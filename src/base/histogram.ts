/**
 * How often values of each size came: buckets whose bounds double. Adding is a few instructions and
 * makes nothing, so that the data path may do it.
 */

/** As it stands; counts are of each bucket alone, the last one of what is above all bounds. */
export interface HistogramCounts {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

export class Histogram {
  readonly #least: number;
  readonly #counts: Float64Array;
  #sum = 0;

  /** The bounds are `least`, twice that, four times that ...: `buckets` of them. */
  constructor(least: number, buckets: number) {
    this.#least = least;
    this.#counts = new Float64Array(buckets + 1);
  }

  /** `value` came `times` times. */
  add(value: number, times = 1): void {
    // The smallest power of two that is not below it, in units of the least bound.
    const units = Math.min(Math.ceil(value / this.#least), 2 ** 31);
    const bucket = units <= 1 ? 0 : 32 - Math.clz32(units - 1);
    const at = Math.min(bucket, this.#counts.length - 1);
    this.#counts[at] = (this.#counts[at] as number) + times;
    this.#sum += value * times;
  }

  counts(): HistogramCounts {
    const bounds = Array.from({ length: this.#counts.length - 1 }, (_, i) => this.#least * 2 ** i);
    return { bounds, counts: [...this.#counts], sum: this.#sum };
  }
}

/** The bound below which this share of the values is; NaN where there are none. */
export function quantileOf(
  { bounds, counts }: Pick<HistogramCounts, 'bounds' | 'counts'>,
  share: number,
): number {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all <= 0) return Number.NaN;
  let left = share * all;
  const at = counts.findIndex((count) => (left -= count) <= 0);
  return bounds[at] ?? Infinity;
}
