/**
 * Which copies of slabs go from a machine that is short of memory: pure functions. Nobody knows how
 * all of them are used, and to ask all holders costs too much: some more than are to go are taken
 * by chance, and the coldest of these go (Infiniswap's batch eviction: E + E').
 */

import { evictionFaults } from './planted.js';

/** E': sampled beyond those that are to go. docs/benchmarks.md says what more would help. */
export const SAMPLED_BEYOND = 8;

export interface Sampled {
  /** That would be free. */
  readonly bytes: number;
  /** Accesses for each block and second, in any unit. */
  readonly activity: number;
}

/**
 * Indices of those that go: the coldest ones, until so many bytes are free or so many go. What is
 * used alike goes by its size, so that few have to go.
 */
export function coldest(sampled: readonly Sampled[], bytes: number, most: number): number[] {
  const order = sampled.map((_, i) => i);
  const sign = evictionFaults.hottestGoes ? -1 : 1;
  order.sort((a, b) => {
    const [one, other] = [sampled[a] as Sampled, sampled[b] as Sampled];
    return sign * (one.activity - other.activity) || other.bytes - one.bytes || a - b;
  });
  const going: number[] = [];
  let freed = 0;
  for (const index of order) {
    if (freed >= bytes || going.length >= most) break;
    freed += sampled[index]?.bytes ?? 0;
    going.push(index);
  }
  return going;
}
