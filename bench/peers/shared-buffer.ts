/**
 * What a SharedArrayBuffer between two threads of one process gives: nothing is translated, and
 * nothing is checked. `node shared-buffer.js WORK OPERATIONS` prints nanoseconds of wall and of
 * processor time per operation.
 */

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { pinned, type Turn } from '../harness.js';

/**
 * `ping`: a counter that the other thread raises in turn, on a core of its own; `wake`: the same,
 * both asleep (`Atomics.wait`) until the other one wakes them.
 */
export type SharedWork = 'copy' | 'atomic copy' | 'add' | 'ping' | 'wake';

const VALUE_WORDS = 8;
const KEYS = 2 ** 14;
const STRIDE = 7919;
const MINE = 0;
const THEIRS = 16;
const STOP = -1;

/** One turn in a process of its own. */
export function sharedTurn(work: SharedWork, operations: number): { ns: number; cpuNs: number } {
  const words = [process.execPath, fileURLToPath(import.meta.url), work, String(operations)];
  const isTrip = work === 'ping' || work === 'wake';
  const [program, args] = isTrip ? onTwoCores(words) : pinned(1, words);
  const text = execFileSync(program, args, { encoding: 'utf8', timeout: 120_000 });
  const [ns = Number.NaN, cpuNs = Number.NaN] = text.trim().split(' ').map(Number);
  return { ns, cpuNs };
}

/** The same, as operations per second. */
export function sharedRate(work: SharedWork, operations: number): Turn {
  const { ns, cpuNs } = sharedTurn(work, operations);
  return { value: 1e9 / ns, cpuPerOperation: cpuNs / 1000 };
}

function onTwoCores(words: readonly string[]): [string, string[]] {
  const [program, args] = pinned(0, words);
  return program === 'taskset' ? [program, ['-c', '0,1', ...args.slice(2)]] : [program, args];
}

function copy(shared: BigUint64Array, target: BigUint64Array, operations: number): void {
  for (let i = 0; i < operations; i += 1) {
    const from = ((i * STRIDE) & (KEYS - 1)) * VALUE_WORDS;
    for (let word = 0; word < VALUE_WORDS; word += 1) {
      target[word] = shared[from + word] as bigint;
    }
  }
}

function copyByAtomics(shared: BigUint64Array, target: BigUint64Array, operations: number): void {
  for (let i = 0; i < operations; i += 1) {
    const from = ((i * STRIDE) & (KEYS - 1)) * VALUE_WORDS;
    for (let word = 0; word < VALUE_WORDS; word += 1) {
      target[word] = Atomics.load(shared, from + word);
    }
  }
}

function add(shared: BigUint64Array, operations: number): void {
  for (let i = 0; i < operations; i += 1) Atomics.add(shared, 0, 1n);
}

function ping(counters: Int32Array, operations: number): void {
  for (let i = 1; i <= operations; i += 1) {
    Atomics.store(counters, MINE, i);
    while (Atomics.load(counters, THEIRS) !== i);
  }
  Atomics.store(counters, MINE, STOP);
}

function answer(counters: Int32Array): void {
  for (let last = 0; last !== STOP; ) {
    const now = Atomics.load(counters, MINE);
    if (now === last) continue;
    last = now;
    Atomics.store(counters, THEIRS, now);
  }
}

function wake(counters: Int32Array, operations: number): void {
  for (let i = 1; i <= operations; i += 1) {
    Atomics.store(counters, MINE, i);
    Atomics.notify(counters, MINE);
    Atomics.wait(counters, THEIRS, i - 1);
  }
  Atomics.store(counters, MINE, STOP);
  Atomics.notify(counters, MINE);
}

function answerAwake(counters: Int32Array): void {
  for (let last = 0; last !== STOP; ) {
    Atomics.wait(counters, MINE, last);
    last = Atomics.load(counters, MINE);
    if (last === STOP) return;
    Atomics.store(counters, THEIRS, last);
    Atomics.notify(counters, THEIRS);
  }
}

/** The other thread is there in all cases, so that the buffer is shared. */
async function main(work: string, operations: number): Promise<void> {
  const buffer = new SharedArrayBuffer(KEYS * VALUE_WORDS * 8);
  const shared = new BigUint64Array(buffer);
  const counters = new Int32Array(buffer);
  const target = new BigUint64Array(VALUE_WORDS);
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { buffer, work } });
  await new Promise((resolve) => worker.once('message', resolve));
  const run = (count: number): void => {
    if (work === 'copy') copy(shared, target, count);
    else if (work === 'atomic copy') copyByAtomics(shared, target, count);
    else if (work === 'add') add(shared, count);
    else if (work === 'ping') ping(counters, count);
    else wake(counters, count);
  };
  // The worker of a ping ends with it; all else is run once before, to be compiled.
  if (work !== 'ping' && work !== 'wake') run(operations / 4);
  const cpu = process.cpuUsage();
  const start = performance.now();
  run(operations);
  const ns = ((performance.now() - start) * 1e6) / operations;
  const { user, system } = process.cpuUsage(cpu);
  console.log(`${ns} ${((user + system) * 1000) / operations}`);
  process.exit(0);
}

async function other(): Promise<void> {
  const { parentPort } = await import('node:worker_threads');
  const { buffer, work } = workerData as { buffer: SharedArrayBuffer; work: string };
  parentPort?.postMessage('here');
  const counters = new Int32Array(buffer);
  if (work === 'ping') answer(counters);
  else if (work === 'wake') answerAwake(counters);
  else Atomics.wait(counters, counters.length - 1, 0);
}

if (!isMainThread && workerData !== null) await other();
else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(process.argv[2] ?? '', Number(process.argv[3]));
}
