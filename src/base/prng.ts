/**
 * The seeded generator behind every choice that must be repeatable: simulation, fuzzing, tests.
 * Never for secrets. The algorithm is sfc32 (Chris Doty-Humphrey, PractRand): four words of state,
 * integer operations only, so it gives the same numbers on every machine.
 */

import { assert, defined } from './assert.js';

export class Prng {
  #a = 0;
  #b = 0;
  #c = 0;
  #counter = 1;

  /** Seeds are integers; all 53 bits count. */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, 'a seed is a non-negative safe integer');
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    // Neighbouring seeds must not give similar beginnings.
    for (let i = 0; i < 15; i++) this.u32();
  }

  /** An integer in [0, 2^32). */
  u32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** In [0, 1), with 53 random bits. */
  fraction(): number {
    const high = this.u32() >>> 5;
    return (high * 2 ** 26 + (this.u32() >>> 6)) / 2 ** 53;
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** An integer in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** An integer in [1, 2^53). */
  u53(): number {
    return Math.max(1, (this.u32() >>> 11) * 2 ** 32 + this.u32());
  }

  pick<T>(list: readonly T[]): T {
    return defined(list[this.below(list.length)]);
  }

  /** A generator of its own, so that one user drawing more does not disturb the others. */
  fork(): Prng {
    return new Prng(this.u53());
  }
}
