/**
 * Repeatable random numbers: xoshiro128**, 32-bit integer arithmetic only, so that one seed gives
 * the same numbers on every machine and in every version of the engine. Not for secrets.
 */

import { assert } from './assert.js';

const TWO_32 = 2 ** 32;
const MILLION = 1_000_000;

/** A number that depends on every character of the text. */
export function hashText(text: string, seed = 0): number {
  let hash = seed ^ 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = mix(hash ^ text.charCodeAt(i));
  return hash >>> 0;
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return mixed ^ (mixed >>> 15);
}

export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** `seed` is an integer below 2^53. */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, 'a seed is an integer below 2^53');
    const low = seed >>> 0;
    const high = Math.floor(seed / TWO_32);
    this.#a = mix(low + 0x9e3779b9);
    this.#b = mix(high + 0x3c6ef372);
    this.#c = mix(low ^ 0xdaa66d2b);
    this.#d = mix(high ^ 0x78dde6e5) | 1;
    for (let i = 0; i < 8; i++) this.u32();
  }

  /** An integer in [0, 2^32). */
  u32(): number {
    const scrambled = Math.imul(this.#b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** An integer in [0, 2^53). */
  u53(): number {
    return (this.u32() >>> 11) * TWO_32 + this.u32();
  }

  /** In [0, 1). */
  fraction(): number {
    return this.u53() / 2 ** 53;
  }

  /** An integer in [0, limit); `limit` is at most 2^32. */
  below(limit: number): number {
    return Math.floor((this.u32() / TWO_32) * limit);
  }

  /** An integer in [low, high], both of which can come. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in `perMillion` of a million cases. Draws nothing when that is 0. */
  chance(perMillion: number): boolean {
    return perMillion > 0 && this.u32() < (perMillion / MILLION) * TWO_32;
  }

  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, 'nothing to pick from');
    return items[this.below(items.length)] as T;
  }

  /** Brings the items into a random order, in place. */
  shuffle(items: unknown[]): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
  }

  /** Another sequence, independent of this one's later numbers and of other labels. */
  fork(label: string): Prng {
    return new Prng(hashText(label, this.u32()) * (TWO_32 / 2048) + (this.u32() >>> 11));
  }
}
