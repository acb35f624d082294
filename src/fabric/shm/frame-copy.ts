/**
 * Copies between an array of the caller's and a frame that others use at the same time, without an
 * object for short ones.
 *
 * Aligned ranges of whole words of 8 bytes, up to `COPY_WORDS_BYTES_MAX`, are copied word by word,
 * each with one load and one store, through a few words of our own. So is what lies within one
 * aligned word. Anything else goes through the native copy, which may show part of a word.
 */

import { COPY_WORDS_BYTES_MAX } from '../../base/copy-words.js';
import type { Mapping, Memory } from '../../runtime/memory.js';
import { copyFromStream, copyToStream, SHORT_COPY_BYTES_MAX } from '../short-copy.js';

const WORD_BYTES = 8;

function whole(bytes: number): boolean {
  return bytes <= COPY_WORDS_BYTES_MAX;
}

export class FrameCopy {
  readonly #copy: Memory['copy'];
  readonly #copyWords: Memory['copyWords'];
  /** Words of our own, on the way between both. */
  readonly #own: Mapping = ownWords(COPY_WORDS_BYTES_MAX);
  /** The first so many of them, made once: to set an array from one of these makes no object. */
  readonly #first: readonly Uint8Array[];

  constructor(memory: Memory) {
    this.#copy = memory.copy;
    this.#copyWords = memory.copyWords;
    const { buffer } = this.#own.bytes;
    const words = COPY_WORDS_BYTES_MAX / WORD_BYTES;
    this.#first = Array.from({ length: words + 1 }, (_, i) => new Uint8Array(buffer, 0, 8 * i));
  }

  /** From the frame's piece at `at`. */
  read(piece: Mapping, at: number, bytes: number, into: Uint8Array, start: number): void {
    const own = this.#own;
    if (((at | bytes) & 7) === 0 && whole(bytes)) {
      this.#copyWords(own.wide, 0, piece.wide, at >>> 3, bytes >>> 3);
      into.set(this.#first[bytes >>> 3] as Uint8Array, start);
    } else if ((at & 7) + bytes <= WORD_BYTES) {
      this.#copyWords(own.wide, 0, piece.wide, at >>> 3, 1);
      if ((at & 3) === 0) copyFromStream(into, start, own, at & 7, bytes);
      else this.#copy(into, start, own.bytes, at & 7, bytes);
    } else {
      this.#copy(into, start, piece.bytes, at, bytes);
    }
  }

  /** To the frame's piece at `at`. */
  write(piece: Mapping, at: number, bytes: number, from: Uint8Array, start: number): void {
    const own = this.#own;
    if (((at | bytes) & 7) === 0 && whole(bytes)) {
      if (bytes === from.length) own.bytes.set(from);
      else if (bytes <= SHORT_COPY_BYTES_MAX) copyToStream(own, 0, from, start, bytes);
      else this.#copy(own.bytes, 0, from, start, bytes);
      this.#copyWords(piece.wide, at >>> 3, own.wide, 0, bytes >>> 3);
    } else if (bytes === 4 && (at & 3) === 0) {
      copyToStream(own, 0, from, start, 4);
      Atomics.store(piece.words, at >>> 2, own.words[0] as number);
    } else {
      this.#copy(piece.bytes, at, from, start, bytes);
    }
  }
}

function ownWords(bytes: number): Mapping {
  const buffer = new ArrayBuffer(bytes);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
    wide: new BigUint64Array(buffer),
  };
}
