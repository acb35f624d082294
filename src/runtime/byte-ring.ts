/**
 * The two ends of a ring of bytes in memory that two processes share, and the words by which they
 * wake each other. Of each ring:
 *
 *   word 0    tail: bytes ever published, modulo 2^32    written by the writer
 *   word 16   head: bytes ever taken, modulo 2^32        written by the reader
 *   word 32   1: the reader sleeps, ring when more comes set by the reader, cleared by both
 *   word 48   1: the writer sleeps, ring when half of the ring is free
 *                                                        set by the writer, cleared by both
 *
 * Each on a cache line of its own, so that a look costs nothing until something has changed. Who
 * is about to sleep sets its word and looks once more; the other side stores its position and then
 * looks at the word: at least one of the two sees the other.
 *
 * The other side is not trusted to be sane: each position that is read is held against what was
 * seen before, and an end that met an impossible one is `broken` and moves nothing any more. Bytes
 * are copied out of the ring before anybody looks at them, since what decodes them checks first
 * (also overwriting: a frame's checksum field is cleared) and reads again later; so a side that
 * changes what it has published finds it read once, as it was or as it is.
 */

import { assert } from '../base/assert.js';
import type { Memory } from './memory.js';
import { type Bytes, STREAM_OUTPUT_BYTES } from './network.js';

/** One ring is the whole output buffer of a stream. */
export const BYTE_RING_BYTES = STREAM_OUTPUT_BYTES;
/** All words of one ring. */
export const BYTE_RING_WORDS = 64;
const TAIL_WORD = 0;
const HEAD_WORD = 16;
const READER_SLEEPS_WORD = 32;
const WRITER_SLEEPS_WORD = 48;
/** Positions move by whole words of 8 bytes. */
const ALIGNMENT = 8;
const PLACE_MASK = BYTE_RING_BYTES - 1;
/** Up to here a loop is faster than a call. */
const LOOP_BYTES_MAX = 256;

export class ByteRingWriter {
  /** The ring twice in a row, so that every reservation is in one piece. */
  readonly content: Bytes;
  broken = false;
  readonly #words: Int32Array;
  readonly #at: number;
  #head: number;
  #published: number;
  #tail: number;

  constructor(words: Int32Array, at: number, content: Bytes) {
    assert(content.bytes.length === 2 * BYTE_RING_BYTES, 'a ring is written in a mapping of two');
    this.content = content;
    this.#words = words;
    this.#at = at;
    this.#head = Atomics.load(words, at + HEAD_WORD);
    this.#published = Atomics.load(words, at + TAIL_WORD);
    this.#tail = this.#published;
  }

  /** Bytes committed and not published. */
  get pending(): number {
    return (this.#tail - this.#published) | 0;
  }

  /** Where `bytes` can be written, in `content`; -1 when there is no room. */
  reserve(bytes: number): number {
    const free = BYTE_RING_BYTES - ((this.#tail - this.#head) | 0);
    if (bytes > free && bytes > this.room()) return -1;
    return this.#tail & PLACE_MASK;
  }

  commit(bytes: number): void {
    this.#tail = (this.#tail + bytes) | 0;
  }

  room(): number {
    this.#look();
    return this.broken ? 0 : BYTE_RING_BYTES - ((this.#tail - this.#head) | 0);
  }

  /** Shows what was committed to the reader; true if that one sleeps and has to be woken. */
  publish(): boolean {
    if (this.#tail === this.#published) return false;
    this.#published = this.#tail;
    Atomics.store(this.#words, this.#at + TAIL_WORD, this.#tail);
    return take(this.#words, this.#at + READER_SLEEPS_WORD);
  }

  /** Drops what was committed and not published. */
  drop(): void {
    this.#tail = this.#published;
  }

  get isHalfFree(): boolean {
    return this.room() >= BYTE_RING_BYTES / 2;
  }

  /** Says that the writer sleeps until half is free; false, and it is awake, if that is so. */
  sleep(): boolean {
    Atomics.store(this.#words, this.#at + WRITER_SLEEPS_WORD, 1);
    if (!this.isHalfFree && !this.broken) return true;
    this.wake();
    return false;
  }

  wake(): void {
    Atomics.store(this.#words, this.#at + WRITER_SLEEPS_WORD, 0);
  }

  #look(): void {
    const head = Atomics.load(this.#words, this.#at + HEAD_WORD);
    const taken = (head - this.#head) | 0;
    const unread = (this.#published - head) | 0;
    if (taken < 0 || unread < 0 || head % ALIGNMENT !== 0) this.broken = true;
    else this.#head = head;
  }
}

export class ByteRingReader {
  broken = false;
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #content: Bytes;
  readonly #copy: Memory['copy'];
  #head: number;
  #tail: number;

  constructor(words: Int32Array, at: number, content: Bytes, copy: Memory['copy']) {
    assert(content.bytes.length === BYTE_RING_BYTES, 'a ring is read in a mapping of one');
    this.#words = words;
    this.#at = at;
    this.#content = content;
    this.#copy = copy;
    this.#head = Atomics.load(words, at + HEAD_WORD);
    this.#tail = this.#head;
    // Nobody looks at it yet.
    Atomics.store(words, at + READER_SLEEPS_WORD, 1);
  }

  /** Bytes to be taken, a multiple of 8. */
  waiting(): number {
    const tail = Atomics.load(this.#words, this.#at + TAIL_WORD);
    if (tail !== this.#tail) this.#accept(tail);
    return this.broken ? 0 : (this.#tail - this.#head) | 0;
  }

  #accept(tail: number): void {
    const published = (tail - this.#tail) | 0;
    const waiting = (tail - this.#head) | 0;
    const isPossible = published > 0 && waiting > 0 && waiting <= BYTE_RING_BYTES;
    if (!isPossible || tail % ALIGNMENT !== 0) this.broken = true;
    else this.#tail = tail;
  }

  /** Copies what is there, at most `max` bytes, to `into` from `start` on; tells how many. */
  take(into: Bytes, start: number, max: number): number {
    const bytes = Math.min(this.waiting(), max & -ALIGNMENT);
    if (bytes <= 0) return 0;
    const from = this.#head & PLACE_MASK;
    const first = Math.min(bytes, BYTE_RING_BYTES - from);
    this.#copyOut(into, start, from, first);
    if (first < bytes) this.#copyOut(into, start + first, 0, bytes - first);
    this.#head = (this.#head + bytes) | 0;
    Atomics.store(this.#words, this.#at + HEAD_WORD, this.#head);
    return bytes;
  }

  /** After `take`: whether the writer sleeps and has enough room now, so has to be woken. */
  wakesWriter(): boolean {
    const unread = (this.#tail - this.#head) | 0;
    return unread <= BYTE_RING_BYTES / 2 && take(this.#words, this.#at + WRITER_SLEEPS_WORD);
  }

  /** Says that the reader sleeps; false, and it is awake, if something is there. */
  sleep(): boolean {
    Atomics.store(this.#words, this.#at + READER_SLEEPS_WORD, 1);
    if (this.waiting() === 0 && !this.broken) return true;
    this.wake();
    return false;
  }

  wake(): void {
    Atomics.store(this.#words, this.#at + READER_SLEEPS_WORD, 0);
  }

  #copyOut(into: Bytes, start: number, from: number, bytes: number): void {
    if (bytes > LOOP_BYTES_MAX || start % 4 !== 0) {
      this.#copy(into.bytes, start, this.#content.bytes, from, bytes);
      return;
    }
    const to = into.words;
    const words = this.#content.words;
    let at = start >> 2;
    const end = (from + bytes) >> 2;
    for (let i = from >> 2; i < end; i++) to[at++] = words[i] as number;
  }
}

/** Clears a word; true for the one who found it set. A look costs less, and mostly it is clear. */
function take(words: Int32Array, index: number): boolean {
  return Atomics.load(words, index) !== 0 && Atomics.exchange(words, index, 0) !== 0;
}
