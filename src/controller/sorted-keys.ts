/**
 * A set of strings in order (by UTF-16 code units), for listing with a prefix, page by page.
 *
 * One sorted array would move all that stands behind an insertion; here the keys lie in blocks of
 * bounded length, so a change moves one block's keys at most. Half a million keys are a thousand
 * blocks; finding one is two binary searches.
 */
import { assert, defined } from '../base/assert.js';

const BLOCK_KEYS_MAX = 1024;
const BLOCK_KEYS_FILLED = 512;

export class SortedKeys {
  /** No block is empty; the first key of a block is above the last key of the one before. */
  readonly #blocks: string[][] = [];
  #count = 0;

  /** Of distinct keys in any order. */
  constructor(keys: Iterable<string> = []) {
    const sorted = [...keys].sort((a, b) => (a < b ? -1 : 1));
    for (let at = 0; at < sorted.length; at += BLOCK_KEYS_FILLED) {
      this.#blocks.push(sorted.slice(at, at + BLOCK_KEYS_FILLED));
    }
    this.#count = sorted.length;
  }

  get count(): number {
    return this.#count;
  }

  /** Does nothing when the key is there. */
  add(key: string): void {
    const index = this.#blockOf(key);
    const block = this.#blocks[index];
    if (block === undefined) {
      this.#blocks.push([key]);
      this.#count++;
      return;
    }
    const at = lowerBound(block, key);
    if (block[at] === key) return;
    block.splice(at, 0, key);
    this.#count++;
    if (block.length > BLOCK_KEYS_MAX) {
      this.#blocks.splice(index + 1, 0, block.splice(BLOCK_KEYS_FILLED));
    }
  }

  /** Does nothing when the key is not there. */
  remove(key: string): void {
    const index = this.#blockOf(key);
    const block = this.#blocks[index];
    if (block === undefined) return;
    const at = lowerBound(block, key);
    if (block[at] !== key) return;
    block.splice(at, 1);
    this.#count--;
    if (block.length === 0) this.#blocks.splice(index, 1);
  }

  /** Up to `limit` keys above `after` that begin with `prefix`, in order. */
  list(prefix: string, after: string, limit: number): string[] {
    assert(limit >= 0);
    const found: string[] = [];
    const from = prefix > after ? prefix : after;
    let index = this.#blockOf(from);
    let at = index < this.#blocks.length ? lowerBound(defined(this.#blocks[index]), from) : 0;
    for (; index < this.#blocks.length; index++, at = 0) {
      const block = defined(this.#blocks[index]);
      for (; at < block.length; at++) {
        if (found.length >= limit) return found;
        const key = defined(block[at]);
        if (key === after && after !== '') continue;
        if (!key.startsWith(prefix)) return found;
        found.push(key);
      }
    }
    return found;
  }

  /** The last block whose first key is not above `key`, or the first block. */
  #blockOf(key: string): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (defined(defined(this.#blocks[middle])[0]) <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, 0);
  }
}

/** The index of the first key that is not below `key`. */
function lowerBound(block: readonly string[], key: string): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (defined(block[middle]) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
