/**
 * What a client has written to memory on a disk and not flushed since: for each page the openings
 * of files under which that was. A file may be opened anew at any time, by a node that has come
 * back after its machine had stopped; what was not flushed before may be gone then, and whoever
 * flushes it has to be told so. A region may go to another file, too, and nothing is lost by that.
 * So which opening still stands for all that was written under it the node says that holds the
 * region at the time of the flush; here is only kept under which there is something.
 *
 * One bit per page and opening, set before a write is sent, so that what becomes of the write does
 * not matter. A write that is sent anew, to another node, is noted anew.
 */

import { REGION_BYTES } from '../wire/limits.js';

/** More openings than a region sees between two flushes: pages of the oldest are told as lost. */
const OPENINGS_MAX = 8;

interface Written {
  readonly opening: number;
  /** A bit for each page. */
  readonly bits: Uint8Array;
}

interface Region {
  /** The last one that was written under. */
  last: Written;
  /** All of them. */
  written: Written[];
  /** Pages that were written under an opening of which nothing is known any more. */
  readonly forgotten: Uint8Array;
}

/** Pages that were written under one opening. */
export interface TakenPages {
  readonly opening: number;
  readonly pages: readonly number[];
}

/** What a flush of a range has to name, and takes over: nobody else tells of it again. */
export interface Taken {
  readonly written: readonly TakenPages[];
  /** Pages that may be lost, whatever the node says. */
  readonly forgotten: readonly number[];
}

export class Unflushed {
  readonly #pageBytes: number;
  readonly #regions = new Map<number, Region>();
  #lastNumber = -1;
  #last: Region | undefined;

  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
  }

  /**
   * These bytes, within one region, are about to be written under this opening of a file, or a
   * later one of the same file: a link does not know at once that it was opened anew.
   */
  note(address: number, bytes: number, opening: number): void {
    const number = Math.floor(address / REGION_BYTES);
    const region =
      number === this.#lastNumber ? (this.#last as Region) : this.#region(number, opening);
    if (region.last.opening !== opening) this.#goOn(region, opening);
    const { bits } = region.last;
    const inRegion = address - number * REGION_BYTES;
    const last = Math.floor((inRegion + bytes - 1) / this.#pageBytes);
    for (let page = Math.floor(inRegion / this.#pageBytes); page <= last; page++) {
      bits[page >> 3] = (bits[page >> 3] as number) | (1 << (page & 7));
    }
  }

  #region(number: number, opening: number): Region {
    let region = this.#regions.get(number);
    if (region === undefined) {
      const first = this.#none(opening);
      region = { last: first, written: [first], forgotten: this.#none(0).bits };
      this.#regions.set(number, region);
    }
    this.#lastNumber = number;
    this.#last = region;
    return region;
  }

  #none(opening: number): Written {
    return { opening, bits: new Uint8Array(Math.ceil(REGION_BYTES / this.#pageBytes / 8)) };
  }

  /** What is written from now on is written under this one. */
  #goOn(region: Region, opening: number): void {
    const known = region.written.find((one) => one.opening === opening);
    region.last = known ?? this.#none(opening);
    if (known !== undefined) return;
    region.written = region.written.filter(({ bits }) => bits.some((byte) => byte !== 0));
    const oldest = region.written.length < OPENINGS_MAX ? undefined : region.written.shift();
    oldest?.bits.forEach((byte, i) => {
      region.forgotten[i] = (region.forgotten[i] as number) | byte;
    });
    region.written.push(region.last);
  }

  /** Of a range within one region. What is written from now on is another flush's. */
  take(address: number, bytes: number): Taken {
    const number = Math.floor(address / REGION_BYTES);
    const region = this.#regions.get(number);
    if (region === undefined) return { written: [], forgotten: [] };
    const inRegion = address - number * REGION_BYTES;
    const first = Math.floor(inRegion / this.#pageBytes);
    const last = Math.floor((inRegion + bytes - 1) / this.#pageBytes);
    const written = region.written.map(({ opening, bits }) => {
      return { opening, pages: takeBits(bits, first, last) };
    });
    return {
      written: written.filter(({ pages }) => pages.length > 0),
      forgotten: takeBits(region.forgotten, first, last),
    };
  }

  /** The flush of what was taken has failed, and nobody was told that it may be gone. */
  giveBack(address: number, { written, forgotten }: Taken): void {
    const number = Math.floor(address / REGION_BYTES);
    for (const { opening, pages } of written) {
      // A flush of what nobody has written to since names no opening.
      if (pages.length === 0) continue;
      const region = this.#region(number, opening);
      if (region.last.opening !== opening) this.#goOn(region, opening);
      setAll(region.last.bits, pages);
    }
    const region = this.#regions.get(number);
    if (region !== undefined) setAll(region.forgotten, forgotten);
  }
}

/** Which of these are set; none of them is any more. */
function takeBits(bits: Uint8Array, first: number, last: number): number[] {
  const pages: number[] = [];
  for (let page = first; page <= last; page++) {
    const bit = 1 << (page & 7);
    const byte = bits[page >> 3] as number;
    if ((byte & bit) === 0) continue;
    pages.push(page);
    bits[page >> 3] = byte & ~bit;
  }
  return pages;
}

function setAll(bits: Uint8Array, pages: readonly number[]): void {
  for (const page of pages) bits[page >> 3] = (bits[page >> 3] as number) | (1 << (page & 7));
}
