/**
 * The directory of whole files in remote memory: where each lies, how long it is, its SHA-256.
 * It names places only; writing and reading the bytes is the caller's. A place that loses its last
 * key is garbage from then on: whoever has called `freeGarbage` gives its memory back.
 */

import type { Runtime } from '../runtime/runtime.js';
import { FILES_PER_MESSAGE_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { badKey } from './arguments.js';
import type { Control } from './control.js';
import { unawaited } from './error.js';
import { type FilePlaceFacts, type Free, Garbage } from './garbage.js';

export interface FileFacts extends FilePlaceFacts {
  readonly key: string;
  /** In hexadecimal. */
  readonly sha256: string;
}

/** Bytes of entries in one message, below what a message holds, with the longest keys. */
const BATCH_BYTES_MAX = 64 * 1024;
const ENTRY_BYTES = 128;
const KEY_BYTES_PER_CHARACTER = 3;
const LIST_LIMIT = 500;

export class FileDirectory {
  readonly #runtime: Runtime;
  readonly #control: Control;
  readonly #timeoutMs: number;
  readonly #garbage: Garbage;

  /** `free` frees the allocation that begins at a place, if it is no larger than that. */
  constructor(runtime: Runtime, control: Control, timeoutMs: number, free: Free) {
    this.#runtime = runtime;
    this.#control = control;
    this.#timeoutMs = timeoutMs;
    this.#garbage = new Garbage({ runtime, control, timeoutMs, free });
  }

  /**
   * Enters files, durably when it resolves; each batch as a whole or not at all. An entry of the
   * same key is replaced. Resolves to the places that were named before, which are garbage now:
   * they are freed by `freeGarbage`, and must not be freed otherwise.
   */
  put(files: readonly FileFacts[]): Promise<FilePlaceFacts[]> {
    return unawaited(this.#put(files));
  }

  async #put(files: readonly FileFacts[]): Promise<FilePlaceFacts[]> {
    for (const { key } of files) {
      const wrong = badKey(key);
      if (wrong !== undefined) throw wrong;
    }
    const replaced: FilePlaceFacts[] = [];
    for (const batch of batches(files)) {
      const what = batch.length === 1 ? 'entering a file' : `entering ${batch.length} files`;
      const request = { files: batch };
      const deadline = this.#deadline();
      const reply = await this.#control.demand(what, MessageType.PutFiles, request, deadline);
      for (const place of reply.replaced) if (place.space !== 0) replaced.push(place);
    }
    return replaced;
  }

  /** `NotFound` where there is none. */
  get(key: string): Promise<FileFacts> {
    return unawaited(this.#get(key));
  }

  async #get(key: string): Promise<FileFacts> {
    const wrong = badKey(key);
    if (wrong !== undefined) throw wrong;
    const what = `looking for the file ${JSON.stringify(key)}`;
    return await this.#control.demand(what, MessageType.GetFile, { key }, this.#deadline());
  }

  /** Takes the entry out and gives what it said. Its place is garbage now: see `freeGarbage`. */
  remove(key: string): Promise<FileFacts> {
    return unawaited(this.#remove(key));
  }

  async #remove(key: string): Promise<FileFacts> {
    const wrong = badKey(key);
    if (wrong !== undefined) throw wrong;
    const what = `removing the file ${JSON.stringify(key)}`;
    return await this.#control.demand(what, MessageType.RemoveFile, { key }, this.#deadline());
  }

  /** All files whose key begins with `prefix`, in the order of their keys. */
  async *list(prefix = ''): AsyncGenerator<FileFacts> {
    for (let after = ''; ; ) {
      const request = { limit: LIST_LIMIT, prefix, after };
      const deadline = this.#deadline();
      const type = MessageType.ListFiles;
      const reply = await this.#control.demand('listing files', type, request, deadline);
      yield* reply.files;
      const last = reply.files.at(-1);
      if (reply.more === 0 || last === undefined) return;
      after = last.key;
    }
  }

  /**
   * Frees places that no key names any more, whoever put them there, up to a thousand. Resolves to
   * whether there are more that may be freed now.
   */
  freeGarbage(): Promise<boolean> {
    return unawaited(this.#garbage.free());
  }

  #deadline(): number {
    return this.#runtime.clock.now() + this.#timeoutMs;
  }
}

function* batches(files: readonly FileFacts[]): Generator<FileFacts[]> {
  let batch: FileFacts[] = [];
  let bytes = 0;
  for (const file of files) {
    const size = ENTRY_BYTES + KEY_BYTES_PER_CHARACTER * file.key.length;
    const isFull = batch.length === FILES_PER_MESSAGE_MAX || bytes + size > BATCH_BYTES_MAX;
    if (isFull && batch.length > 0) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(file);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
