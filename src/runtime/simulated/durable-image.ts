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

/** Words of one page, as halves. */
type PageWords = Int32Array<ArrayBuffer>;
/** Pages by their numbers, as they were. */
export type PageContent = ReadonlyMap<number, PageWords>;

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
  readonly #stored: PageWords;
  /** Pages that the machine takes for stored though they are not, and as what. */
  readonly #wronglyClean = new Map<number, PageWords>();

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

  #page(page: number): PageWords {
    return new Int32Array(this.#cache.piece(0), page * PAGE_BYTES, HALVES_PER_PAGE);
  }

  #storedPage(page: number): PageWords {
    return this.#stored.subarray(page * HALVES_PER_PAGE, (page + 1) * HALVES_PER_PAGE);
  }

  /** What a flush of these ranges that begins now is sure to store. */
  contentOf(ranges: readonly FileRange[]): PageContent {
    const content = new Map<number, PageWords>();
    for (const { offset, bytes } of ranges) {
      for (let at = offset; at < offset + bytes; at += PAGE_BYTES) {
        const page = at / PAGE_BYTES;
        content.set(page, this.#page(page).slice());
      }
    }
    return content;
  }

  get #pageCount(): number {
    return this.bytes / PAGE_BYTES;
  }

  /** Stores these pages, each as it was then, as it is now, or of both some words. */
  store(content: PageContent): void {
    const prng = this.#prng;
    for (const [page, before] of content) {
      if (this.#isTakenForClean(page, before)) continue;
      this.#wronglyClean.delete(page);
      const stored = this.#storedPage(page);
      stored.set(before);
      // What was stored since may come with it.
      const kind = prng.below(3);
      const now = this.#page(page);
      if (kind === 1) stored.set(now);
      else if (kind === 2) mix(stored, now, prng);
    }
  }

  /** The machine believes a page that was not changed since a flush of it failed to be stored. */
  #isTakenForClean(page: number, content: PageWords): boolean {
    const taken = this.#wronglyClean.get(page);
    return taken !== undefined && isEqual(taken, content);
  }

  /** A flush that failed: some of the pages are stored, all are taken for it. */
  failToStore(content: PageContent): void {
    this.failures += 1;
    for (const [page, before] of content) {
      if (this.#prng.below(3) === 0) this.store(new Map([[page, before]]));
      else this.#wronglyClean.set(page, before);
    }
  }

  /** The machine writes a page at a time of its own choice. */
  writeSomeBack(): void {
    const page = this.#prng.below(this.bytes / PAGE_BYTES);
    this.store(this.contentOf([{ offset: page * PAGE_BYTES, bytes: PAGE_BYTES }]));
  }

  /** Memory shows what the disk has, where the machine takes both for the same. */
  dropCache(): boolean {
    let wasWhole = true;
    for (const [page, taken] of this.#wronglyClean) {
      const now = this.#page(page);
      const stored = this.#storedPage(page);
      if (!isEqual(taken, now) || isEqual(stored, now)) continue;
      wasWhole = false;
      now.set(stored);
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
    this.store(this.contentOf([{ offset: 0, bytes: this.bytes }]));
  }

  failFlush(): void {
    this.failToStore(this.contentOf([{ offset: 0, bytes: this.bytes }]));
  }

  /** The machine stops. */
  crash(prng: Prng): Loss {
    const loss = { lost: 0, torn: 0 };
    for (let page = 0; page < this.#pageCount; page++) {
      const now = this.#page(page);
      const stored = this.#storedPage(page);
      if (isEqual(now, stored)) continue;
      const kind = this.#isTakenForClean(page, now) ? 0 : prng.below(3);
      if (kind === 0) loss.lost += 1;
      else if (kind === 1) stored.set(now);
      else {
        loss.torn += 1;
        mix(stored, now, prng);
      }
    }
    this.#wronglyClean.clear();
    this.openings.clear();
    this.#cache.forget();
    this.#cache = new MemoryObject(this.path, this.bytes);
    for (let page = 0; page < this.#pageCount; page++) {
      this.#page(page).set(this.#storedPage(page));
    }
    return loss;
  }
}

/** Of the words of `from` that differ the first ones, the last ones, or any. */
function mix(into: PageWords, from: PageWords, prng: Prng): void {
  let differing = 0;
  for (let at = 0; at < HALVES_PER_PAGE; at += 2) if (differs(into, from, at)) differing += 1;
  const style = prng.below(3);
  const cut = prng.below(differing + 1);
  for (let at = 0, nth = 0; nth < differing; at += 2) {
    if (!differs(into, from, at)) continue;
    const isTaken = style === 0 ? nth < cut : style === 1 ? nth >= cut : prng.below(2) === 0;
    if (isTaken) into.set(from.subarray(at, at + 2), at);
    nth += 1;
  }
}

/** In the word that begins there. */
function differs(one: PageWords, other: PageWords, at: number): boolean {
  return one[at] !== other[at] || one[at + 1] !== other[at + 1];
}

function isEqual(one: PageWords, other: PageWords): boolean {
  for (let at = 0; at < HALVES_PER_PAGE; at++) if (one[at] !== other[at]) return false;
  return true;
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
