/**
 * A slice of the proof in a process of its own, so that every processor has one: the simulator runs
 * on one thread. `runSlices` starts this same file once for each task.
 */

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { hunt, huntText } from './hunt.js';
import { plantedNamed } from './planted.js';
import { runMany } from './run-many.js';
import { failCurrent } from './run-seed.js';
import { repeatCommand } from './verdict.js';

export type SliceTask =
  | { readonly seeds: number; readonly from: number; readonly workloads: readonly string[] }
  /** `from`: the first seed of the hunt; `untilMs`: since 1970, when it is given up. */
  | { readonly bug: string; readonly from?: number; readonly untilMs?: number };

export interface SliceResult {
  readonly isGood: boolean;
  readonly text: string;
  /** Of a hunt: there was no time to play all its seeds. */
  readonly isCutShort?: boolean;
  readonly sums: Readonly<Record<string, number>>;
}

/** As many slices as run at the same time. */
export const SLICES = availableParallelism();

/**
 * The results stand in the order of the tasks; each is also told as soon as it is there. They are
 * fewer than the tasks where `mayBegin` said no before the last ones.
 */
export async function runSlices(
  tasks: readonly SliceTask[],
  tell: (result: SliceResult) => void = () => undefined,
  mayBegin: () => boolean = () => true,
): Promise<SliceResult[]> {
  const results: SliceResult[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < tasks.length && mayBegin()) {
      const place = next++;
      const result = await runSlice(tasks[place] as SliceTask);
      results[place] = result;
      tell(result);
    }
  };
  await Promise.all(Array.from({ length: SLICES }, lane));
  return results;
}

function runSlice(task: SliceTask): Promise<SliceResult> {
  return new Promise((resolve) => {
    const child = fork(fileURLToPath(import.meta.url), ['slice']);
    let result: SliceResult | undefined;
    child.once('message', (message) => {
      result = message as SliceResult;
    });
    child.once('exit', (code, signal) => {
      const text = `${JSON.stringify(task)} ended with ${signal ?? code} and no result`;
      resolve(result ?? { isGood: false, text, sums: {} });
    });
    child.send(task);
  });
}

async function runTask(task: SliceTask): Promise<SliceResult> {
  if ('bug' in task) {
    const bug = plantedNamed(task.bug);
    if (bug === undefined) return { isGood: false, text: `no bug ${task.bug}`, sums: {} };
    const { untilMs = Infinity } = task;
    const mayGoOn = (): boolean => performance.timeOrigin + performance.now() < untilMs;
    const result = await hunt(bug, undefined, task.from, mayGoOn);
    const { found, isCutShort } = result;
    return { isGood: found !== undefined, text: huntText(result), isCutShort, sums: {} };
  }
  const { totals, failed } = await runMany({
    ...task,
    forMs: Infinity,
    now: () => performance.now(),
  });
  const [verdict] = failed;
  if (verdict === undefined) return { isGood: true, text: '', sums: totals.sums() };
  const [violation] = verdict.violations;
  const text =
    `seed ${verdict.seed} failed: ${violation?.rule}: ${violation?.text}\n` +
    `repeat it with: ${repeatCommand(verdict, undefined)}`;
  return { isGood: false, text, sums: {} };
}

if (process.argv[2] === 'slice' && process.send !== undefined) {
  process.on('unhandledRejection', failCurrent);
  process.once('message', (task) => {
    void runTask(task as SliceTask).then((result) => {
      process.send?.(result, () => process.disconnect());
    });
  });
  // Whoever started it is gone: so is what it was for.
  process.once('disconnect', () => process.exit());
}
