/**
 * From a window and a virtual address to a page-table entry: all checks that a request must pass
 * before a byte is touched, in one place.
 */

import { Status } from '../../base/status.js';
import { ENTRY_FLAGS, type PageTable } from '../../disk/page-table.js';
import type { RegionTable } from '../../disk/region-table.js';
import { REGION_BYTES } from '../../wire/limits.js';
import type { Windows } from './windows.js';

const TWO_TO_32 = 2 ** 32;

export class Translator {
  readonly #pages: PageTable;
  readonly #windows: Windows;
  readonly #regions: RegionTable;
  readonly #pageBytes: number;
  readonly #shift: number;

  /** `pageBytes` is a power of two from 2^16 to 2^30. */
  constructor(pages: PageTable, windows: Windows, regions: RegionTable, pageBytes: number) {
    this.#pages = pages;
    this.#windows = windows;
    this.#regions = regions;
    this.#pageBytes = pageBytes;
    this.#shift = Math.log2(pageBytes);
  }

  /** Offset of an address in its page, from the low half of the address. */
  offsetInPage(low: number): number {
    return low & (this.#pageBytes - 1);
  }

  /** Status Ok if the client has the window and it is of this epoch. */
  checkWindow(window: number, client: number, epoch: number): Status {
    const windows = this.#windows;
    if (windows.clients[window] !== client || windows.epochs[window] !== epoch) return Status.Stale;
    return Status.Ok;
  }

  /**
   * The page-table entry of `bytes` bytes at an address given in halves (`high` below 2^21), for
   * what `needed` (bits of the flags word) asks. Below 0: a status, negated, for the refusal.
   */
  entryOf(
    window: number,
    client: number,
    epoch: number,
    low: number,
    high: number,
    bytes: number,
    needed: number,
  ): number {
    const windows = this.#windows;
    if (windows.clients[window] !== client || windows.epochs[window] !== epoch) {
      return -Status.Stale;
    }
    if (bytes < 1 || (low & (this.#pageBytes - 1)) + bytes > this.#pageBytes) {
      return -Status.Invalid;
    }
    const shift = this.#shift;
    const pageWord = (low >>> shift) | (high << (32 - shift));
    const spaceWord = (windows.spaceWords[window] as number) | (high >>> shift);
    const entry = this.#pages.lookup(pageWord, spaceWord);
    if (entry < 0) return -this.#missing(window, low, high);
    const flags = this.#pages.words[entry + ENTRY_FLAGS] as number;
    if ((flags & (windows.rights[window] as number) & needed) !== needed) return -Status.Denied;
    return entry;
  }

  /**
   * There is no entry. Of a region that is held here that says something; of another one, which may
   * have been lost with a memory before this one, only the controller knows.
   */
  #missing(window: number, low: number, high: number): Status {
    const region = Math.floor((high * TWO_TO_32 + (low >>> 0)) / REGION_BYTES);
    const isHeld = this.#regions.holds(this.#windows.spaceOf(window), region);
    return isHeld ? Status.NotAllocated : Status.NotFound;
  }
}
