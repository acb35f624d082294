/**
 * The directory of files that were put into spaces: key, place, length and digest. It names bytes,
 * it does not hold them. The place of an entry that is replaced or removed is garbage from the same
 * commit on: see `garbage.ts` for who frees it.
 */

import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import type { Clock } from '../runtime/clock.js';
import { ADDRESS_END, FILES_PER_MESSAGE_MAX } from '../wire/limits.js';
import { garbageChanges } from './garbage.js';
import { FILES_MAX } from './limits.js';
import type { Metadata } from './metadata/metadata.js';
import type { FileRow } from './metadata/schema.js';
import { quote } from './names.js';
import { isRefusal, ok, type Refusal, type Result, refuse } from './refusal.js';

export interface FilePage {
  readonly files: FileRow[];
  /** Ask again after the last key. */
  readonly more: boolean;
}

export class Files {
  readonly #metadata: Metadata;
  readonly #changes: Serial;
  readonly #clock: Clock;

  constructor(metadata: Metadata, changes: Serial, clock: Clock) {
    this.#metadata = metadata;
    this.#changes = changes;
    this.#clock = clock;
  }

  get count(): number {
    return this.#metadata.files.size;
  }

  /**
   * All entries or none. `replaced[i]` is what stood under the key of entry `i` before; undefined
   * where there was nothing, or the same place: an entry that is put again (because the answer was
   * lost) does not give its own bytes away.
   */
  async put(files: readonly FileRow[]): Promise<Result<{ replaced: (FileRow | undefined)[] }>> {
    if (files.length === 0 || files.length > FILES_PER_MESSAGE_MAX) {
      return refuse(
        Status.Invalid,
        `1 to ${FILES_PER_MESSAGE_MAX} files at a time, not ${files.length}`,
      );
    }
    for (const [i, file] of files.entries()) {
      const wrong = refuseEntry(file);
      if (wrong !== undefined) return { ...wrong, message: `file ${i}: ${wrong.message}` };
    }
    return this.#changes.run(() => this.#put(files));
  }

  get(key: string): Result<{ file: FileRow }> {
    const file = this.#visible(key);
    return file === undefined ? refuseUnknown(key) : ok({ file });
  }

  list(prefix: string, after: string, limit: number): FilePage {
    const wanted = Math.min(limit, FILES_PER_MESSAGE_MAX);
    const files: FileRow[] = [];
    let from = after;
    for (;;) {
      const keys = this.#metadata.fileKeys.list(prefix, from, wanted - files.length + 1);
      for (const key of keys) {
        if (files.length === wanted) return { files, more: true };
        const file = this.#visible(key);
        if (file !== undefined) files.push(file);
      }
      const last = keys.at(-1);
      if (last === undefined) return { files, more: false };
      from = last;
    }
  }

  remove(key: string): Promise<Result<{ file: FileRow }>> {
    return this.#changes.run(async () => {
      const found = this.get(key);
      if (isRefusal(found)) return found;
      const garbage = garbageChanges(this.#metadata, [], [found.file], this.#nowMs());
      await this.#metadata.commit([{ table: 'files', remove: key }, ...garbage]);
      return found;
    });
  }

  async #put(files: readonly FileRow[]): Promise<Result<{ replaced: (FileRow | undefined)[] }>> {
    const latest = new Map<string, FileRow>();
    const replaced: (FileRow | undefined)[] = [];
    let added = 0;
    for (const [i, file] of files.entries()) {
      if (this.#metadata.activeSpace(file.space) === undefined) {
        return refuse(Status.NotFound, `file ${i}: there is no space ${file.space}`);
      }
      if (!latest.has(file.key) && !this.#metadata.files.has(file.key)) added++;
      const before = latest.get(file.key) ?? this.#visible(file.key);
      replaced.push(before !== undefined && !isSamePlace(before, file) ? before : undefined);
      latest.set(file.key, file);
    }
    const live = [...latest.values()];
    const dropped = replaced.filter((file) => file !== undefined);
    const { size } = this.#metadata.files;
    const waiting = this.#metadata.garbage.size;
    if (size + waiting + added + dropped.length > FILES_MAX) {
      return refuse(
        Status.NoSpace,
        `the directory holds ${size} files and ${waiting} places of former files that are not ` +
          `freed, and takes at most ${FILES_MAX}: remove files, free those places`,
      );
    }
    await this.#metadata.commit([
      ...live.map((file) => ({ table: 'files', put: file }) as const),
      ...garbageChanges(this.#metadata, live, dropped, this.#nowMs()),
    ]);
    return ok({ replaced });
  }

  #nowMs(): number {
    return Math.floor(this.#clock.wall());
  }

  /** An entry that points into a space that is being removed is gone already. */
  #visible(key: string): FileRow | undefined {
    const file = this.#metadata.files.get(key);
    if (file === undefined || this.#metadata.activeSpace(file.space) === undefined)
      return undefined;
    return file;
  }
}

function isSamePlace(a: FileRow, b: FileRow): boolean {
  return a.space === b.space && a.address === b.address;
}

function refuseUnknown(key: string): Refusal {
  return refuse(Status.NotFound, `there is no file ${quote(key)}`);
}

/** Control characters would reach the terminals of people who list files. */
const CONTROL = /[\u0000-\u001f\u007f]/;

function refuseEntry(file: FileRow): Refusal | undefined {
  const { key, address, length, sha256 } = file;
  if (key === '' || CONTROL.test(key)) {
    return refuse(Status.Invalid, `key ${quote(key)} is empty or has control characters`);
  }
  if (address + length > ADDRESS_END) {
    return refuse(Status.Invalid, `${quote(key)} ends beyond the last address, 2^53`);
  }
  if (sha256 !== '' && !/^[0-9a-f]{64}$/.test(sha256)) {
    return refuse(Status.Invalid, `the digest of ${quote(key)} is not 64 hexadecimal digits`);
  }
  return undefined;
}
