/**
 * The page table of a memory node: one flat hash table for all address spaces (Clio, section
 * 4.4.2). A look reads one bucket and nothing else.
 *
 *   table    bucket 0 | bucket 1 | ...                       a power of two of buckets
 *   bucket   entry 0 | entry 1 | ... | entry 15              256 bytes
 *   entry    word 0   page number, low 32 bits
 *            word 1   space << 5 | page number, high 5 bits  ("the space key" with the high bits)
 *            word 2   frame + 1; 0 while the page was never written
 *            word 3   flags; 0: the entry is empty, and its other words mean nothing
 *
 * Entries never move and buckets never overflow: the slow path counts entries per bucket and
 * chooses addresses whose buckets have room.
 *
 * One thread, the main thread of the node, writes the table; others may map it and only read. An
 * entry is filled before its flags are stored and emptied by storing its flags, so a process that
 * is killed between two stores leaves an entry that is there or is not. A page gets its frame by
 * one store, and loses it by one, too; an entry loses its frame before it is empty.
 */

import { assert } from '../base/assert.js';
import type { FrameIndex } from '../base/brands.js';
import { type StoreWord, storeWord } from './layout.js';

export const ENTRIES_PER_BUCKET = 16;
export const ENTRY_WORDS = 4;
export const ENTRY_BYTES = 4 * ENTRY_WORDS;
const BUCKET_WORDS = ENTRIES_PER_BUCKET * ENTRY_WORDS;

/** Offsets of the words of an entry. */
export const ENTRY_PAGE = 0;
export const ENTRY_SPACE = 1;
export const ENTRY_FRAME = 2;
export const ENTRY_FLAGS = 3;

/** In place of a frame: the page was never written. */
export const NO_FRAME = -1;

/** Bits of the flags word. Numbers are stored: they never change. */
export const EntryFlag = {
  VALID: 1,
  READ: 2,
  WRITE: 4,
  /** First page of an allocation, or of the part of one that lies in this region. */
  START: 8,
  /** On the first page: the part before this one ends at the end of the region before. */
  CONTINUATION: 16,
  /** On the first page: the allocation goes on at the start of the next region. */
  CONTINUES: 32,
  /** On the first page: to be dropped unless its client confirms it in time. */
  PROVISIONAL: 64,
  /** Wait: the page is about to get another frame. The sign bit. */
  PAUSED: -(2 ** 31),
} as const;
/** Bits 7 to 30, on the first page: the nonce that the client gave to its allocation. */
export const NONCE_SHIFT = 7;
const NONCE_MASK = 2 ** 24 - 1;
/** Of copies of slabs (slab-owner.ts): clients number theirs from 1 on. */
export const SLAB_NONCE = 0;

/** From a flags word. */
export function nonceOf(flags: number): number {
  return (flags >>> NONCE_SHIFT) & NONCE_MASK;
}

/** From the flags of any entry: whether it is the first one of a copy of a slab, confirmed. */
export function isSlabStart(flags: number): boolean {
  const start = EntryFlag.START | EntryFlag.PROVISIONAL;
  return (flags & start) === EntryFlag.START && nonceOf(flags) === SLAB_NONCE;
}
export const RIGHTS_MASK = EntryFlag.READ | EntryFlag.WRITE;
/** `rights << RIGHTS_SHIFT` are the bits of the flags word; rights: 0 none, 1 read, 2 write. */
export const RIGHTS_SHIFT = 1;

/** The page number's bits above the low 32: addresses below 2^53, pages of at least 2^16. */
export const PAGE_HIGH_BITS = 5;
export const PAGE_NUMBER_END = 2 ** (32 + PAGE_HIGH_BITS);
/** What is left of word 1 for the space's number. */
export const SPACE_ID_END = 2 ** (32 - PAGE_HIGH_BITS);

const TWO_TO_32 = 2 ** 32;

/** Word 1 of an entry, from a space and a page number. */
export function spaceWord(space: number, page: number): number {
  assert(space < SPACE_ID_END, 'the number of no space');
  return (space << PAGE_HIGH_BITS) | Math.floor(page / TWO_TO_32);
}

/** Word 0 of an entry. */
export function pageWord(page: number): number {
  return (page % TWO_TO_32) | 0;
}

/**
 * The bucket of a page. Both words are mixed until every bit of the input changes every bit of the
 * result with a probability of about one half (the finaliser of MurmurHash3, by A. Appleby).
 */
export function bucketOf(pageWord0: number, spaceWord1: number, bucketMask: number): number {
  let hash = Math.imul(spaceWord1 ^ 0x9e3779b9, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15) ^ pageWord0, 0x2c1b3c6d);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) & bucketMask;
}

export class PageTable {
  /** The table's words alone; what the methods return are indices into it. */
  readonly words: Int32Array;
  readonly entries: number;
  readonly #bucketMask: number;
  readonly #store: StoreWord;
  readonly #passing: StoreWord;

  /**
   * The table stands in `words[first, first + entries * ENTRY_WORDS)`. `passing` stores what says
   * nothing to a later process.
   */
  constructor(
    words: Int32Array,
    first: number,
    entries: number,
    store: StoreWord = storeWord,
    passing: StoreWord = store,
  ) {
    const buckets = entries / ENTRIES_PER_BUCKET;
    assert(buckets >= 1 && (buckets & (buckets - 1)) === 0, 'buckets are a power of two');
    assert(first + entries * ENTRY_WORDS <= words.length, 'page table out of bounds');
    const start = words.byteOffset + 4 * first;
    this.words = new Int32Array(words.buffer, start, entries * ENTRY_WORDS);
    this.entries = entries;
    this.#bucketMask = buckets - 1;
    this.#store = store;
    this.#passing = passing;
  }

  get bucketMask(): number {
    return this.#bucketMask;
  }

  /** The entry of a page, as the index of its first word; -1 where there is none. */
  lookup(pageWord0: number, spaceWord1: number): number {
    const words = this.words;
    const first = bucketOf(pageWord0, spaceWord1, this.#bucketMask) * BUCKET_WORDS;
    for (let at = first; at < first + BUCKET_WORDS; at += ENTRY_WORDS) {
      if (
        words[at] === pageWord0 &&
        words[at + ENTRY_SPACE] === spaceWord1 &&
        words[at + ENTRY_FLAGS] !== 0
      ) {
        return at;
      }
    }
    return -1;
  }

  /** As `lookup`, from whole numbers: for everything but the data path. */
  find(space: number, page: number): number {
    return this.lookup(pageWord(page), spaceWord(space, page));
  }

  /** Makes an entry without a frame. The caller knows that there is none and that it fits. */
  insert(space: number, page: number, flags: number): number {
    assert(space >= 0 && space < SPACE_ID_END && page >= 0 && page < PAGE_NUMBER_END);
    const word0 = pageWord(page);
    const word1 = spaceWord(space, page);
    const at = this.#emptyEntry(word0, word1);
    this.#store(this.words, at, word0);
    this.#store(this.words, at + ENTRY_SPACE, word1);
    this.#store(this.words, at + ENTRY_FRAME, 0);
    this.#store(this.words, at + ENTRY_FLAGS, flags | EntryFlag.VALID);
    return at;
  }

  #emptyEntry(word0: number, word1: number): number {
    const words = this.words;
    const first = bucketOf(word0, word1, this.#bucketMask) * BUCKET_WORDS;
    let empty = -1;
    for (let at = first; at < first + BUCKET_WORDS; at += ENTRY_WORDS) {
      if (words[at + ENTRY_FLAGS] === 0) {
        if (empty < 0) empty = at;
      } else {
        const isSame = words[at] === word0 && words[at + ENTRY_SPACE] === word1;
        assert(!isSame, 'page is in the table already');
      }
    }
    assert(empty >= 0, 'a bucket of the page table overflows');
    return empty;
  }

  /**
   * Who reads the table meanwhile sees the page with its frame, or paused, or not at all, and never
   * the frame in an entry that is another page's.
   */
  remove(entry: number): void {
    if (this.words[entry + ENTRY_FRAME] !== 0) {
      this.#store(this.words, entry + ENTRY_FLAGS, this.flagsOf(entry) | EntryFlag.PAUSED);
      this.#store(this.words, entry + ENTRY_FRAME, 0);
    }
    this.#store(this.words, entry + ENTRY_FLAGS, 0);
  }

  frameOf(entry: number): FrameIndex | typeof NO_FRAME {
    return ((this.words[entry + ENTRY_FRAME] as number) - 1) as FrameIndex | typeof NO_FRAME;
  }

  /** Whether the entry is that of a page which has this frame. */
  holds(entry: number, frame: FrameIndex): boolean {
    return this.flagsOf(entry) !== 0 && this.frameOf(entry) === frame;
  }

  setFrame(entry: number, frame: FrameIndex): void {
    this.#store(this.words, entry + ENTRY_FRAME, frame + 1);
  }

  /** The page reads as zeros from then on. */
  dropFrame(entry: number): void {
    this.#store(this.words, entry + ENTRY_FRAME, 0);
  }

  flagsOf(entry: number): number {
    return this.words[entry + ENTRY_FLAGS] as number;
  }

  setFlags(entry: number, flags: number): void {
    assert((flags & EntryFlag.VALID) !== 0);
    this.#store(this.words, entry + ENTRY_FLAGS, flags);
  }

  /**
   * Passing: a new process ends pauses, whatever the table says of them, or sets them anew where
   * the region is being handed over (`recover`).
   */
  setPaused(entry: number, isPaused: boolean): void {
    const flags = this.flagsOf(entry);
    assert((flags & EntryFlag.VALID) !== 0);
    const now = isPaused ? flags | EntryFlag.PAUSED : flags & ~EntryFlag.PAUSED;
    if (now !== flags) this.#passing(this.words, entry + ENTRY_FLAGS, now);
  }

  pageOf(entry: number): number {
    const high = (this.words[entry + ENTRY_SPACE] as number) & ((1 << PAGE_HIGH_BITS) - 1);
    return high * TWO_TO_32 + ((this.words[entry] as number) >>> 0);
  }

  spaceOf(entry: number): number {
    return (this.words[entry + ENTRY_SPACE] as number) >>> PAGE_HIGH_BITS;
  }

  /** The first entry that is not empty at or behind word `from` (0 to begin); -1 at the end. */
  next(from: number): number {
    const words = this.words;
    for (let at = from; at < words.length; at += ENTRY_WORDS) {
      if (words[at + ENTRY_FLAGS] !== 0) return at;
    }
    return -1;
  }
}
