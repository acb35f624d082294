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
import type { Poller } from './poller.js';
import { NodeRingConsumer, wakeConsumer } from './ring-consumer.js';

/** What a worker is given: the start, and the options of the runtime it makes for itself. */
export interface WorkerData {
  readonly start: ThreadStart;
  readonly options: unknown;
}

const settled = Promise.resolve();

export class NodeThreads implements Threads {
  readonly #poller: Poller;
  readonly #entry: string | undefined;
  readonly #options: unknown;

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

  pausePoint(): Promise<void> {
    return settled;
  }
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
