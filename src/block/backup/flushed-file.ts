/**
 * A file whose flushes are shared: one at a time, each for all who asked before it began. After
 * one that has failed nothing is written or flushed any more: the system may let a later flush
 * succeed that has not written what the failed one was to write, whoever wrote it. Nor is it after
 * something that the disk did not do in time.
 */

import type { Timers } from '../../runtime/clock.js';
import { DiskError, type File } from '../../runtime/disk.js';
import { DiskPatience, LateError } from './disk-patience.js';

/** A flush has failed, or the disk hangs: nobody knows what is on it. */
export class FinalError extends Error {
  override readonly name = 'FinalError';

  constructor(cause: unknown) {
    super('nobody knows what is on the disk', { cause });
  }
}

export class FlushedFile {
  readonly #file: File;
  readonly #patience: DiskPatience;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #error: FinalError | undefined;

  constructor(file: File, timers: Timers) {
    this.#file = file;
    this.#patience = new DiskPatience(timers);
  }

  /** Also after an error; not while the disk hangs. */
  async read(at: number, into: Uint8Array): Promise<number> {
    if (this.#patience.isHung) throw new LateError();
    // What comes late is not to come where somebody else reads to by then.
    const own = new Uint8Array(into.length);
    const done = await this.#patience.wait(this.#file.read(at, own));
    into.set(own.subarray(0, done));
    return done;
  }

  /** After a `FinalError` the disk may still have `from`. */
  async write(at: number, from: Uint8Array): Promise<void> {
    this.#refuse();
    try {
      await this.#patience.wait(this.#file.write(at, from));
    } catch (error) {
      throw error instanceof LateError ? this.#final(error) : error;
    }
  }

  /** What was written before is safe. Rejects with a `FinalError`, then and ever after. */
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
    this.#refuse();
    try {
      await this.#patience.wait(this.#file.flush());
    } catch (error) {
      throw error instanceof DiskError ? this.#final(error) : error;
    }
  }

  #refuse(): void {
    if (this.#error === undefined && this.#patience.isHung) this.#final(new LateError());
    if (this.#error !== undefined) throw this.#error;
  }

  #final(cause: DiskError): FinalError {
    this.#error ??= new FinalError(cause);
    return this.#error;
  }

  /** When all that was asked for has ended: nothing comes late after that. */
  async close(): Promise<void> {
    await this.#patience.ended();
    await this.#file.close();
  }
}
