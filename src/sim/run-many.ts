/** Seed after seed, until there are enough, time is up, or one fails. */

import { hashText } from '../base/prng.js';
import { collectGarbage } from './collect-garbage.js';
import { runSeed } from './run-seed.js';
import { Totals } from './totals.js';
import type { SeedVerdict } from './verdict.js';

export interface ManyOptions {
  readonly from: number;
  /** Ends after so many seeds, or when so much time has passed, whichever comes first. */
  readonly seeds: number;
  readonly forMs: number;
  readonly workload?: string | undefined;
  /** In turn, where no single one is wished. */
  readonly workloads?: readonly string[];
  readonly keepGoing?: boolean;
  readonly onVerdict?: (verdict: SeedVerdict, totals: Totals) => void;
  readonly now: () => number;
  readonly totals?: Totals;
}

export interface ManyResult {
  readonly totals: Totals;
  readonly failed: readonly SeedVerdict[];
  /** The seed after the last one. */
  readonly next: number;
}

const SEEDS_PER_COLLECTION = 10;
/** Also who wants to see all failures has seen enough then. */
const FAILURES_MAX = 20;

/** One seed in a hundred is run twice: the same seed must take the same course. */
function isRepeated(seed: number): boolean {
  return hashText(`repeat ${seed}`) % 100 === 0;
}

export async function runMany(options: ManyOptions): Promise<ManyResult> {
  const totals = options.totals ?? new Totals();
  const failed: SeedVerdict[] = [];
  const startMs = options.now();
  let seed = options.from;
  for (; seed < options.from + options.seeds; seed++) {
    if (options.now() - startMs >= options.forMs) break;
    const workload = options.workload ?? options.workloads?.[seed % options.workloads.length];
    const verdict = await runSeedChecked(seed, workload, totals);
    totals.add(verdict);
    if (totals.seeds % SEEDS_PER_COLLECTION === 0) collectGarbage();
    options.onVerdict?.(verdict, totals);
    if (verdict.failure === undefined) continue;
    failed.push(verdict);
    if (options.keepGoing !== true || failed.length === FAILURES_MAX)
      return { totals, failed, next: seed + 1 };
  }
  return { totals, failed, next: seed };
}

async function runSeedChecked(
  seed: number,
  workload: string | undefined,
  totals: Totals,
): Promise<SeedVerdict> {
  const verdict = await runSeed({ seed, workload });
  if (verdict.failure !== undefined || !isRepeated(seed)) return verdict;
  const again = await runSeed({ seed, workload });
  totals.repeated += 1;
  if (again.traceHash === verdict.traceHash && again.turns === verdict.turns) return verdict;
  const text =
    `the same seed took another course: ${verdict.turns} events and ${verdict.traceHash}, ` +
    `then ${again.turns} and ${again.traceHash}`;
  return { ...again, failure: 'crash', violations: [{ rule: 'determinism', text }] };
}
