/**
 * `npm run proof`: the long counts, in parts that can be stopped and go on: simulated seeds,
 * planted bugs, decoder fuzzing, kill loops with real processes. Writes docs/proof.md at the end.
 * `-- --ci` does a tenth and writes nothing.
 */

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hunt, huntText } from './hunt.js';
import { PLANTED } from './planted.js';
import { addTo, loadState, type PartState, partOf, saveState } from './proof-state.js';
import { proofText } from './proof-text.js';
import { runMany } from './run-many.js';
import { failCurrent } from './run-seed.js';
import { repeatCommand } from './verdict.js';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const STATE_PATH = join(ROOT, 'node_modules/.cache/memrack-proof.json');

interface Part {
  readonly name: string;
  /** How much is to be done, in full and in short. */
  readonly total: readonly [number, number];
  /** Does some more and adds it to the state; false ends the proof with a failure. */
  readonly step: (state: PartState, left: number) => Promise<boolean>;
}

const SEEDS_PER_STEP = 100;

async function simulate(state: PartState, left: number): Promise<boolean> {
  const from = 1 + (state.sums['seeds'] ?? 0);
  const { totals, failed } = await runMany({
    from,
    seeds: Math.min(SEEDS_PER_STEP, 2 * left),
    forMs: Infinity,
    now: () => performance.now(),
  });
  const [verdict] = failed;
  if (verdict !== undefined) {
    const [violation] = verdict.violations;
    console.log(`seed ${verdict.seed} failed: ${violation?.rule}: ${violation?.text}`);
    console.log(`repeat it with: ${repeatCommand(verdict, undefined)}`);
    return false;
  }
  state.done += totals.counted;
  addTo(state, 'seeds', totals.seeds);
  addTo(state, 'operations', totals.operations);
  addTo(state, 'events', totals.turns);
  addTo(state, 'simulated ms', totals.simulatedMs);
  addTo(state, 'run twice', totals.repeated);
  for (const [kind, { injected, mattered }] of totals.faults) {
    addTo(state, `fault ${kind} injected`, injected);
    addTo(state, `fault ${kind} mattered`, mattered);
  }
  return true;
}

async function plant(state: PartState): Promise<boolean> {
  const bug = PLANTED[state.done];
  if (bug === undefined) return false;
  const result = await hunt(bug);
  console.log(huntText(result));
  state.lines.push(huntText(result));
  state.done += 1;
  return result.found !== undefined;
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

const KILL_ROUNDS_PER_STEP = 10;

function killLoop(state: PartState, left: number): Promise<boolean> {
  const rounds = Math.min(KILL_ROUNDS_PER_STEP, left);
  const more = { MEMRACK_KILL_ROUNDS: `${rounds}`, MEMRACK_KILL_SEED: `${1 + state.done}` };
  const isGood = runProgram(['npx', 'vitest', 'run', 'test/e2e/kill-loop'], more);
  if (isGood) state.done += rounds;
  return Promise.resolve(isGood);
}

const PARTS: readonly Part[] = [
  { name: 'simulated seeds that count', total: [5_000, 500], step: simulate },
  { name: 'planted bugs', total: [PLANTED.length, PLANTED.length], step: plant },
  { name: 'inputs for each decoder', total: [1_000_000, 20_000], step: fuzz },
  { name: 'kill rounds', total: [100, 10], step: killLoop },
];

function commit(): string {
  const git = (...words: string[]): string => {
    return spawnSync('git', words, { cwd: ROOT, encoding: 'utf8' }).stdout.trim();
  };
  const isClean = git('status', '--porcelain', '--untracked-files=no', 'src', 'test') === '';
  return `${git('rev-parse', '--short', 'HEAD')}${isClean ? '' : ' with changes'}`;
}

function machine(): string {
  const processors = cpus();
  return `${processors.length} x ${processors[0]?.model.trim() ?? '?'}, Node ${process.version}`;
}

async function main(isShort: boolean): Promise<number> {
  const state = loadState(STATE_PATH, commit(), isShort);
  for (const { name, total, step } of PARTS) {
    const wanted = total[isShort ? 1 : 0];
    const part = partOf(state, name);
    while (part.done < wanted) {
      const startMs = performance.now();
      const isGood = await step(part, wanted - part.done);
      part.ms += performance.now() - startMs;
      if (!isGood) {
        console.log(`FAILED: ${name}, after ${part.done} of ${wanted}`);
        return 1;
      }
      saveState(STATE_PATH, state);
      console.log(`${name}: ${part.done} of ${wanted} in ${(part.ms / 1000).toFixed(0)} s`);
    }
  }
  const text = proofText(state, machine());
  if (isShort) console.log(text);
  else writeFileSync(join(ROOT, 'docs/proof.md'), text);
  return 0;
}

process.on('unhandledRejection', failCurrent);
process.exitCode = await main(process.argv.includes('--ci'));
