/** What CI simulates: every planted bug, and seeds of all workloads for the rest of its time. */

import { spawnSync } from 'node:child_process';
import { PLANTED } from './planted.js';
import { runSlices, SLICES, type SliceResult } from './slice.js';
import { WORKLOADS } from './workloads/all.js';

/** The last slices need some more. */
const CI_SECONDS = 255;
/** Of that, what is left for seeds: on a slow machine the last planted bugs are not tried. */
const CI_SEEDS_MS_MIN = 30_000;
const SEEDS_PER_SLICE = 25;
/**
 * Where hunts begin for bugs that few seeds show, shortly before the seed that last did. The proof
 * begins with the first seed for all, and says how many it took.
 */
const BEGIN_AT: Readonly<Record<string, number>> = {
  'adoption-does-not-wait': 52,
  'answers-ignored': 14,
  'change-cut-anew': 81,
  'datagrams-overtaken': 47,
  'doubts-ignored': 8,
  'file-out-of-order': 20,
  'flush-of-first-only': 36,
  'frame-reused-at-once': 57,
  'incarnation-not-compared': 125,
  'late-change-executed': 8,
  'old-connection-not-fenced': 10,
  'parts-cut-words': 250,
  'restored-unasked': 7,
  'stream-closed-in-call': 344,
  'unknown-moves-go-on': 12,
  'unknown-space-removed': 50,
  'withdrawal-not-recorded': 29,
  'writes-not-marked': 10,
};
/**
 * With fewer tried than this part of all planted bugs it is a failure. There are more bugs than CI
 * has time for: each commit begins with another one, and the proof hunts all.
 */
const TRIED_LEAST = 0.05;
/** By how many bugs the hunts of a commit begin behind those of the one before. */
const BEGIN_STEP = 29;
/** So often more seeds are played than there was time for, until every workload has one. */
const ROUNDS_MORE = 3;

export async function runCi(say: (text: string) => void, seconds = CI_SECONDS): Promise<number> {
  const startMs = performance.now();
  const isFound = await huntAll(say, startMs + 1000 * seconds - CI_SEEDS_MS_MIN);
  const huntMs = performance.now() - startMs;
  const isGood = await seedsFor(1000 * seconds - huntMs, say);
  return isFound && isGood ? 0 : 1;
}

/** How many there are up to this one; 0 where nobody can say. */
function commits(): number {
  const words = ['rev-list', '--count', 'HEAD'];
  const { stdout } = spawnSync('git', words, { cwd: import.meta.dirname, encoding: 'utf8' });
  return Number.parseInt(stdout, 10) || 0;
}

async function huntAll(say: (text: string) => void, untilMs: number): Promise<boolean> {
  const startMs = performance.now();
  const first = (commits() * BEGIN_STEP) % PLANTED.length;
  const bugs = [...PLANTED.slice(first), ...PLANTED.slice(0, first)];
  const lastMs = performance.timeOrigin + untilMs;
  const tasks = bugs.map(({ name }) => {
    return { bug: name, from: BEGIN_AT[name] ?? 1, untilMs: lastMs };
  });
  const results = await runSlices(
    tasks,
    ({ text }) => say(text),
    () => performance.now() < untilMs,
  );
  const found = results.filter(({ isGood }) => isGood).length;
  const took = ((performance.now() - startMs) / 1000).toFixed(0);
  say(`${found} of ${PLANTED.length} planted bugs found in ${took} s`);
  const untried = tasks
    .filter((_, i) => results[i] === undefined || results[i].isCutShort === true)
    .map(({ bug }) => bug);
  if (untried.length > 0) say(`not tried, for want of time: ${untried.join(', ')}`);
  const areFound = found === PLANTED.length - untried.length;
  return areFound && found >= TRIED_LEAST * PLANTED.length;
}

async function seedsFor(forMs: number, say: (text: string) => void): Promise<boolean> {
  const startMs = performance.now();
  const workloads = WORKLOADS.map(({ name }) => name);
  const sums = new Map<string, number>();
  const add = (result: SliceResult): void => {
    if (!result.isGood) say(result.text);
    for (const [name, sum] of Object.entries(result.sums)) sums.set(name, sum + of(sums, name));
  };
  const missing = (): string[] => workloads.filter((name) => of(sums, `workload ${name}`) === 0);
  let isGood = true;
  let more = ROUNDS_MORE;
  for (let from = 1; isGood; ) {
    const isOver = performance.now() - startMs >= forMs;
    if (isOver && (missing().length === 0 || more-- === 0)) break;
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
  if (missing().length > 0) say(`no seed that counts for: ${missing().join(', ')}`);
  return isGood && missing().length === 0;
}

function of(sums: ReadonlyMap<string, number>, name: string): number {
  return sums.get(name) ?? 0;
}
