/**
 * The main job: a tree of real files goes into remote memory through several client processes,
 * and other processes read it back and verify every byte.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { formatBytes } from '../../base/units.js';
import { formatDuration, Progress, type Screen, table } from '../terminal.js';
import type { Rack } from '../../client/rack.js';
import { GO, type WorkerMessage, type WorkerOrder, type WorkerResult } from './messages.js';
import { splitTree, type Tree } from './tree.js';
import { eachOf } from './write-files.js';

export interface JobOptions {
  readonly rack: Rack;
  readonly folder: string;
  readonly tree: Tree;
  readonly workers: number;
  readonly screen: Screen;
}

export interface PhaseResult {
  readonly phase: 'write' | 'read';
  readonly files: number;
  readonly bytes: number;
  readonly ms: number;
  readonly p50: number;
  readonly p99: number;
}

export interface JobResult {
  readonly phases: readonly PhaseResult[];
  readonly wrong: readonly string[];
  /** Every file was read back, with the right SHA-256. */
  readonly isVerified: boolean;
}

export const JOB_SPACE = 'files';
export const JOB_PREFIX = 'tree/';
const PACKS_PREFIX = 'tree-packs/';
const REMOVALS_UNDER_WAY = 16;
const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));

export async function runJob(options: JobOptions): Promise<JobResult> {
  const { rack, tree, workers } = options;
  await rack.space(JOB_SPACE, { create: true });
  const parts = splitTree(tree.files, workers).filter((files) => files.length > 0);
  const order = {
    url: rack.url,
    folder: options.folder,
    space: JOB_SPACE,
    prefix: JOB_PREFIX,
    packs: PACKS_PREFIX,
    startedAt: Date.now(),
  };
  const writes = parts.map((files): WorkerOrder => ({ ...order, phase: 'write', files }));
  const written = await runPhase(options, 'write', writes);
  const reads = parts.map((files): WorkerOrder => ({ ...order, phase: 'read', files }));
  const read = await runPhase(options, 'read', reads);
  const wrong = read.results.flatMap((result) => result.wrong);
  const isWhole = read.summary.files === tree.files.length && read.summary.bytes === tree.bytes;
  return {
    phases: [written.summary, read.summary],
    wrong,
    isVerified: isWhole && wrong.length === 0,
  };
}

async function runPhase(
  { tree, screen }: JobOptions,
  phase: 'write' | 'read',
  orders: readonly WorkerOrder[],
): Promise<{ summary: PhaseResult; results: WorkerResult[] }> {
  const label = phase === 'write' ? 'writing' : 'reading and verifying';
  const children: ChildProcess[] = [];
  const progress = new Progress(screen, label, tree.bytes);
  try {
    let ready = 0;
    let began = 0;
    const isReady = (): void => {
      ready += 1;
      if (ready < orders.length) return;
      began = performance.now();
      progress.begin();
      for (const child of children) child.send(GO);
    };
    const runs = orders.map((order) => {
      const child = fork(WORKER, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      children.push(child);
      return runWorker(child, order, { isReady, moved: (bytes) => progress.add(bytes) });
    });
    const results = await Promise.all(runs);
    const ms = performance.now() - began;
    return { summary: summarize(phase, results, ms), results };
  } finally {
    progress.end();
    // Gone for certain: what they write must not be freed before.
    await Promise.all(children.map(ended));
  }
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

function runWorker(
  child: ChildProcess,
  order: WorkerOrder,
  told: { readonly isReady: () => void; readonly moved: (bytes: number) => void },
): Promise<WorkerResult> {
  return new Promise((resolve, reject) => {
    child.on('message', (received) => {
      const message = received as WorkerMessage;
      if (message.kind === 'ready') told.isReady();
      else if (message.kind === 'moved') told.moved(message.bytes);
      else if (message.kind === 'done') resolve(message.result);
      else reject(new Error(`a client process failed: ${message.message}`));
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      reject(new Error(`a client process ended before it was done: ${signal ?? `code ${code}`}`));
    });
    child.send(order);
  });
}

function summarize(
  phase: 'write' | 'read',
  results: readonly WorkerResult[],
  ms: number,
): PhaseResult {
  const times = results.flatMap((result) => result.times).sort((a, b) => a - b);
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return {
    phase,
    files: results.reduce((sum, { files }) => sum + files, 0),
    bytes: results.reduce((sum, { bytes }) => sum + bytes, 0),
    ms,
    p50: at(0.5),
    p99: at(0.99),
  };
}

/** The result as a table for people. */
export function jobTable(phases: readonly PhaseResult[]): string {
  return table(phases, [
    { title: 'phase', value: ({ phase }) => phase },
    { title: 'files', value: ({ files }) => String(files), isNumber: true },
    { title: 'bytes', value: ({ bytes }) => formatBytes(bytes), isNumber: true },
    { title: 'time', value: ({ ms }) => formatDuration(ms), isNumber: true },
    {
      title: 'rate',
      value: ({ bytes, ms }) => `${formatBytes(Math.round((bytes / ms) * 1000))}/s`,
      isNumber: true,
    },
    { title: 'p50 per file', value: ({ p50 }) => formatDuration(p50), isNumber: true },
    { title: 'p99 per file', value: ({ p99 }) => formatDuration(p99), isNumber: true },
  ]);
}

/** Takes the job's files and packs out of the directory and gives their memory back. */
export async function cleanUp(rack: Rack): Promise<void> {
  // The packs last: while there is a file in one, its bytes are still there.
  for (const prefix of [JOB_PREFIX, PACKS_PREFIX]) {
    const keys: string[] = [];
    for await (const { key } of rack.files.list(prefix)) keys.push(key);
    await eachOf(keys, REMOVALS_UNDER_WAY, async (key) => void (await rack.files.remove(key)));
  }
  while (await rack.files.freeGarbage());
}
