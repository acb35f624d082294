/**
 * What a client has written to memory on a disk and not flushed since: for each page the opening of
 * its file under which that was. The file may be opened anew at any time, by a node that has come
 * back after its machine had stopped; what was not flushed before may be gone then, and whoever
 * flushes it has to be told so.
 *
 * One bit per page and region, set before a write is sent, so that what becomes of the write does
 * not matter. Of pages that were written under an older opening only that is kept.
 */

import { REGION_BYTES } from '../wire/limits.js';

interface Region {
  /** Under which the pages of `since` were written. */
  opening: number;
  readonly since: Uint8Array;
  /** Pages that were written under an opening before that, and not flushed. */
  readonly before: Uint8Array;
}

/** What a flush of a range has to name, and takes over: nobody else tells of it again. */
export interface Taken {
  /** 0: nothing of the range was written since it was flushed. */
  readonly opening: number;
  /** Pages that were written under an older opening, */
  readonly old: readonly number[];
  /** and under this one. */
  readonly pages: readonly number[];
}

export class Unflushed {
  readonly #pageBytes: number;
  readonly #regions = new Map<number, Region>();
  #lastNumber = -1;
  #last: Region | undefined;

  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
  }

  /** These bytes, within one region, are about to be written under this opening or a later one. */
  note(address: number, bytes: number, opening: number): void {
    const number = Math.floor(address / REGION_BYTES);
    const region = number === this.#lastNumber ? (this.#last as Region) : this.#region(number);
    if (region.opening !== opening) grownOld(region, opening);
    const inRegion = address - number * REGION_BYTES;
    const last = Math.floor((inRegion + bytes - 1) / this.#pageBytes);
    for (let page = Math.floor(inRegion / this.#pageBytes); page <= last; page++) {
      region.since[page >> 3] = (region.since[page >> 3] as number) | (1 << (page & 7));
    }
  }

  #region(number: number): Region {
    let region = this.#regions.get(number);
    if (region === undefined) {
      const bytes = Math.ceil(REGION_BYTES / this.#pageBytes / 8);
      region = { opening: 0, since: new Uint8Array(bytes), before: new Uint8Array(bytes) };
      this.#regions.set(number, region);
    }
    this.#lastNumber = number;
    this.#last = region;
    return region;
  }

  /** Of a range within one region. What is written from now on is another flush's. */
  take(address: number, bytes: number): Taken {
    const number = Math.floor(address / REGION_BYTES);
    const region = this.#regions.get(number);
    if (region === undefined) return { opening: 0, old: [], pages: [] };
    const inRegion = address - number * REGION_BYTES;
    const last = Math.floor((inRegion + bytes - 1) / this.#pageBytes);
    const pages: number[] = [];
    const old: number[] = [];
    for (let page = Math.floor(inRegion / this.#pageBytes); page <= last; page++) {
      const bit = 1 << (page & 7);
      if (((region.before[page >> 3] as number) & bit) !== 0) old.push(page);
      if (((region.since[page >> 3] as number) & bit) !== 0) pages.push(page);
      region.before[page >> 3] = (region.before[page >> 3] as number) & ~bit;
      region.since[page >> 3] = (region.since[page >> 3] as number) & ~bit;
    }
    return { opening: pages.length === 0 ? 0 : region.opening, old, pages };
  }

  /** The flush of what was taken has failed, and nobody was told that it may be gone. */
  giveBack(address: number, { opening, old, pages }: Taken): void {
    const region = this.#region(Math.floor(address / REGION_BYTES));
    setAll(region.before, old);
    setAll(region.opening === opening ? region.since : region.before, pages);
  }
}

function setAll(bits: Uint8Array, pages: readonly number[]): void {
  for (const page of pages) bits[page >> 3] = (bits[page >> 3] as number) | (1 << (page & 7));
}

function grownOld(region: Region, opening: number): void {
  for (let i = 0; i < region.since.length; i++) {
    region.before[i] = (region.before[i] as number) | (region.since[i] as number);
    region.since[i] = 0;
  }
  region.opening = opening;
}
