/** Which copies of a slab there are, by bits: those of the set, and the one that learns. */

import { assert } from '../base/assert.js';
import type { Copy } from './copy.js';

/** Those that left count until another one has taken their place. */
export const COPIES_MAX = 8;

/** Who did not answer is asked again after that. */
const SILENT_MS = 1_000;

export class Members {
  readonly #copies: (Copy | undefined)[];
  /** Bits of the set. */
  set: number;
  /** The bit of the learner that the next generation was asked with; nobody knows the answer. */
  asked = 0;
  /** The bit of the learner. */
  learner = 0;
  /** Areas that the learner has. */
  readonly learned: Uint8Array;
  /** Bits of copies that did not answer last. */
  #silent = 0;
  /** When one did not last. */
  #silentMs = -Infinity;
  /** The bit of the copy in a file, if there is one. */
  #backup = 0;
  /** By copy: when it failed first since it has done something. */
  readonly #failedMs = new Float64Array(COPIES_MAX).fill(Infinity);

  constructor(copies: readonly Copy[], areas: number) {
    this.#copies = [...copies];
    this.set = 2 ** copies.length - 1;
    this.learned = new Uint8Array(areas);
    copies.forEach((copy, index) => this.#note(copy, index));
  }

  #note(copy: Copy, index: number): void {
    if (copy.isBackup === true) this.#backup = 1 << index;
  }

  /** Bits of the set that are in memory. */
  get remote(): number {
    return this.set & ~this.#backup;
  }

  /** The bit of the copy in a file, where that is in the set. */
  get backup(): number {
    return this.set & this.#backup;
  }

  copy(index: number): Copy {
    const copy = this.#copies[index];
    assert(copy !== undefined, 'a copy that is not there was asked for');
    return copy;
  }

  /** Undefined: it has left. */
  find(index: number): Copy | undefined {
    return this.#copies[index];
  }

  bitOf(id: number): number {
    const index = this.#copies.findIndex((copy) => copy?.id === id);
    return index < 0 ? 0 : 1 << index;
  }

  /** Bits of those that have to confirm a write. */
  get wanted(): number {
    return this.set | this.asked;
  }

  /** Bits of those that a write to the area goes to. */
  targets(area: number): number {
    return this.wanted | (this.learned[area] === 0 ? 0 : this.learner);
  }

  get all(): number {
    return this.wanted | this.learner;
  }

  /** Whether it is still the same copy. */
  has(index: number, copy: Copy): boolean {
    return (this.all & (1 << index)) !== 0 && this.#copies[index] === copy;
  }

  answered(index: number): void {
    this.#silent &= ~(1 << index);
    this.#failedMs[index] = Infinity;
  }

  /** Returns since when it has failed without a break. */
  failed(index: number, nowMs: number): number {
    this.#silent |= 1 << index;
    this.#silentMs = nowMs;
    this.#failedMs[index] = Math.min(nowMs, this.#failedMs[index] as number);
    return this.#failedMs[index];
  }

  /** While only a file is read from: who was silent for a while may answer by now. */
  askAgain(nowMs: number): void {
    if (nowMs - this.#silentMs >= SILENT_MS) this.#silent = 0;
  }

  /** A copy of the set to read from, the first that answers; -1: all of them were tried. */
  reader(tried: number): number {
    const left = this.set & ~tried;
    if (left === 0) return -1;
    const answers = left & ~this.#silent;
    // A file is slower than memory that answers.
    const best = answers & ~this.#backup || answers || left;
    return 31 - Math.clz32(best & -best);
  }

  addLearner(copy: Copy): number {
    assert(this.learner === 0, 'one copy learns at a time');
    const known = this.#copies.findIndex((one) => one === undefined);
    const index = known < 0 ? this.#copies.length : known;
    assert(index < COPIES_MAX, 'a slab has a few copies');
    this.#copies[index] = copy;
    this.#note(copy, index);
    this.learner = 1 << index;
    this.learned.fill(0);
    this.#silent &= ~this.learner;
    this.#failedMs[index] = Infinity;
    return index;
  }

  /** It is gone. Whoever still waits for an answer of it has what it needs. */
  forget(bit: number): void {
    this.set &= ~bit;
    this.asked &= ~bit;
    this.learner &= ~bit;
    this.#backup &= ~bit;
    const index = 31 - Math.clz32(bit);
    if (bit !== 0) this.#copies[index] = undefined;
  }
}
