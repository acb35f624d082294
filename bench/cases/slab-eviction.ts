/**
 * How cold the copies are that a short memory node has taken away, against the coldest that it has:
 * the functions by which nodes choose (src/policies), on 32 simulated nodes. E copies go, and
 * E + E' are asked about (Infiniswap's batch eviction, which never asks for the activity of all).
 *
 * How slabs are used follows a power law, as pages of programs do: few have most of it. What an
 * eviction costs is what its slabs are used: counted in percent of what would go with no choice.
 */

import { Prng } from '../../src/base/prng.js';
import { coldest, SAMPLED_BEYOND } from '../../src/policies/eviction/coldest.js';
import { sample } from '../../src/policies/sample.js';
import { type Comparison, type Result, type Row, spread } from '../harness.js';

const NODES = 32;
/** A node with 16 GiB of slabs of 64 MiB. */
const COPIES = 256;
const GOING = [1, 4, 8];
const SHOWN = 4;
const BEYOND_MAX = 15;
/** Of the power law: the share of slab number n is as n to this power. */
const SKEW = -0.99;
const EVICTIONS = 20;
const NOTHING = { median: Number.NaN, min: Number.NaN, max: Number.NaN };

interface Quality {
  /** Percent of all copies that are colder than those that went, beyond what cannot be helped. */
  readonly colder: number;
  /** What those that went are used, in percent of what by chance alone would have gone. */
  readonly use: number;
}

function evict(going: number, beyond: number, seed: number): Quality {
  const prng = new Prng(seed);
  let colder = 0;
  let use = 0;
  for (let node = 0; node < NODES; node++) {
    const ranks = Array.from({ length: COPIES }, (_, rank) => rank);
    prng.shuffle(ranks);
    const activities = ranks.map((rank) => (COPIES - rank) ** SKEW);
    const mean = activities.reduce((sum, one) => sum + one, 0) / COPIES;
    for (let i = 0; i < EVICTIONS; i++) {
      const asked = sample(COPIES, going + beyond, prng);
      const told = asked.map((index) => ({ bytes: 1, activity: activities[index] as number }));
      for (const index of coldest(told, going, going)) {
        colder += ranks[asked[index] as number] as number;
        use += (told[index]?.activity ?? 0) / mean;
      }
    }
  }
  const gone = NODES * EVICTIONS * going;
  return { colder: (100 * (colder / gone - (going - 1) / 2)) / COPIES, use: (100 * use) / gone };
}

export function slabEviction(rounds: number): Promise<Result> {
  const rows: Row[] = [];
  const uses = new Map<number, number[]>();
  for (let beyond = 0; beyond <= BEYOND_MAX; beyond++) {
    const extra: Record<string, number> = {};
    const seeds = Array.from({ length: rounds }, (_, i) => 1 + i);
    for (const going of GOING) {
      const turns = seeds.map((seed) => evict(going, beyond, seed));
      const use = turns.map((one) => one.use);
      extra[`E ${going}, use`] = spread(use).median;
      if (going !== SHOWN) extra[`E ${going}, colder`] = median(turns.map((one) => one.colder));
      else {
        uses.set(beyond, use);
        const value = spread(turns.map((one) => one.colder));
        rows.push({ side: `E' = ${beyond}`, value, cpuPerOperation: NOTHING, extra });
      }
    }
  }
  const comparisons: Comparison[] = [2, SAMPLED_BEYOND].map((beyond) => ({
    ours: `E' = ${beyond}, use`,
    peer: "E' = 0",
    ratio: spread(
      (uses.get(beyond) ?? []).map((value, i) => value / (uses.get(0)?.[i] ?? Number.NaN)),
    ),
    goal: 'none',
    met: undefined,
  }));
  return Promise.resolve({
    bench: 'slab-eviction',
    what:
      `${NODES} simulated nodes with ${COPIES} copies each: how much of all was colder than what ` +
      `went, for E = ${SHOWN}`,
    unit: '%',
    rows,
    comparisons,
    notes: [
      'use: of what went, in percent of what goes by chance',
      `0 % colder is the ideal; nodes ask with E' = ${SAMPLED_BEYOND}`,
    ],
  });
}

const median = (values: readonly number[]): number => spread(values).median;
