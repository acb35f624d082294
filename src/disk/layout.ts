/**
 * Words of a stored struct, declared once: from the declaration come the offsets that all code
 * uses, and the proof that nothing overlaps, nothing is misaligned and the total is what it says.
 *
 * Everything stored by this folder is made of little-endian 32-bit words, because one such word is
 * the unit that a process which is killed has either stored or not.
 */

import { assert } from '../base/assert.js';

/** One word; two words (low, high) on an 8-byte border; or a number of words of raw content. */
export type FieldKind = 'u32' | 'u53' | number;

export interface Layout<Fields extends Record<string, FieldKind>> {
  readonly name: string;
  readonly words: number;
  /** The first word of every field. */
  readonly at: { readonly [Name in keyof Fields]: number };
}

const WORDS_OF = { u32: 1, u53: 2 } as const;

/** Lays fields out one behind the other; padding is written down as a field of its own. */
export function layout<const Fields extends Record<string, FieldKind>>(
  name: string,
  words: number,
  fields: Fields,
): Layout<Fields> {
  const at: Record<string, number> = {};
  let next = 0;
  for (const [field, kind] of Object.entries(fields)) {
    assert(kind !== 'u53' || next % 2 === 0, `${name}.${field} is not 8-aligned: add padding`);
    at[field] = next;
    next += typeof kind === 'number' ? kind : WORDS_OF[kind];
  }
  assert(next === words, `${name} is ${next} words long, declared are ${words}`);
  return { name, words, at: at as Layout<Fields>['at'] };
}

const TWO_TO_32 = 2 ** 32;

export function readU32(words: Int32Array, at: number): number {
  return Atomics.load(words, at) >>> 0;
}

export function readU53(words: Int32Array, at: number): number {
  return readU32(words, at + 1) * TWO_TO_32 + readU32(words, at);
}

/**
 * Stores one word. Every store of this folder goes through one such function that is passed in, so
 * that a test can let the process die before any of them.
 */
export type StoreWord = (words: Int32Array, at: number, value: number) => void;

/** The real one: an `Atomics` store, so that no compiler and no processor changes the order. */
export const storeWord: StoreWord = (words, at, value) => {
  Atomics.store(words, at, value | 0);
};

export function storeU53(store: StoreWord, words: Int32Array, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'not an unsigned 53-bit integer');
  store(words, at, (value % TWO_TO_32) | 0);
  store(words, at + 1, Math.floor(value / TWO_TO_32));
}
