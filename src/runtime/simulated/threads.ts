/**
 * Simulated threads: tasks of one process, and rings whose sleeping and waking are events with
 * delays of their own. So every order comes about in which threads could see each other's records.
 */

import { assert } from '../../base/assert.js';
import { RingReader, RingWriter, ringBytes } from '../ring.js';
import type { ThreadMain } from '../thread-main.js';
import type {
  RingConsumer,
  RingOptions,
  RingProducer,
  Shared,
  Thread,
  ThreadStart,
  Threads,
} from '../threads.js';
import { FaultKind } from './faults.js';
import { type Kernel, NS_PER_MS, NS_PER_US } from './kernel.js';
import type { SimulatedEvent, Task } from './task.js';
import { EventKind } from './trace.js';

const SLOW_WAKE_US_MAX = 100_000;

/** Sleeping consumers by the place of their ring, so that the producer's end finds them. */
const sleepers: WeakMap<Shared, Map<number, () => void>> = new WeakMap();

/** Blocked threads by the place of the word that they wait for. */
const blocked: WeakMap<ArrayBufferLike, Map<number, () => void>> = new WeakMap();

function placeOf(words: Int32Array, index: number): number {
  return words.byteOffset + index * words.BYTES_PER_ELEMENT;
}

function sleepersOf(shared: Shared): Map<number, () => void> {
  let found = sleepers.get(shared);
  if (found === undefined) {
    found = new Map();
    sleepers.set(shared, found);
  }
  return found;
}

/** Until a thread runs after something happened that it waits for. */
function wakeNs(kernel: Kernel, task: Task): number {
  const usual = kernel.withinUs(kernel.knobs.wakeUs);
  if (!kernel.faults.roll(FaultKind.SlowWake)) return usual;
  kernel.faults.inject(FaultKind.SlowWake, [task.process.machine.id]);
  return usual + kernel.prng.below(SLOW_WAKE_US_MAX) * NS_PER_US;
}

class SimulatedRingConsumer implements RingConsumer {
  readonly #kernel: Kernel;
  readonly #task: Task;
  readonly #reader: RingReader;
  readonly #places: Map<number, () => void>;
  readonly #offset: number;
  /** Wakes whoever waits; undefined while nobody does. */
  #wake: (() => void) | undefined;
  #listener: (() => void) | undefined;
  #listenerPlanned = false;

  constructor(kernel: Kernel, task: Task, shared: Shared, offset: number, options: RingOptions) {
    this.#kernel = kernel;
    this.#task = task;
    this.#reader = new RingReader(shared, offset, options);
    this.#places = sleepersOf(shared);
    this.#offset = offset;
  }

  take(into: Int32Array): boolean {
    return this.#reader.take(into);
  }

  waiting(): number {
    return this.#reader.waiting();
  }

  wait(timeoutMs: number): Promise<void> {
    assert(this.#wake === undefined, 'a ring is waited for twice');
    const kernel = this.#kernel;
    return new Promise((resolve) => {
      let timeout: SimulatedEvent | undefined;
      const wakeUp = (): void => {
        if (timeout !== undefined) timeout.run = undefined;
        this.#sleepUntil(undefined);
        kernel.schedule(wakeNs(kernel, this.#task), this.#task, EventKind.Wake, resolve);
      };
      if (timeoutMs <= 0 || !this.#reader.markAsleep()) {
        kernel.schedule(wakeNs(kernel, this.#task), this.#task, EventKind.Wake, resolve);
        return;
      }
      this.#sleepUntil(wakeUp);
      const timeoutNs = Math.ceil(timeoutMs * NS_PER_MS);
      timeout = kernel.schedule(timeoutNs, this.#task, EventKind.Wake, wakeUp);
    });
  }

  #sleepUntil(wake: (() => void) | undefined): void {
    this.#wake = wake;
    if (wake !== undefined) {
      this.#places.set(this.#offset, wake);
      return;
    }
    this.#places.delete(this.#offset);
    this.#reader.markAwake();
  }

  listen(callback: () => void): void {
    assert(this.#listener === undefined, 'a ring is listened to twice');
    this.#listener = callback;
    this.#places.set(this.#offset, () => this.#planListener());
    if (!this.#reader.markAsleep()) this.#planListener();
  }

  /** The consumer counts as awake until its callback has found the ring empty. */
  #planListener(): void {
    if (this.#listenerPlanned) return;
    this.#listenerPlanned = true;
    this.#reader.markAwake();
    const kernel = this.#kernel;
    kernel.schedule(wakeNs(kernel, this.#task), this.#task, EventKind.Wake, () => {
      this.#listenerPlanned = false;
      this.#listener?.();
      if (this.#listener !== undefined && !this.#reader.markAsleep()) this.#planListener();
    });
  }

  close(): void {
    this.#listener = undefined;
    this.#places.delete(this.#offset);
    this.#reader.markAwake();
  }
}

class SimulatedThread implements Thread {
  readonly ended: Promise<string>;
  readonly #terminate: () => void;

  constructor(ended: Promise<string>, terminate: () => void) {
    this.ended = ended;
    this.#terminate = terminate;
  }

  terminate(): void {
    this.#terminate();
  }
}

export interface ThreadParts {
  readonly kernel: Kernel;
  readonly task: Task;
  /** The application's threads by name. */
  readonly entries: ReadonlyMap<string, ThreadMain>;
  /** Starts a task of the same process. */
  readonly spawnTask: (name: string) => Task;
  /** Runs the thread's main on the task; resolves with the reason when it has ended. */
  readonly run: (task: Task, main: ThreadMain, start: ThreadStart) => void;
}

export class SimulatedThreads implements Threads {
  readonly #parts: ThreadParts;

  constructor(parts: ThreadParts) {
    this.#parts = parts;
  }

  share(bytes: number): Shared {
    return new SharedArrayBuffer(bytes);
  }

  spawn(start: ThreadStart): Thread {
    const { kernel, task, entries, spawnTask, run } = this.#parts;
    const main = entries.get(start.entry);
    assert(main !== undefined, 'a thread that the application did not register');
    const thread = spawnTask(start.entry);
    const given = { ...start, arguments: copyJson(start.arguments) };
    const ended = new Promise<string>((resolve) => {
      thread.atEnd(({ reason }) => {
        const tell = (): void => resolve(reason);
        kernel.schedule(wakeNs(kernel, task), task, EventKind.Wake, tell);
      });
    });
    kernel.schedule(kernel.withinUs(kernel.knobs.wakeUs * 20), thread, EventKind.Start, () => {
      run(thread, main, given);
    });
    return new SimulatedThread(ended, () => {
      thread.end({ code: undefined, signal: undefined, reason: 'terminated' });
    });
  }

  ringBytes(options: RingOptions): number {
    return ringBytes(options);
  }

  producer(shared: Shared, offset: number, options: RingOptions): RingProducer {
    return new RingWriter(shared, offset, options, () => sleepersOf(shared).get(offset)?.());
  }

  consumer(shared: Shared, offset: number, options: RingOptions): RingConsumer {
    const { kernel, task } = this.#parts;
    return new SimulatedRingConsumer(kernel, task, shared, offset, options);
  }

  block(words: Int32Array, index: number, value: number, timeoutMs: number): boolean {
    const { kernel, task } = this.#parts;
    const isChanged = (): boolean => Atomics.load(words, index) !== value;
    if (isChanged() || timeoutMs <= 0) return isChanged();
    const place = placeOf(words, index);
    const waiting = blocked.get(words.buffer) ?? new Map<number, () => void>();
    assert(!waiting.has(place), 'two threads wait for one word');
    blocked.set(words.buffer, waiting);
    let isOver = false;
    const over = (): void => void (isOver = isTimeOut || isChanged());
    let isTimeOut = false;
    const timeout = kernel.schedule(nsOf(timeoutMs), task, EventKind.Part, () => {
      isTimeOut = true;
      over();
    });
    waiting.set(place, () => kernel.schedule(wakeNs(kernel, task), task, EventKind.Part, over));
    const forget = task.atEnd(() => waiting.delete(place));
    kernel.block(task, () => isOver);
    forget();
    waiting.delete(place);
    timeout.run = undefined;
    return isChanged();
  }

  unblock(words: Int32Array, index: number): void {
    blocked.get(words.buffer)?.get(placeOf(words, index))?.();
  }

  pausePoint(): Promise<void> {
    const { kernel, task } = this.#parts;
    return new Promise((resolve) => {
      kernel.schedule(kernel.withinUs(10), task, EventKind.Wake, resolve);
    });
  }
}

function nsOf(ms: number): number {
  return Math.ceil(ms * NS_PER_MS);
}

/** What crosses a border between processes or threads does so as JSON. */
export function copyJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
