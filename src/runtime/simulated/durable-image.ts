/**
 * A simulated file on a disk that is mapped: what the machine keeps of it in memory, which all see,
 * and what the disk has. Pages of 4 KiB come to the disk when they are flushed, and at times of the
 * machine's own choice. A crash leaves of each page that differs what the disk has, or what memory
 * had, or a mixture of whole words of 8 bytes.
 */

import { assert } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import type { FileRange } from '../durable.js';
import { MAPPING_BYTES_MAX } from '../memory.js';
import type { Change, FileNode, Loss } from './disk-image.js';
import { type HeldFile, MemoryObject } from './memory.js';

const PAGE_BYTES = 4096;
/** Halves of the words of 8 bytes that come to the disk whole: whole ones cost objects. */
const HALVES_PER_PAGE = PAGE_BYTES / 4;

/** Words, as halves. */
type Words = Int32Array<ArrayBuffer>;

/** Pages that follow each other, as they were: those of the file begin at `at` of `words`. */
export interface Stretch {
  readonly page: number;
  readonly count: number;
  readonly words: Words;
  readonly at: number;
}

export class DurableImage implements FileNode {
  readonly inode: number;
  /** Flushes that failed. */
  failures = 0;
  readonly path: string;
  readonly bytes: number;
  /** Openings that somebody holds. */
  readonly openings = new Set<Opening>();
  /** Bytes were lost at the last crash, and nobody has opened it since. */
  noticeLoss: (() => void) | undefined;
  readonly #prng: Prng;
  #cache: MemoryObject;
  /** The whole of the cache, once somebody has looked at it. */
  #words: Words | undefined;
  readonly #stored: Words;
  /** Pages that the machine takes for stored though they are not, and as what. */
  readonly #wronglyClean = new Map<number, Words>();

  constructor(path: string, bytes: number, prng: Prng) {
    assert(bytes <= MAPPING_BYTES_MAX, 'a simulated file on a disk is one piece');
    this.path = path;
    this.bytes = bytes;
    this.inode = 1 + prng.u32();
    this.#prng = prng;
    this.#cache = new MemoryObject(path, bytes);
    this.#stored = new Int32Array(bytes / 4);
  }

  get cache(): MemoryObject {
    return this.#cache;
  }

  get #now(): Words {
    return (this.#words ??= new Int32Array(this.#cache.piece(0)));
  }

  /** What a flush of these ranges that begins now is sure to store. */
  contentOf(ranges: readonly FileRange[]): readonly Stretch[] {
    return ranges.map(({ offset, bytes }) => {
      const words = this.#now.slice(offset / 4, (offset + bytes) / 4);
      return { page: offset / PAGE_BYTES, count: bytes / PAGE_BYTES, words, at: 0 };
    });
  }

  /** What memory has: good for what is done at once. */
  #shown(page: number, count: number): Stretch {
    return { page, count, words: this.#now, at: page * HALVES_PER_PAGE };
  }

  get #pageCount(): number {
    return this.bytes / PAGE_BYTES;
  }

  /** Stores these pages, each as it was then, as it is now, or of both some words. */
  store(content: readonly Stretch[]): void {
    for (const { page, count, words, at } of content) {
      for (let nth = 0; nth < count; nth++) {
        this.#storePage(page + nth, words, at + nth * HALVES_PER_PAGE);
      }
    }
  }

  #storePage(page: number, before: Words, from: number): void {
    if (this.#isTakenForClean(page, before, from)) return;
    this.#wronglyClean.delete(page);
    const stored = this.#stored;
    const now = this.#now;
    const at = page * HALVES_PER_PAGE;
    const isNew = !isEqual(stored, at, before, from);
    // What was stored since may come with it. Most pages are all the same.
    if (!isNew && isEqual(stored, at, now, at)) return;
    if (isNew) copyPage(stored, at, before, from);
    const prng = this.#prng;
    const kind = prng.below(3);
    if (kind === 1) copyPage(stored, at, now, at);
    else if (kind === 2) mix(stored, now, at, prng);
  }

  /** The machine believes a page that was not changed since a flush of it failed to be stored. */
  #isTakenForClean(page: number, content: Words, from: number): boolean {
    const taken = this.#wronglyClean.get(page);
    return taken !== undefined && isEqual(taken, 0, content, from);
  }

  /** A flush that failed: some of the pages are stored, all are taken for it. */
  failToStore(content: readonly Stretch[]): void {
    this.failures += 1;
    for (const { page, count, words, at } of content) {
      for (let nth = 0; nth < count; nth++) {
        const from = at + nth * HALVES_PER_PAGE;
        if (this.#prng.below(3) === 0) this.#storePage(page + nth, words, from);
        else this.#wronglyClean.set(page + nth, words.slice(from, from + HALVES_PER_PAGE));
      }
    }
  }

  /** The machine writes a page at a time of its own choice. */
  writeSomeBack(): void {
    this.store([this.#shown(this.#prng.below(this.#pageCount), 1)]);
  }

  /** Memory shows what the disk has, where the machine takes both for the same. */
  dropCache(): boolean {
    let wasWhole = true;
    const now = this.#now;
    const stored = this.#stored;
    for (const [page, taken] of this.#wronglyClean) {
      const at = page * HALVES_PER_PAGE;
      if (!isEqual(taken, 0, now, at) || isEqual(stored, at, now, at)) continue;
      wasWhole = false;
      copyPage(now, at, stored, at);
    }
    this.#wronglyClean.clear();
    return wasWhole;
  }

  // As a file that is read and written.

  get current(): FileNode['current'] {
    const bytes = new Uint8Array(this.#cache.piece(0));
    return {
      length: this.bytes,
      read(offset, into) {
        const part = bytes.subarray(offset, Math.max(offset, offset + into.length));
        into.set(part);
        return part.length;
      },
    };
  }

  get changeCount(): number {
    return 0;
  }

  change(change: Change): void {
    assert(!('truncatedTo' in change), 'a file that is mapped keeps its length');
    new Uint8Array(this.#cache.piece(0)).set(change.bytes, change.offset);
  }

  flush(): void {
    this.store([this.#shown(0, this.#pageCount)]);
  }

  failFlush(): void {
    this.failToStore([this.#shown(0, this.#pageCount)]);
  }

  /** The machine stops. */
  crash(prng: Prng): Loss {
    const loss = { lost: 0, torn: 0 };
    const now = this.#now;
    const stored = this.#stored;
    for (let page = 0; page < this.#pageCount; page++) {
      const at = page * HALVES_PER_PAGE;
      if (isEqual(now, at, stored, at)) continue;
      const kind = this.#isTakenForClean(page, now, at) ? 0 : prng.below(3);
      if (kind === 0) loss.lost += 1;
      else if (kind === 1) copyPage(stored, at, now, at);
      else {
        loss.torn += 1;
        mix(stored, now, at, prng);
      }
    }
    this.#wronglyClean.clear();
    this.openings.clear();
    this.#cache.forget();
    this.#cache = new MemoryObject(this.path, this.bytes);
    this.#words = undefined;
    this.#now.set(stored);
    return loss;
  }
}

/** Of the words of this page that differ the first ones, the last ones, or any. */
function mix(into: Words, from: Words, start: number, prng: Prng): void {
  const end = start + HALVES_PER_PAGE;
  let differing = 0;
  for (let at = start; at < end; at += 2) if (differs(into, from, at)) differing += 1;
  const style = prng.below(3);
  const cut = prng.below(differing + 1);
  for (let at = start, nth = 0; nth < differing; at += 2) {
    if (!differs(into, from, at)) continue;
    const isTaken = style === 0 ? nth < cut : style === 1 ? nth >= cut : prng.below(2) === 0;
    if (isTaken) {
      into[at] = from[at] as number;
      into[at + 1] = from[at + 1] as number;
    }
    nth += 1;
  }
}

/** In the word that begins there. */
function differs(one: Words, other: Words, at: number): boolean {
  return one[at] !== other[at] || one[at + 1] !== other[at + 1];
}

/** The pages that begin there. */
function isEqual(one: Words, at: number, other: Words, from: number): boolean {
  // Four at a time: most of the time of a flush goes here.
  for (let nth = 0; nth < HALVES_PER_PAGE; nth += 4) {
    const a = at + nth;
    const b = from + nth;
    const low = xorAt(one, a, other, b) | xorAt(one, a + 1, other, b + 1);
    const high = xorAt(one, a + 2, other, b + 2) | xorAt(one, a + 3, other, b + 3);
    if ((low | high) !== 0) return false;
  }
  return true;
}

function xorAt(one: Words, at: number, other: Words, from: number): number {
  return (one[at] as number) ^ (other[from] as number);
}

function copyPage(into: Words, at: number, from: Words, start: number): void {
  into.set(from.subarray(start, start + HALVES_PER_PAGE), at);
}

/** An open file description: what locks belong to. It is handed on as a whole. */
export class Opening implements HeldFile {
  holders = 0;
  readonly image: DurableImage;
  readonly locks = new Map<number, 'shared' | 'exclusive'>();

  #failuresHeardOf: number;

  constructor(image: DurableImage) {
    this.image = image;
    this.#failuresHeardOf = image.failures;
    image.openings.add(this);
  }

  /** Whether a flush has failed since this was asked last: each opening is told once. */
  hearsOfFailures(): boolean {
    const { failures } = this.image;
    const isNew = failures > this.#failuresHeardOf;
    this.#failuresHeardOf = failures;
    return isNew;
  }

  get name(): string {
    return this.image.path;
  }

  get bytes(): number {
    return this.image.bytes;
  }

  piece(index: number): ArrayBuffer {
    return this.image.cache.piece(index);
  }

  isTouched(index: number): boolean {
    return this.image.cache.isTouched(index);
  }

  mark(offset: number, bytes: number, isHeld: boolean): void {
    this.image.cache.mark(offset, bytes, isHeld);
  }

  get heldBytes(): number {
    return this.image.cache.heldBytes;
  }

  /** The machine keeps what it has in memory. */
  release(): void {
    this.holders -= 1;
    if (this.holders === 0) this.image.openings.delete(this);
  }

  lock(part: number, how: 'shared' | 'exclusive'): boolean {
    for (const other of this.image.openings) {
      const held = other === this ? undefined : other.locks.get(part);
      if (held === 'exclusive' || (held === 'shared' && how === 'exclusive')) return false;
    }
    this.locks.set(part, how);
    return true;
  }
}
