/**
 * Threads and the rings between them.
 *
 * A ring carries records of a fixed number of 32-bit words from one producing thread to one
 * consuming thread. The consumer spins briefly and then sleeps; the producer wakes it only if it
 * sleeps. Every word of a ring has one writing thread: `tail` and the records the producer, `head`
 * and the sleep mark the consumer.
 */

import type { MemoryHandle } from './memory.js';

/** Bytes shared between threads, as plain memory. Can be handed to `spawn`. */
export type Shared = SharedArrayBuffer;

export interface RingOptions {
  /** A power of two. */
  readonly records: number;
  readonly recordWords: number;
}

export interface RingProducer {
  /** Copies one record in; false when the ring is full. `record.length` = `recordWords`. */
  submit(record: Int32Array): boolean;
  /** Wakes the consumer if it sleeps. Call once after a batch of `submit`. */
  ring(): void;
  /** How many records can be submitted now. */
  room(): number;
}

export interface RingConsumer {
  /** Copies the oldest record out; false when the ring is empty. */
  take(into: Int32Array): boolean;
  /** How many records wait. */
  waiting(): number;
  /**
   * For a thread without other duties: resolves when a record is there or `timeoutMs` have passed.
   * It may block the thread.
   */
  wait(timeoutMs: number): Promise<void>;
  /**
   * For a thread with an event loop: `callback` is called, on that thread, after a producer rang,
   * until `close`. It takes all that is there.
   */
  listen(callback: () => void): void;
  close(): void;
}

export interface Thread {
  /** Resolves with the reason when the thread has ended, by itself or not. */
  readonly ended: Promise<string>;
  /** Ends the thread by force. */
  terminate(): void;
}

export interface ThreadStart {
  /** The key of a `ThreadMain` that the application registered. */
  readonly entry: string;
  /** JSON. */
  readonly arguments: unknown;
  readonly shared: readonly Shared[];
  /** Memory files of this process that the thread will `adopt`. */
  readonly memory: readonly MemoryHandle[];
}

export interface Threads {
  share(bytes: number): Shared;
  spawn(start: ThreadStart): Thread;
  ringBytes(options: RingOptions): number;
  /** Both ends look at `shared[offset, offset + ringBytes)`, all zeros before the first use. */
  producer(shared: Shared, offset: number, options: RingOptions): RingProducer;
  consumer(shared: Shared, offset: number, options: RingOptions): RingConsumer;
  /**
   * Stops this thread until `words[index]` is not `value` any more, which is seen at once or told
   * by `unblock`, or until `timeoutMs` have passed; true: it is not. Looks for a moment before it
   * sleeps. `words` lie in shared bytes. Nothing else of this thread runs meanwhile, so not for one
   * that others wait for. In the simulator only for code that no promise has called.
   */
  block(words: Int32Array, index: number, value: number, timeoutMs: number): boolean;
  /** Wakes whoever is stopped at this word; to be called after a store to it. */
  unblock(words: Int32Array, index: number): void;
  /**
   * For long work in a thread: lets others run (a switching point in the simulator, nothing on a
   * real machine).
   */
  pausePoint(): Promise<void>;
}
