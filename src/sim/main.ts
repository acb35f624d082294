/** `npm run sim`: runs seeds and says what they showed. See `options.ts` for the words. */

import { runCi } from './ci.js';
import { hunt, huntText } from './hunt.js';
import { parseSimOptions, type SimOptions } from './options.js';
import { type Planted, plantedNamed, withPlanted } from './planted.js';
import { runMany } from './run-many.js';
import { failCurrent, runSeed } from './run-seed.js';
import type { Totals } from './totals.js';
import { FAILURE_EXIT, repeatCommand, type SeedVerdict } from './verdict.js';
import { WORKLOADS } from './workloads/all.js';

const MINUTE_MS = 60_000;

function say(text: string): void {
  console.log(text);
}

function now(): number {
  return performance.now();
}

function sayFailure(verdict: SeedVerdict, plant?: string): void {
  const { failure, seed, workload, violations } = verdict;
  if (failure === undefined) return;
  say(`\nseed ${seed} (${workload}) failed: ${failure} (exit code ${FAILURE_EXIT[failure]})`);
  for (const { rule, text } of violations) say(`  ${rule}: ${text}`);
  say('what happened last:');
  for (const note of verdict.notes.slice(-30)) say(`  ${note}`);
  say('the last events:');
  for (const line of verdict.events.split('\n').slice(-25)) say(`  ${line}`);
  say(`repeat it with: ${repeatCommand(verdict, plant)}`);
}

async function one(seed: number, options: SimOptions, bug: Planted | undefined): Promise<number> {
  const { workload, trace, calm } = options;
  const onLog = (entry: {
    atMs: number;
    process: string;
    level: string;
    message: string;
  }): void => {
    say(`${entry.atMs.toFixed(3).padStart(12)} ${entry.process} ${entry.level}: ${entry.message}`);
  };
  const run = () => runSeed({ seed, workload, calm, ...(trace ? { onLog } : {}) });
  const verdict = bug === undefined ? await run() : await withPlanted(bug, run);
  if (trace) for (const note of verdict.notes) say(note);
  const { operations, turns, simulatedMs, traceHash } = verdict;
  say(
    `seed ${seed} (${verdict.workload}): ${operations} operations, ${turns} events, ` +
      `${(simulatedMs / 1000).toFixed(2)} simulated seconds, trace hash ${traceHash}`,
  );
  say([...verdict.endings].map(([ending, count]) => `${ending} ${count}`).join(', '));
  sayFailure(verdict, bug?.name);
  return verdict.failure === undefined ? 0 : FAILURE_EXIT[verdict.failure];
}

function sayProgress(): (verdict: SeedVerdict, totals: Totals) => void {
  let nextMs = now() + 10_000;
  const startMs = now();
  return (_, totals) => {
    if (now() < nextMs) return;
    nextMs += 10_000;
    const seconds = Math.round((now() - startMs) / 1000);
    say(`${seconds} s: ${totals.seeds} seeds, ${totals.operations} operations`);
  };
}

async function many(options: SimOptions, forMs: number): Promise<number> {
  const startMs = now();
  const { totals, failed } = await runMany({
    from: options.from,
    seeds: options.seeds ?? Infinity,
    forMs,
    workload: options.workload,
    keepGoing: options.keepGoing,
    now,
    onVerdict: sayProgress(),
  });
  for (const verdict of failed) sayFailure(verdict);
  say(totals.text(now() - startMs));
  const first = failed[0]?.failure;
  if (first !== undefined) return FAILURE_EXIT[first];
  const missing = WORKLOADS.filter((workload) => !totals.byWorkload.has(workload.name));
  const wantsAll = options.workload === undefined && totals.seeds >= 5 * WORKLOADS.length;
  if (!wantsAll || missing.length === 0) return 0;
  say(`no seed that counts for: ${missing.map((workload) => workload.name).join(', ')}`);
  return 1;
}

async function run(options: SimOptions): Promise<number> {
  const bug = options.plant === undefined ? undefined : plantedNamed(options.plant);
  if (options.seed !== undefined) return one(options.seed, options, bug);
  if (bug !== undefined) {
    const result = await hunt(bug, options.seeds);
    say(huntText(result));
    if (result.found !== undefined) say(`repeat it with: ${repeatCommand(result.found, bug.name)}`);
    return result.found === undefined ? 1 : 0;
  }
  if (options.ci) return runCi(say, options.seconds);
  const minutes = options.minutes ?? (options.seeds === undefined ? 1 : Infinity);
  return many(options, minutes * MINUTE_MS);
}

const parsed = parseSimOptions(process.argv.slice(2));
if (typeof parsed === 'string') {
  say(parsed);
  process.exitCode = process.argv.includes('--help') ? 0 : 2;
} else {
  process.on('unhandledRejection', failCurrent);
  process.exitCode = await run(parsed);
}
