/** How many seeds it takes until a planted bug is noticed. */

import { type Planted, PLANTED_SEEDS_MAX, withPlanted } from './planted.js';
import { runSeed } from './run-seed.js';
import type { SeedVerdict } from './verdict.js';

export interface Hunt {
  readonly bug: Planted;
  /** Undefined: it was not found. */
  readonly found: SeedVerdict | undefined;
  readonly seeds: number;
  /** It ended before it had played all seeds. */
  readonly isCutShort: boolean;
  /** The first of them. */
  readonly from: number;
}

/**
 * Assertions are off, so what is found was found by what clients saw. A seed that ends otherwise
 * (`crash`: the bug made our code fall over) does not count as found.
 */
export async function hunt(
  bug: Planted,
  seedsMax = PLANTED_SEEDS_MAX,
  from = 1,
  mayGoOn: () => boolean = () => true,
): Promise<Hunt> {
  const hunted = { bug, from, found: undefined, seeds: seedsMax, isCutShort: false };
  for (let seed = from; seed < from + seedsMax; seed++) {
    if (!mayGoOn()) return { ...hunted, seeds: seed - from, isCutShort: true };
    const run = () => runSeed({ seed, workload: bug.workload });
    const { failure, ...rest } = await withPlanted(bug, run);
    if (failure !== 'correctness' && failure !== 'liveness') continue;
    // What also happens without the bug was not found because of it.
    if ((await run()).failure === undefined)
      return { ...hunted, found: { failure, ...rest }, seeds: seed - from + 1 };
  }
  return hunted;
}

export function huntText({ bug, found, seeds, isCutShort, from }: Hunt): string {
  const name = bug.name.padEnd(30);
  if (isCutShort) return `${name} not found in time, in ${seeds} seeds`;
  if (found === undefined) return `${name} NOT FOUND in ${seeds} seeds (${bug.about})`;
  const rules = [...new Set(found.violations.map((one) => one.rule))].join(', ');
  const first = from === 1 ? '' : ` from ${from} on`;
  return `${name} found in ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}${first}: ${rules}`;
}
