/**
 * Writes records of the map: those that were asked for while others are on their way go together,
 * under one flush. Of each place the record that was asked for last is written, after the one
 * before it.
 */

import type { FlushedFile } from './flushed-file.js';

interface Wanted {
  readonly record: Uint8Array;
  /** It is on its way: either is on the disk from now on. */
  readonly begun: () => void;
  readonly written: () => void;
}

export class RecordWriter {
  readonly #file: FlushedFile;
  readonly #failed: (error: unknown) => void;
  #wanted = new Map<number, Wanted>();
  #running: Promise<boolean> = Promise.resolve(true);
  #next: Promise<boolean> | undefined;
  #isOver = false;

  /** `failed` is told of an error; who waits for that is told that it was not done. */
  constructor(file: FlushedFile, failed: (error: unknown) => void) {
    this.#file = file;
    this.#failed = failed;
  }

  /** Resolves when it is durable; false: it is not known whether it is. */
  write(at: number, record: Uint8Array, begun: () => void, written: () => void): Promise<boolean> {
    this.#wanted.set(at, { record, begun, written });
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      this.#running = this.#writeAll();
      return this.#running;
    });
    return this.#next;
  }

  /** One is asked for there, and not on its way. */
  isWanted(at: number): boolean {
    return this.#wanted.has(at);
  }

  /** It is not written, if it is not on its way. */
  forget(at: number): void {
    this.#wanted.delete(at);
  }

  /** What was asked for is done first. */
  async end(): Promise<void> {
    await (this.#next ?? this.#running);
    this.#isOver = true;
    await this.#running;
  }

  async #writeAll(): Promise<boolean> {
    if (this.#isOver) return false;
    const records = [...this.#wanted].sort(([a], [b]) => a - b);
    this.#wanted = new Map();
    if (records.length === 0) return true;
    for (const [, { begun }] of records) begun();
    try {
      for (const [at, { record }] of records) await this.#file.write(at, record);
      await this.#file.flush();
    } catch (error) {
      this.#failed(error);
      return false;
    }
    for (const [, { written }] of records) written();
    return true;
  }
}
