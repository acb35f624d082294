/** What CI simulates: every planted bug, and seeds of all workloads for the rest of its time. */

import { PLANTED } from './planted.js';
import { runSlices, SLICES, type SliceResult } from './slice.js';
import { WORKLOADS } from './workloads/all.js';

/** The last slices need some more. */
const CI_SECONDS = 255;
const CI_SEEDS_MS_MIN = 15_000;
const SEEDS_PER_SLICE = 25;

export async function runCi(say: (text: string) => void, seconds = CI_SECONDS): Promise<number> {
  const startMs = performance.now();
  const isFound = await huntAll(say);
  const huntMs = performance.now() - startMs;
  say(`${PLANTED.length} planted bugs in ${(huntMs / 1000).toFixed(0)} s`);
  const isGood = await seedsFor(Math.max(CI_SEEDS_MS_MIN, 1000 * seconds - huntMs), say);
  return isFound && isGood ? 0 : 1;
}

async function huntAll(say: (text: string) => void): Promise<boolean> {
  const tasks = PLANTED.map(({ name }) => ({ bug: name }));
  const results = await runSlices(tasks, ({ text }) => say(text));
  return results.every(({ isGood }) => isGood);
}

async function seedsFor(forMs: number, say: (text: string) => void): Promise<boolean> {
  const startMs = performance.now();
  const workloads = WORKLOADS.map(({ name }) => name);
  const sums = new Map<string, number>();
  const add = (result: SliceResult): void => {
    if (!result.isGood) say(result.text);
    for (const [name, sum] of Object.entries(result.sums)) sums.set(name, sum + of(sums, name));
  };
  let isGood = true;
  for (let from = 1; isGood && performance.now() - startMs < forMs; ) {
    const tasks = Array.from({ length: SLICES }, (_, i) => {
      return { from: from + i * SEEDS_PER_SLICE, seeds: SEEDS_PER_SLICE, workloads };
    });
    from += SLICES * SEEDS_PER_SLICE;
    isGood = (await runSlices(tasks, add)).every((result) => result.isGood);
  }
  say(
    `${of(sums, 'seeds')} seeds in ${((performance.now() - startMs) / 1000).toFixed(0)} s, of ` +
      `which ${of(sums, 'counted')} count; ${of(sums, 'operations')} client operations, ` +
      `${of(sums, 'events')} events; ${of(sums, 'run twice')} were run twice and were the same`,
  );
  say(workloads.map((name) => `${name} ${of(sums, `workload ${name}`)}`).join(', '));
  const missing = workloads.filter((name) => of(sums, `workload ${name}`) === 0);
  if (missing.length > 0) say(`no seed that counts for: ${missing.join(', ')}`);
  return isGood && missing.length === 0;
}

function of(sums: ReadonlyMap<string, number>, name: string): number {
  return sums.get(name) ?? 0;
}
