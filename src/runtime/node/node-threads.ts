/** Threads are workers; memory between them is a SharedArrayBuffer. */

import { Worker } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import { RingWriter, ringBytes } from '../ring.js';
import type {
  RingConsumer,
  RingOptions,
  RingProducer,
  Shared,
  Thread,
  Threads,
  ThreadStart,
} from '../threads.js';
import { Patience } from './patience.js';
import type { Poller } from './poller.js';
import { NodeRingConsumer, wakeConsumer } from './ring-consumer.js';

/** What a worker is given: the start, and the options of the runtime it makes for itself. */
export interface WorkerData {
  readonly start: ThreadStart;
  readonly options: unknown;
}

const settled = Promise.resolve();
/** Looks without reading the clock. */
const LOOKS_PER_CLOCK = 64;

export class NodeThreads implements Threads {
  readonly #poller: Poller;
  readonly #entry: string | undefined;
  readonly #options: unknown;
  readonly #patience = new Patience();

  /** `entry` is the file that calls `runThread`; `options` are those of `createRuntime`. */
  constructor(poller: Poller, entry: string | undefined, options: unknown) {
    this.#poller = poller;
    this.#entry = entry;
    this.#options = options;
  }

  share(bytes: number): Shared {
    return new SharedArrayBuffer(bytes);
  }

  spawn(start: ThreadStart): Thread {
    assert(this.#entry !== undefined, 'the runtime was made without a file for threads');
    const workerData: WorkerData = { start, options: this.#options };
    return new NodeThread(new Worker(this.#entry, { workerData, name: start.entry }));
  }

  ringBytes(options: RingOptions): number {
    return ringBytes(options);
  }

  producer(shared: Shared, offset: number, options: RingOptions): RingProducer {
    return new RingWriter(shared, offset, options, wakeConsumer);
  }

  consumer(shared: Shared, offset: number, options: RingOptions): RingConsumer {
    return new NodeRingConsumer(shared, offset, options, this.#poller);
  }

  block(words: Int32Array, index: number, value: number, timeoutMs: number): boolean {
    const start = performance.now();
    const patience = this.#patience;
    patience.begin(start);
    if (isChanged(words, index, value, start + Math.min(timeoutMs, patience.ms))) {
      patience.arrived(performance.now(), true);
      return true;
    }
    patience.waitedInVain();
    for (;;) {
      const now = performance.now();
      if (Atomics.load(words, index) !== value) {
        patience.arrived(now, false);
        return true;
      }
      const leftMs = start + timeoutMs - now;
      if (leftMs <= 0) return false;
      Atomics.wait(words, index, value, leftMs);
    }
  }

  unblock(words: Int32Array, index: number): void {
    Atomics.notify(words, index);
  }

  pausePoint(): Promise<void> {
    return settled;
  }
}

function isChanged(words: Int32Array, index: number, value: number, untilMs: number): boolean {
  do {
    for (let i = 0; i < LOOKS_PER_CLOCK; i++) if (Atomics.load(words, index) !== value) return true;
  } while (performance.now() < untilMs);
  return false;
}

class NodeThread implements Thread {
  readonly ended: Promise<string>;
  readonly #worker: Worker;
  #terminated = false;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.ended = new Promise((resolve) => {
      let failure: string | undefined;
      worker.on('error', (error) => {
        failure = `failed: ${error.stack ?? error.message}`;
      });
      worker.on('exit', (code) => {
        if (this.#terminated) resolve('terminated');
        else resolve(failure ?? (code === 0 ? 'finished' : `ended with code ${code}`));
      });
    });
  }

  terminate(): void {
    this.#terminated = true;
    void this.#worker.terminate();
  }
}
