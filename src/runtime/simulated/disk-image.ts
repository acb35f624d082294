/**
 * What a simulated disk holds: files and folders, each as read now and as stored, with the changes
 * between the two. What a crash leaves of the changes is decided here.
 */

import type { Prng } from '../../base/prng.js';

const WORD_BYTES = 8;

export type Change =
  | { readonly offset: number; readonly bytes: Uint8Array }
  | { readonly truncatedTo: number };

/** What a crash left undone. */
export interface Loss {
  /** Changes that are gone, */
  lost: number;
  /** and those of which some words are. */
  torn: number;
}

/** A file, however it is kept. */
export interface FileNode {
  readonly current: { readonly length: number; read(offset: number, into: Uint8Array): number };
  /** Bytes were lost at the last crash, and nobody has read since. */
  noticeLoss: (() => void) | undefined;
  /** The number of changes ever made: what a flush that begins now stores. */
  readonly changeCount: number;
  change(change: Change): void;
  /** Stores the changes up to this number. */
  flush(upTo: number): void;
  /** A flush that failed: the kernel forgets the changes, and no later flush repeats them. */
  failFlush(upTo: number): void;
  /** The machine stops: what becomes of the changes that were not flushed. */
  crash(prng: Prng): Loss;
}

/** Bytes that grow. */
class Content {
  #bytes = new Uint8Array(0);
  length = 0;

  write(offset: number, from: Uint8Array): void {
    this.resize(Math.max(this.length, offset + from.length));
    this.#bytes.set(from, offset);
  }

  resize(length: number): void {
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
    } else if (length < this.length) {
      this.#bytes.fill(0, length, this.length);
    }
    this.length = length;
  }

  read(offset: number, into: Uint8Array): number {
    const bytes = Math.max(0, Math.min(into.length, this.length - offset));
    into.set(this.#bytes.subarray(offset, offset + bytes));
    return bytes;
  }

  copyFrom(other: Content): void {
    this.#bytes = other.#bytes.slice(0, other.length);
    this.length = other.length;
  }

  apply(change: Change): void {
    if ('truncatedTo' in change) this.resize(change.truncatedTo);
    else this.write(change.offset, change.bytes);
  }
}

export class Inode implements FileNode {
  readonly current = new Content();
  readonly #stored = new Content();
  #changes: Change[] = [];
  /** How many changes were taken out of `#changes` by flushes. */
  #flushedCount = 0;
  noticeLoss: (() => void) | undefined;

  change(change: Change): void {
    this.current.apply(change);
    this.#changes.push(change);
  }

  get changeCount(): number {
    return this.#flushedCount + this.#changes.length;
  }

  flush(upTo: number): void {
    for (const change of this.#takeChanges(upTo)) this.#stored.apply(change);
  }

  failFlush(upTo: number): void {
    this.#takeChanges(upTo);
  }

  #takeChanges(upTo: number): Change[] {
    const taken = this.#changes.splice(0, Math.max(0, upTo - this.#flushedCount));
    this.#flushedCount += taken.length;
    return taken;
  }

  crash(prng: Prng): Loss {
    const fate = { lost: 0, torn: 0 };
    for (const change of this.#takeChanges(this.changeCount)) {
      const kind = prng.below(3);
      if (kind === 0) fate.lost += 1;
      else if (kind === 1 || 'truncatedTo' in change) this.#stored.apply(change);
      else {
        fate.torn += 1;
        this.#storeSomeWords(prng, change.offset, change.bytes);
      }
    }
    this.current.copyFrom(this.#stored);
    return fate;
  }

  /** A prefix, a suffix, or any words. */
  #storeSomeWords(prng: Prng, offset: number, bytes: Uint8Array): void {
    const first = Math.floor(offset / WORD_BYTES);
    const words = Math.ceil((offset + bytes.length) / WORD_BYTES) - first;
    const style = prng.below(3);
    const cut = prng.below(words + 1);
    for (let word = 0; word < words; word++) {
      const kept = style === 0 ? word < cut : style === 1 ? word >= cut : prng.below(2) === 0;
      if (!kept) continue;
      const start = Math.max(0, (first + word) * WORD_BYTES - offset);
      const end = Math.min(bytes.length, (first + word + 1) * WORD_BYTES - offset);
      this.#stored.write(offset + start, bytes.subarray(start, end));
    }
  }
}

export type Entry = FileNode | Folder;

/** A set of names that appear and vanish together. */
type NameChange = ReadonlyMap<string, Entry | undefined>;

export class Folder {
  readonly current: Map<string, Entry> = new Map();
  readonly #stored: Map<string, Entry> = new Map();
  #changes: NameChange[] = [];
  /** Names were lost at the last crash, and nobody has looked since. */
  noticeLoss: (() => void) | undefined;

  change(change: NameChange): void {
    applyNames(this.current, change);
    this.#changes.push(change);
  }

  flush(): void {
    for (const change of this.#changes.splice(0)) applyNames(this.#stored, change);
  }

  /** Returns how many changes were lost. */
  crash(prng: Prng): number {
    let lost = 0;
    for (const change of this.#changes) {
      if (prng.below(2) === 0) applyNames(this.#stored, change);
      else lost += 1;
    }
    this.#changes = [];
    this.current.clear();
    applyNames(this.current, this.#stored);
    return lost;
  }
}

function applyNames(names: Map<string, Entry>, change: ReadonlyMap<string, Entry | undefined>) {
  for (const [name, entry] of change) {
    if (entry === undefined) names.delete(name);
    else names.set(name, entry);
  }
}

export function noticeLoss(entry: Entry): void {
  entry.noticeLoss?.();
  entry.noticeLoss = undefined;
}
