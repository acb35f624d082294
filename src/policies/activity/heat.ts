/**
 * How much a slab is used, and whether that is much: pure functions.
 *
 * A rate is accesses for each of its blocks and second, so that slabs of different sizes compare.
 * The mean is exponential by the time that has passed: it is the same however often it is made, and
 * is never more than the highest rate of which it is made. (Infiniswap's public code multiplies by
 * weights of 80 and 20 and never divides: what was used once stays the busiest for ever.)
 */

/** After so long a rate that is over counts for a third. */
export const HEAT_MEAN_MS = 10_000;

export function meanRate(mean: number, rate: number, passedMs: number): number {
  const weight = Math.exp(-Math.max(0, passedMs) / HEAT_MEAN_MS);
  return mean * weight + rate * (1 - weight);
}

/** In accesses for each block and second; cold below hot. */
export interface HeatMarks {
  readonly hot: number;
  readonly cold: number;
}

/** Of 64 MiB: 256 accesses a second, and 64. */
export const HEAT_MARKS: HeatMarks = { hot: 1 / 64, cold: 1 / 256 };

/** Between the marks all stays as it was. */
export function isHotNow(wasHot: boolean, rate: number, marks = HEAT_MARKS): boolean {
  return rate >= (wasHot ? marks.cold : marks.hot);
}
