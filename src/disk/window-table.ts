/**
 * The windows of a node as its clients see them: in the table file, so that a thread which reads
 * and writes without the node can check its window before and after.
 *
 *   record   word 0      epoch of this opening; 0: not open, and the rest means nothing
 *            word 1      the space's part of word 1 of page-table entries
 *            word 2      rights, as bits of the flags word of page-table entries
 *            word 3      reserved
 *            word 4, 5   first address, low and high
 *            word 6, 7   end of the addresses, low and high
 *
 * A record is filled before its epoch is stored and closed by storing 0, by the node's main thread
 * alone. Epochs are counted over all openings of a node.
 */

import { assert } from '../base/assert.js';
import { readU53, type StoreWord, storeU53, storeWord } from './layout.js';

export const WINDOW_RECORD_WORDS = 8;
export const WINDOW_RECORD_BYTES = 4 * WINDOW_RECORD_WORDS;

export const WINDOW_EPOCH = 0;
export const WINDOW_SPACE = 1;
export const WINDOW_RIGHTS = 2;
export const WINDOW_BASE = 4;
export const WINDOW_END = 6;

const TWO_TO_32 = 2 ** 32;

export interface WindowRecord {
  readonly spaceWord: number;
  /** Bits of the flags word. */
  readonly rights: number;
  readonly base: number;
  /** Of its addresses: the first one behind it. */
  readonly end: number;
}

export class WindowTable {
  /** The records' words alone: record `n` begins at word `n * WINDOW_RECORD_WORDS`. */
  readonly words: Int32Array;
  readonly entries: number;
  readonly #store: StoreWord;

  constructor(words: Int32Array, first: number, entries: number, store: StoreWord = storeWord) {
    const start = words.byteOffset + 4 * first;
    this.words = new Int32Array(words.buffer, start, entries * WINDOW_RECORD_WORDS);
    this.entries = entries;
    this.#store = store;
  }

  /** Unsigned; 0: the window is not open. */
  epochOf(window: number): number {
    return Atomics.load(this.words, window * WINDOW_RECORD_WORDS + WINDOW_EPOCH) >>> 0;
  }

  spaceWordOf(window: number): number {
    return this.words[window * WINDOW_RECORD_WORDS + WINDOW_SPACE] as number;
  }

  rightsOf(window: number): number {
    return this.words[window * WINDOW_RECORD_WORDS + WINDOW_RIGHTS] as number;
  }

  baseOf(window: number): number {
    return readU53(this.words, window * WINDOW_RECORD_WORDS + WINDOW_BASE);
  }

  endOf(window: number): number {
    return readU53(this.words, window * WINDOW_RECORD_WORDS + WINDOW_END);
  }

  open(window: number, epoch: number, record: WindowRecord): void {
    assert(epoch > 0 && this.epochOf(window) === 0, 'a window is opened twice, or as closed');
    const at = window * WINDOW_RECORD_WORDS;
    this.#store(this.words, at + WINDOW_SPACE, record.spaceWord);
    this.#store(this.words, at + WINDOW_RIGHTS, record.rights);
    storeU53(this.#store, this.words, at + WINDOW_BASE, record.base);
    // The end of all addresses is 2^53, one more than a u53 holds.
    this.#store(this.words, at + WINDOW_END, (record.end % TWO_TO_32) | 0);
    this.#store(this.words, at + WINDOW_END + 1, Math.floor(record.end / TWO_TO_32));
    this.#store(this.words, at + WINDOW_EPOCH, epoch);
  }

  close(window: number): void {
    this.#store(this.words, window * WINDOW_RECORD_WORDS + WINDOW_EPOCH, 0);
  }

  /** For a new process: what was opened by the one before it is good no more. */
  closeAll(): void {
    for (let window = 0; window < this.entries; window++) {
      if (this.epochOf(window) !== 0) this.close(window);
    }
  }
}
