/**
 * `npm run proof`: the long counts, in parts that can be stopped and go on: simulated seeds,
 * planted bugs, decoder fuzzing, kill loops with real processes. Writes docs/proof.md as it goes.
 * Words choose parts by their names. `--from N`: parts that begin play seeds from N on.
 * `-- --ci` does a tenth of what needs real processes, and writes nothing: seeds and planted bugs
 * have a step of their own there, `npm run sim -- --ci`.
 */

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PLANTED } from './planted.js';
import { addTo, loadState, type PartState, partOf, saveState } from './proof-state.js';
import {
  DATAGRAM_PART,
  DEVICES_PART,
  ONE_SIDED_PART,
  OPERATED_PART,
  PLANTED_PART,
  proofText,
  SEEDS_PART,
} from './proof-text.js';
import { runSlices, SLICES, type SliceResult } from './slice.js';
import { WORKLOADS } from './workloads/all.js';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** In short and in full. */
const STATE_PATHS = [
  join(ROOT, 'node_modules/.cache/memrack-proof.json'),
  join(ROOT, 'docs/proof.json'),
] as const;
const PAGE_PATH = join(ROOT, 'docs/proof.md');

interface Part {
  readonly name: string;
  /** How much is to be done, in full and in short. */
  readonly total: readonly [number, number];
  /** Does some more and adds it to the state; false ends the proof with a failure. */
  readonly step: (state: PartState, left: number) => Promise<boolean>;
}

/** The first dozens of a process take twice as long: its code is not yet compiled. */
const SEEDS_PER_SLICE = 300;
const ALL = WORKLOADS.map((workload) => workload.name);
const ONE_SIDED = WORKLOADS.filter((one) => one.isOneSided === true).map((one) => one.name);
const BY_DATAGRAMS = WORKLOADS.filter((one) => one.isByDatagrams === true).map((one) => one.name);
const OF_DEVICES = WORKLOADS.filter((one) => one.hasDevices === true).map((one) => one.name);
/** What an operator and the machines do: of disks, of moves, of copies, of memory that is short. */
const OPERATED = WORKLOADS.filter(({ blows, hasDevices, isPersistent, isShortOfMemory }) => {
  if (hasDevices === true) return false;
  const isMoved = blows['move-region'] !== undefined || blows['put-back-metadata'] !== undefined;
  const isFull = blows['fill-disk'] !== undefined;
  return isMoved || isFull || isPersistent === true || isShortOfMemory === true;
}).map((one) => one.name);

/** Seeds of these workloads in turn, some for each processor. */
async function simulate(workloads: readonly string[], state: PartState, left: number) {
  const from = state.firstSeed + (state.sums['seeds'] ?? 0);
  // Not every seed counts: a few more than are left.
  const seeds = Math.min(SEEDS_PER_SLICE, Math.ceil((1.1 * left) / SLICES));
  const tasks = Array.from({ length: SLICES }, (_, i) => ({
    from: from + i * seeds,
    seeds,
    workloads,
  }));
  const results = await runSlices(tasks);
  if (!areGood(results)) return false;
  for (const { sums } of results) {
    state.done += sums['counted'] ?? 0;
    for (const [name, amount] of Object.entries(sums)) addTo(state, name, amount);
  }
  return true;
}

function areGood(results: readonly SliceResult[]): boolean {
  for (const { isGood, text } of results) if (!isGood) console.log(text);
  return results.every(({ isGood }) => isGood);
}

async function plant(state: PartState): Promise<boolean> {
  const bugs = PLANTED.slice(state.done, state.done + SLICES);
  const results = await runSlices(bugs.map(({ name }) => ({ bug: name })));
  if (!areGood(results)) return false;
  for (const { text } of results) console.log(text);
  state.lines.push(...results.map(({ text }) => text));
  state.done += bugs.length;
  return true;
}

function runProgram(words: readonly string[], more: Record<string, string>): boolean {
  const [program = '', ...rest] = words;
  const environment = { ...process.env, ...more };
  const { status } = spawnSync(program, rest, { cwd: ROOT, stdio: 'inherit', env: environment });
  return status === 0;
}

const FUZZ_PER_STEP = 100_000;
/** Every test makes so many inputs; whole sessions are shown a tenth of it as frames. */
const FUZZ_FILES = ['src/wire/wire.fuzz.ts', 'src/fabric/session.fuzz.ts'];

function fuzz(state: PartState, left: number): Promise<boolean> {
  const inputs = Math.min(FUZZ_PER_STEP, left);
  // Every step looks at other inputs.
  const more = { MEMRACK_FUZZ: `${inputs}`, MEMRACK_SEED: `${1 + state.done}` };
  const isGood = runProgram(['npx', 'vitest', 'run', ...FUZZ_FILES], more);
  if (isGood) state.done += inputs;
  return Promise.resolve(isGood);
}

/** Each begins with a rack of its own. */
const ROUNDS_PER_STEP = 30;

/** Rounds of a loop with real processes: of the test in `file`, with variables of this `name`. */
function rounds(name: string, file: string, state: PartState, left: number): Promise<boolean> {
  const count = Math.min(ROUNDS_PER_STEP, left);
  const more = {
    [`MEMRACK_${name}_ROUNDS`]: `${count}`,
    [`MEMRACK_${name}_SEED`]: `${1 + state.done}`,
  };
  const isGood = runProgram(['npx', 'vitest', 'run', file], more);
  if (isGood) state.done += count;
  return Promise.resolve(isGood);
}

const COUNTED_PER_STEP = 2_000_000;

/** Increments through a network with every fault; see test/e2e/counting.test.ts. */
function countThrough(state: PartState, left: number): Promise<boolean> {
  const count = Math.min(COUNTED_PER_STEP, left);
  const more = {
    MEMRACK_COUNT_INCREMENTS: `${count}`,
    MEMRACK_COUNT_SEED: `${1 + state.done}`,
  };
  const isGood = runProgram(['npx', 'vitest', 'run', 'test/e2e/counting'], more);
  if (isGood) state.done += count;
  return Promise.resolve(isGood);
}

const PARTS: readonly Part[] = [
  {
    name: ONE_SIDED_PART,
    total: [10_000, 0],
    step: (state, left) => simulate(ONE_SIDED, state, left),
  },
  {
    name: DATAGRAM_PART,
    total: [10_000, 0],
    step: (state, left) => simulate(BY_DATAGRAMS, state, left),
  },
  {
    name: OPERATED_PART,
    total: [10_000, 0],
    step: (state, left) => simulate(OPERATED, state, left),
  },
  {
    name: DEVICES_PART,
    total: [10_000, 0],
    step: (state, left) => simulate(OF_DEVICES, state, left),
  },
  { name: PLANTED_PART, total: [PLANTED.length, 0], step: plant },
  {
    name: 'rounds of stopping and killing clients of shared memory',
    total: [200, 20],
    step: (state, left) => rounds('STOP', 'test/e2e/one-sided-loop', state, left),
  },
  {
    name: 'kill rounds',
    total: [100, 10],
    step: (state, left) => rounds('KILL', 'test/e2e/kill-loop', state, left),
  },
  {
    name: 'rounds of kills and cuts on five machines',
    // Not a tenth: each takes some seconds, and CI has no more.
    total: [300, 10],
    step: (state, left) => rounds('CLUSTER', 'test/e2e/cluster-loop', state, left),
  },
  {
    name: 'rounds of a program that takes memory which a node has lent',
    total: [10, 0],
    step: (state, left) => rounds('DONOR', 'test/e2e/donor-moves', state, left),
  },
  {
    name: 'rounds of programs with remote memory, a process of which is killed',
    total: [100, 0],
    step: (state, left) => rounds('RUN', 'test/conformance/run', state, left),
  },
  { name: 'increments through a bad network', total: [10_000_000, 0], step: countThrough },
  { name: 'inputs for each decoder', total: [1_000_000, 20_000], step: fuzz },
  {
    name: SEEDS_PART,
    total: [5_000, 0],
    step: (state, left) => simulate(ALL, state, left),
  },
];

function wantedOf(name: string): number {
  return PARTS.find((part) => part.name === name)?.total[0] ?? 0;
}

/** The last commit that changed what is proved. */
function commit(): string {
  const git = (...words: string[]): string => {
    return spawnSync('git', words, { cwd: ROOT, encoding: 'utf8' }).stdout.trim();
  };
  const isClean = git('status', '--porcelain', '--untracked-files=no', 'src', 'test') === '';
  return `${git('log', '-1', '--format=%h', '--', 'src', 'test')}${isClean ? '' : ' with changes'}`;
}

function machine(): string {
  const processors = cpus();
  return `${processors.length} x ${processors[0]?.model.trim() ?? '?'}, Node ${process.version}`;
}

/** The parts of which a name has one of these words; without words all. */
function chosen(words: readonly string[]): readonly Part[] {
  const unknown = words.filter((word) => !PARTS.some(({ name }) => name.includes(word)));
  if (unknown.length > 0) {
    const names = PARTS.map(({ name }) => `  ${name}`).join('\n');
    throw new Error(`no part has ${unknown.join(' or ')} in its name; there are:\n${names}`);
  }
  return PARTS.filter(({ name }) => words.length === 0 || words.some((one) => name.includes(one)));
}

async function main(
  isShort: boolean,
  firstSeed: number,
  words: readonly string[],
): Promise<number> {
  const path = STATE_PATHS[isShort ? 0 : 1];
  const state = loadState(path);
  const head = commit();
  for (const { name, total, step } of chosen(words)) {
    const wanted = total[isShort ? 1 : 0];
    const part = partOf(state, name, head, firstSeed);
    while (part.done < wanted) {
      const startMs = performance.now();
      const isGood = await step(part, wanted - part.done);
      part.ms += performance.now() - startMs;
      if (!isGood) {
        console.log(`FAILED: ${name}, after ${part.done} of ${wanted}`);
        return 1;
      }
      saveState(path, state);
      if (!isShort) writeFileSync(PAGE_PATH, proofText(state, machine(), wantedOf));
      console.log(`${name}: ${part.done} of ${wanted} in ${(part.ms / 1000).toFixed(0)} s`);
    }
  }
  return 0;
}

const { values, positionals } = parseArgs({
  options: { ci: { type: 'boolean', default: false }, from: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const firstSeed = Number(values.from);
if (!Number.isSafeInteger(firstSeed) || firstSeed < 1) {
  throw new Error(`--from ${values.from}: wanted is the number of the first seed, 1 or more`);
}
process.exitCode = await main(values.ci, firstSeed, positionals);
