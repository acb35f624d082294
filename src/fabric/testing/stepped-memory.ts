/**
 * Memory files for tests, in one process: a test looks in, or changes something, before any access
 * of a step that it names. Copies into a file can be held back until the next fence, as the store
 * buffer of a processor does it.
 */

import { assert } from '../../base/assert.js';
import {
  type Mapping,
  type Memory,
  MemoryError,
  type MemoryFile,
  type MemoryHandle,
  type Steps,
} from '../../runtime/memory.js';

interface Held {
  readonly target: Uint8Array;
  readonly start: number;
  readonly bytes: Uint8Array;
}

export class SteppedMemory implements Memory {
  /** Called before each access of a step, with the number of accesses before it. */
  before: (access: number) => void = () => undefined;
  holdsBack = false;
  /** While true `run` waits until `finish`. */
  isSlow = false;
  /** Accesses of the last step. */
  accesses = 0;
  /** Files that were opened and not released. */
  opened = 0;
  readonly #files = new Map<MemoryHandle, ArrayBuffer>();
  readonly #buffers = new Set<ArrayBufferLike>();
  readonly #names = new Map<MemoryHandle, string>();
  #isStepping = false;
  #held: Held[] = [];
  #waiting: Steps | undefined;

  create(name: string, bytes: number): MemoryFile {
    const handle = this.#files.size + 1;
    const buffer = new ArrayBuffer(bytes);
    this.#files.set(handle, buffer);
    this.#names.set(handle, name);
    this.#buffers.add(buffer);
    return this.#file(handle, () => undefined);
  }

  adopt(handle: MemoryHandle): MemoryFile {
    return this.#file(handle, () => undefined);
  }

  nameOf(handle: MemoryHandle): string {
    return `file/${handle}`;
  }

  open(name: string): MemoryFile {
    const handle = Number(name.slice('file/'.length));
    if (!this.#files.has(handle)) throw new MemoryError(`no memory file ${name}`);
    this.opened++;
    return this.#file(handle, () => void this.opened--);
  }

  #file(handle: MemoryHandle, release: () => void): MemoryFile {
    const buffer = this.#files.get(handle);
    if (buffer === undefined) throw new MemoryError(`no memory file of handle ${handle}`);
    return {
      name: this.#names.get(handle) ?? '',
      bytes: buffer.byteLength,
      handle,
      map: (offset, bytes) => mappingOf(buffer, offset, bytes),
      discard: (offset, bytes) => void new Uint8Array(buffer, offset, bytes).fill(0),
      populate: () => {},
      heldBytes: () => 0,
      release,
    };
  }

  runNow(steps: Steps): void {
    for (this.accesses = 0; ; this.accesses++) {
      this.before(this.accesses);
      if (steps.fencesNext) this.#flush();
      this.#isStepping = true;
      const goesOn = steps.next();
      this.#isStepping = false;
      if (!goesOn) break;
    }
    this.accesses++;
    this.#flush();
    steps.ended();
  }

  run(steps: Steps): void {
    if (!this.isSlow) {
      this.runNow(steps);
      return;
    }
    assert(this.#waiting === undefined, 'a step is run in the middle of another');
    this.#waiting = steps;
  }

  /** Makes the step that waits. */
  finish(): void {
    const steps = this.#waiting;
    this.#waiting = undefined;
    if (steps !== undefined) this.runNow(steps);
  }

  get isWaiting(): boolean {
    return this.#waiting !== undefined;
  }

  #flush(): void {
    for (const { target, start, bytes } of this.#held.splice(0)) target.set(bytes, start);
  }

  meanwhile(): void {}

  available(): number {
    return 2 ** 40;
  }

  room(): never {
    throw new Error('not of this machine');
  }

  readonly copyWords: Memory['copyWords'] = (target, targetStart, source, sourceStart, words) => {
    this.copy(bytesOf(target), 8 * targetStart, bytesOf(source), 8 * sourceStart, 8 * words);
  };

  readonly copy: Memory['copy'] = (target, targetStart, source, sourceStart, bytes) => {
    const given = source.subarray(sourceStart, sourceStart + bytes);
    assert(targetStart + bytes <= target.length && given.length === bytes, 'copy out of bounds');
    if (this.#isStepping && this.holdsBack && this.#buffers.has(target.buffer)) {
      this.#held.push({ target, start: targetStart, bytes: given.slice() });
    } else {
      target.set(given, targetStart);
    }
  };
}

function mappingOf(buffer: ArrayBuffer, offset: number, bytes: number): Mapping {
  return {
    bytes: new Uint8Array(buffer, offset, bytes),
    view: new DataView(buffer, offset, bytes),
    words: new Int32Array(buffer, offset, bytes / 4),
    wide: new BigUint64Array(buffer, offset, bytes / 8),
  };
}

function bytesOf(words: BigUint64Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
