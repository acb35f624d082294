/**
 * A file whose flushes are shared: one at a time, each for all who asked before it began. After
 * one that has failed nothing is written or flushed any more: the system may let a later flush
 * succeed that has not written what the failed one was to write, whoever wrote it.
 */

import { DiskError, type File } from '../../runtime/disk.js';

/** A flush has failed: nobody knows what is on the disk. */
export class FlushError extends Error {
  override readonly name = 'FlushError';

  constructor(cause: unknown) {
    super('a flush has failed', { cause });
  }
}

export class FlushedFile {
  readonly #file: File;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #error: FlushError | undefined;

  constructor(file: File) {
    this.#file = file;
  }

  read(at: number, into: Uint8Array): Promise<number> {
    return this.#file.read(at, into);
  }

  async write(at: number, from: Uint8Array): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    await this.#file.write(at, from);
  }

  /** What was written before is safe. Rejects with a `FlushError`, then and ever after. */
  flush(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        this.#running = this.#flush();
        return this.#running;
      });
    return this.#next;
  }

  async #flush(): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    try {
      await this.#file.flush();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#error = new FlushError(error);
      throw this.#error;
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
