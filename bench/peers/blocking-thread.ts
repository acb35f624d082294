/** A worker thread that uses a space without an event loop, told turn by turn what to do. */

import { parentPort, Worker, workerData } from 'node:worker_threads';
import { type BlockingStart, joinBlocking, type Space } from '../../src/apps/library.js';
import { quantileOf, type Turn } from '../harness.js';

/** Of 64 bytes; `add`: of a word, all of the same. */
export type BlockingWork = 'read' | 'write' | 'readMany' | 'add';

interface Start {
  readonly start: BlockingStart;
  /** Where the keys are, and the address of each in the order of its use. */
  readonly places: Float64Array;
}

interface Order {
  readonly work: BlockingWork;
  /** So many times `GROUP` operations. */
  readonly groups: number;
}

/** Operations between two looks at the clock: one alone takes little longer than the clock. */
export const GROUP = 16;
const BYTES = 64;

export class BlockingThread {
  readonly #worker: Worker;
  readonly #close: () => Promise<void>;

  constructor(space: Space, places: Float64Array) {
    const service = space.blocking();
    const start: Start = { start: service.start, places };
    this.#worker = new Worker(new URL(import.meta.url), { workerData: start });
    this.#close = async () => {
      await this.#worker.terminate();
      await service.ended();
    };
  }

  /** Microseconds per operation: the median of the groups. */
  async turn(order: Order): Promise<Turn> {
    const cpu = process.cpuUsage();
    const answer = new Promise<Float64Array>((resolve, reject) => {
      this.#worker.once('message', resolve).once('error', reject);
    });
    this.#worker.postMessage(order);
    const groupsMs = await answer;
    const { user, system } = process.cpuUsage(cpu);
    this.#worker.removeAllListeners('error');
    return turnOfGroups(groupsMs, user + system);
  }

  close(): Promise<void> {
    return this.#close();
  }
}

export function turnOfGroups(groupsMs: Float64Array, cpuMicroseconds: number): Turn {
  const operations = groupsMs.length * GROUP;
  const us = 1000 / GROUP;
  const mean = (groupsMs.reduce((sum, ms) => sum + ms, 0) * us) / groupsMs.length;
  groupsMs.sort();
  return {
    value: quantileOf(groupsMs, 0.5) * us,
    cpuPerOperation: cpuMicroseconds / operations,
    extra: { mean, p99: quantileOf(groupsMs, 0.99) * us },
  };
}

/** The milliseconds that each group took. */
export function timeGroups(groups: number, group: (first: number) => void): Float64Array {
  const all = new Float64Array(groups);
  for (let i = 0; i < groups; i += 1) {
    const before = performance.now();
    group(i * GROUP);
    all[i] = performance.now() - before;
  }
  return all;
}

function serve({ start, places }: Start): void {
  const space = joinBlocking(start);
  const at = (i: number): number => places[i & (places.length - 1)] as number;
  const bytes = new Uint8Array(BYTES).fill(7);
  const targets = Array.from({ length: GROUP }, () => new Uint8Array(BYTES));
  const batches = Array.from({ length: places.length / GROUP }, (_, batch) =>
    targets.map((into, i) => ({ at: at(batch * GROUP + i), into })),
  );
  const works: Record<BlockingWork, (first: number) => void> = {
    read: (first) => {
      for (let i = first; i < first + GROUP; i += 1) space.read(at(i), bytes);
    },
    write: (first) => {
      for (let i = first; i < first + GROUP; i += 1) space.write(at(i), bytes);
    },
    readMany: (first) => {
      space.readMany(batches[(first / GROUP) & (batches.length - 1)] as (typeof batches)[number]);
    },
    add: (first) => {
      for (let i = first; i < first + GROUP; i += 1) space.fetchAndAdd(at(0), 1n);
    },
  };
  parentPort?.on('message', ({ work, groups }: Order) => {
    parentPort?.postMessage(timeGroups(groups, works[work]));
  });
}

// Not in a worker that is another file's.
if (workerData?.start !== undefined && workerData?.places !== undefined) serve(workerData as Start);
