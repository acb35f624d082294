/**
 * From a window and a virtual address to a page-table entry: all checks that a request must pass
 * before a byte is touched, in one place.
 */

import { Status } from '../../base/status.js';
import { ENTRY_FLAGS, PAGE_HIGH_BITS, type PageTable } from '../../disk/page-table.js';
import type { RegionTable } from '../../disk/region-table.js';
import {
  WINDOW_EPOCH,
  WINDOW_RECORD_WORDS,
  WINDOW_RIGHTS,
  WINDOW_SPACE,
} from '../../disk/window-table.js';
import { REGION_BYTES } from '../../wire/limits.js';
import { ANYONE, type Windows } from './windows.js';

const TWO_TO_32 = 2 ** 32;

/**
 * In place of an entry, and of no status: the page is about to get another frame. To be asked for
 * again when it has.
 */
export const ENTRY_PAUSED = -(2 ** 20);

export class Translator {
  readonly #pages: PageTable;
  readonly #windows: Windows;
  readonly #regions: RegionTable;
  readonly #pageBytes: number;
  readonly #shift: number;
  /** Whether another node is known to hold a region. */
  isGone: (space: number, region: number) => boolean = () => false;
  /** Of the last page that was found paused. */
  pausedEntry = -1;

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
    return this.#windows.isGood(window, client, epoch) ? Status.Ok : Status.Stale;
  }

  /**
   * The page-table entry of `bytes` bytes at an address given in halves (`high` below 2^21), for
   * what `needed` (bits of the flags word) asks. Below 0: `ENTRY_PAUSED`, or a status, negated, for
   * the refusal.
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
    const { words } = windows;
    const owner = windows.clients[window];
    const record = window * WINDOW_RECORD_WORDS;
    // A window that is not open has owner 0, which is no client.
    if (owner !== client && owner !== ANYONE) return -Status.Stale;
    if (words[record + WINDOW_EPOCH] !== (epoch | 0)) return -Status.Stale;
    if (bytes < 1 || (low & (this.#pageBytes - 1)) + bytes > this.#pageBytes) {
      return -Status.Invalid;
    }
    if (windows.areParts[window] !== 0 && !isWithin(windows, window, low, high, bytes)) {
      return -Status.Denied;
    }
    const shift = this.#shift;
    const pageWord = (low >>> shift) | (high << (32 - shift));
    const spaceWord = (words[record + WINDOW_SPACE] as number) | (high >>> shift);
    const entry = this.#pages.lookup(pageWord, spaceWord);
    if (entry < 0) return -this.#missing(window, low, high);
    const flags = this.#pages.words[entry + ENTRY_FLAGS] as number;
    if ((flags & (words[record + WINDOW_RIGHTS] as number) & needed) !== needed) {
      return -Status.Denied;
    }
    // The sign bit is PAUSED.
    if (flags >= 0) return entry;
    this.pausedEntry = entry;
    return ENTRY_PAUSED;
  }

  /**
   * There is no entry. Of a region that is held here that says something; of one that is being
   * handed over its target may have made some since; of another one, which may have been lost with
   * a memory before this one, only the controller knows.
   */
  #missing(window: number, low: number, high: number): Status {
    const region = Math.floor((high * TWO_TO_32 + (low >>> 0)) / REGION_BYTES);
    const { words } = this.#windows;
    const word = words[window * WINDOW_RECORD_WORDS + WINDOW_SPACE] as number;
    const space = word >>> PAGE_HIGH_BITS;
    if (this.#regions.isHanding(space, region)) return Status.Unavailable;
    if (this.#regions.holds(space, region)) return Status.NotAllocated;
    return this.isGone(space, region) ? Status.Moved : Status.NotFound;
  }
}

/** Whether the window covers the bytes. */
function isWithin(
  windows: Windows,
  window: number,
  low: number,
  high: number,
  bytes: number,
): boolean {
  const address = high * TWO_TO_32 + (low >>> 0);
  const end = address + bytes;
  return address >= (windows.bases[window] as number) && end <= (windows.ends[window] as number);
}
