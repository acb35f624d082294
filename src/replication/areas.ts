/**
 * What the writer knows of the areas and blocks of a slab: which areas have their intent word at
 * all copies, which blocks may differ between copies, and the checksums of what they hold.
 *
 *            first write                    nothing written for a while, nothing unsettled
 *   CLEAN -------------> OPENING --> OPEN -----------------------------> CLOSING --> CLEAN
 *                           ^
 *   DOUBTFUL ---------------+    (a new writer found the word at one copy at least)
 */

import type { Checksum } from '../runtime/runtime.js';
import { BlockChecksum } from './block-checksum.js';
import { IdleAreas } from './idle-areas.js';
import { AREA_BLOCKS, areaOf, BLOCK_BYTES, type SlabLayout } from './layout.js';

export const Area = { CLEAN: 0, OPENING: 1, OPEN: 2, CLOSING: 3, DOUBTFUL: 4 } as const;
export type AreaState = (typeof Area)[keyof typeof Area];

export class Areas {
  readonly state: Uint8Array;
  /** The checksums that the copies hold were read, or are known to be zeros. */
  readonly isLoaded: Uint8Array;
  /** When they were written to, and when that is long ago. */
  readonly idle: IdleAreas;
  /** What the copy in a file has of it may be older than what was acknowledged. */
  readonly isBehind: Uint8Array;
  /** No copy has it any more. */
  readonly isLost: Uint8Array;
  /** Of blocks: as they stand in a copy. */
  readonly checksums: Uint32Array;
  readonly #unsettled: Uint8Array;
  readonly #unsettledIn: Uint8Array;
  readonly #checksum: BlockChecksum;

  constructor(layout: SlabLayout, checksum: Checksum) {
    this.state = new Uint8Array(layout.areas);
    this.isLoaded = new Uint8Array(layout.areas);
    this.idle = new IdleAreas(layout.areas);
    this.isBehind = new Uint8Array(layout.areas);
    this.isLost = new Uint8Array(layout.areas);
    this.checksums = new Uint32Array(layout.blocks);
    this.#unsettled = new Uint8Array(layout.blocks);
    this.#unsettledIn = new Uint8Array(layout.areas);
    this.#checksum = new BlockChecksum(checksum);
  }

  note(first: number, count: number, bytes: Uint8Array, start: number): void {
    for (let i = 0; i < count; i++) {
      this.checksums[first + i] = this.#checksum.of(bytes, start + i * BLOCK_BYTES);
    }
  }

  noteZeros(first: number, count: number): void {
    this.checksums.fill(0, first, first + count);
  }

  /** The first block of the range that is not what is known of it; -1: all are. */
  firstWrong(first: number, count: number, bytes: Uint8Array, start: number): number {
    for (let i = 0; i < count; i++) {
      if (this.#checksum.of(bytes, start + i * BLOCK_BYTES) !== this.checksums[first + i]) {
        return first + i;
      }
    }
    return -1;
  }

  isUnsettled(block: number): boolean {
    return this.#unsettled[block] !== 0;
  }

  anyUnsettled(first: number, count: number): boolean {
    if (this.#unsettledIn[areaOf(first)] === 0) return false;
    for (let block = first; block < first + count; block++) {
      if (this.#unsettled[block] !== 0) return true;
    }
    return false;
  }

  isSettled(area: number): boolean {
    return this.#unsettledIn[area] === 0;
  }

  unsettle(first: number, count: number): void {
    const area = areaOf(first);
    for (let block = first; block < first + count; block++) {
      if (this.#unsettled[block] !== 0) continue;
      this.#unsettled[block] = 1;
      this.#unsettledIn[area] = (this.#unsettledIn[area] as number) + 1;
    }
  }

  settle(first: number, count: number): void {
    const area = areaOf(first);
    for (let block = first; block < first + count; block++) {
      if (this.#unsettled[block] === 0) continue;
      this.#unsettled[block] = 0;
      this.#unsettledIn[area] = (this.#unsettledIn[area] as number) - 1;
    }
    if (this.#unsettledIn[area] === 0) this.isBehind[area] = 0;
  }

  /** Nobody reads or writes it any more. */
  lose(area: number): void {
    this.isLost[area] = 1;
    this.state[area] = Area.DOUBTFUL;
    this.settle(area * AREA_BLOCKS, AREA_BLOCKS);
  }

  get areBehind(): boolean {
    return this.isBehind.includes(1);
  }

  behind(): number[] {
    return [...this.isBehind.keys()].filter((area) => this.isBehind[area] !== 0);
  }

  /** Found by a new writer at one copy at least. */
  doubt(area: number): void {
    this.state[area] = Area.DOUBTFUL;
    this.unsettle(area * AREA_BLOCKS, AREA_BLOCKS);
  }
}
