/**
 * How much each slab of a device is used: blocks that are read and written are counted as they
 * come, and become a part of the slab's means now and then. What a slab has is a row of columns, so
 * that counting makes no object.
 */

import { HEAT_MARKS, isHotNow, meanRate } from '../policies/activity/heat.js';

const ROWS_AT_FIRST = 64;
/** Rates are told in these parts of an access for each block and second. */
const TOLD_PARTS = 2 ** 32;
/** The most that is told: that of a slab which is not to go. */
export const HOTTEST = Number.MAX_SAFE_INTEGER;

export class Activity {
  readonly #blocksOfSlab: number;
  #rows = 0;
  /** Blocks since the last look. */
  #in = new Uint32Array(ROWS_AT_FIRST);
  #out = new Uint32Array(ROWS_AT_FIRST);
  #inMean = new Float32Array(ROWS_AT_FIRST);
  #outMean = new Float32Array(ROWS_AT_FIRST);
  #hot = new Uint8Array(ROWS_AT_FIRST);
  #lookedMs: number;

  constructor(blocksOfSlab: number, nowMs: number) {
    this.#blocksOfSlab = blocksOfSlab;
    this.#lookedMs = nowMs;
  }

  /** Of one more slab. */
  add(): number {
    if (this.#rows === this.#in.length) this.#grow();
    return this.#rows++;
  }

  #grow(): void {
    const rows = 2 * this.#rows;
    const grown = <T extends Uint32Array | Float32Array | Uint8Array>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.#in = grown(new Uint32Array(rows), this.#in);
    this.#out = grown(new Uint32Array(rows), this.#out);
    this.#inMean = grown(new Float32Array(rows), this.#inMean);
    this.#outMean = grown(new Float32Array(rows), this.#outMean);
    this.#hot = grown(new Uint8Array(rows), this.#hot);
  }

  read(row: number, blocks: number): void {
    this.#in[row] = (this.#in[row] as number) + blocks;
  }

  written(row: number, blocks: number): void {
    this.#out[row] = (this.#out[row] as number) + blocks;
  }

  /** What was counted since the last time becomes a part of the means. */
  look(nowMs: number): void {
    const passedMs = nowMs - this.#lookedMs;
    if (passedMs <= 0) return;
    this.#lookedMs = nowMs;
    const each = 1000 / (this.#blocksOfSlab * passedMs);
    for (let row = 0; row < this.#rows; row++) {
      const read = (this.#in[row] as number) * each;
      const written = (this.#out[row] as number) * each;
      const inMean = meanRate(this.#inMean[row] as number, read, passedMs);
      const outMean = meanRate(this.#outMean[row] as number, written, passedMs);
      this.#inMean[row] = inMean;
      this.#outMean[row] = outMean;
      this.#in[row] = 0;
      this.#out[row] = 0;
      const wasHot = this.#hot[row] === 1;
      this.#hot[row] = isHotNow(wasHot, inMean + outMean, HEAT_MARKS) ? 1 : 0;
    }
  }

  /** Blocks that are read and written, for each block of the slab and second. */
  rateOf(row: number): number {
    return (this.#inMean[row] as number) + (this.#outMean[row] as number);
  }

  /** Above the upper mark, and since then not below the lower one. */
  isHot(row: number): boolean {
    return this.#hot[row] === 1;
  }

  /** As it is told to nodes: below `HOTTEST`. */
  toldOf(row: number): number {
    return Math.min(HOTTEST - 1, Math.round(this.rateOf(row) * TOLD_PARTS));
  }
}
