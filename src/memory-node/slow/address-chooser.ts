/**
 * Chooses where in a region an allocation goes, so that no bucket of the page table overflows
 * (Clio, section 4.4.2): a range is good when its pages are free and every bucket has room.
 *
 * The search is one pass with a window that slides over the region. A page that is taken, or whose
 * bucket is full, pushes the window's start behind it; so every page is looked at once, however
 * full the table is. What Clio calls a retry is one such push by a full bucket. The search goes on
 * where the last one ended, so that an address that was freed is not given out again at once.
 *
 * The chooser knows ranges and buckets alone; what is in the page table is the main thread's.
 */

import { assert } from '../../base/assert.js';
import { regionKey } from '../../base/region-key.js';
import { bucketOf, ENTRIES_PER_BUCKET, pageWord, spaceWord } from '../../disk/page-table.js';

interface RegionPages {
  readonly space: number;
  /** The region's first page, as a page number of its space. */
  readonly first: number;
  /** 1 for every page that is allocated. */
  readonly taken: Uint8Array;
  free: number;
  /** Where the next search begins. */
  cursor: number;
}

export interface AddressChooserOptions {
  readonly pagesPerRegion: number;
  readonly bucketMask: number;
  /** Pages that may be allocated in all: more than frames, because many stay untouched. */
  readonly commitLimit: number;
}

export class AddressChooser {
  /** Pages allocated now. */
  committed = 0;
  /** How often a full bucket pushed the window on, in the last `choose`. */
  retries = 0;
  readonly #pagesPerRegion: number;
  readonly #bucketMask: number;
  readonly #commitLimit: number;
  readonly #counts: Uint8Array;
  readonly #regions = new Map<number, RegionPages>();

  constructor(options: AddressChooserOptions) {
    this.#pagesPerRegion = options.pagesPerRegion;
    this.#bucketMask = options.bucketMask;
    this.#commitLimit = options.commitLimit;
    this.#counts = new Uint8Array(options.bucketMask + 1);
  }

  /** Idempotent. */
  addRegion(space: number, region: number): void {
    const key = regionKey(space, region);
    if (this.#regions.has(key)) return;
    this.#regions.set(key, {
      space,
      first: region * this.#pagesPerRegion,
      taken: new Uint8Array(this.#pagesPerRegion),
      free: this.#pagesPerRegion,
      cursor: 0,
    });
  }

  /** Forgets the region and everything that is allocated in it. */
  dropRegion(space: number, region: number): void {
    const pages = this.#regions.get(regionKey(space, region));
    if (pages === undefined) return;
    for (let at = 0; at < pages.taken.length; at++) {
      if (pages.taken[at] !== 0) this.#uncount(pages, at);
    }
    this.committed -= this.#pagesPerRegion - pages.free;
    this.#regions.delete(regionKey(space, region));
  }

  /**
   * Allocates `count` pages in the region, at page number `wish` if that is possible (0: no wish).
   * The number of the first page, or -1 if there is no room.
   */
  choose(space: number, region: number, count: number, wish: number): number {
    this.retries = 0;
    const pages = this.#regions.get(regionKey(space, region));
    if (pages === undefined || count > pages.free) return -1;
    if (this.committed + count > this.#commitLimit) return -1;
    const begin = this.#find(pages, count, wish);
    if (begin < 0) return -1;
    pages.taken.fill(1, begin, begin + count);
    pages.free -= count;
    pages.cursor = (begin + count) % this.#pagesPerRegion;
    this.committed += count;
    return pages.first + begin;
  }

  #find(pages: RegionPages, count: number, wish: number): number {
    const wished = wish - pages.first;
    const isInside = wished >= 0 && wished + count <= this.#pagesPerRegion;
    if (wish !== 0 && isInside) {
      const begin = this.#search(pages, count, wished, wished + count);
      if (begin >= 0) return begin;
    }
    const behind = this.#search(pages, count, pages.cursor, this.#pagesPerRegion);
    if (behind >= 0) return behind;
    const end = Math.min(pages.cursor + count - 1, this.#pagesPerRegion);
    return this.#search(pages, count, 0, end);
  }

  /** The first good range within [from, to), counted in its buckets; -1, with nothing counted. */
  #search(pages: RegionPages, count: number, from: number, to: number): number {
    const counts = this.#counts;
    let begin = from;
    let at = from;
    // The pages of the window [begin, at) are free, and counted in their buckets.
    for (; at < to && to - begin >= count; at++) {
      if (pages.taken[at] !== 0) {
        while (begin < at) this.#uncount(pages, begin++);
        begin = at + 1;
        continue;
      }
      const bucket = this.#bucket(pages, at);
      if (counts[bucket] === ENTRIES_PER_BUCKET) {
        this.retries += 1;
        // Perhaps the window itself fills the bucket: then it need not give up all of its pages.
        while (begin < at && counts[bucket] === ENTRIES_PER_BUCKET) this.#uncount(pages, begin++);
        if (counts[bucket] === ENTRIES_PER_BUCKET) {
          begin = at + 1;
          continue;
        }
      }
      counts[bucket] = (counts[bucket] as number) + 1;
      if (at + 1 - begin === count) return begin;
    }
    while (begin < at) this.#uncount(pages, begin++);
    return -1;
  }

  /** Gives pages back that are allocated. */
  release(space: number, firstPage: number, count: number): void {
    const pages = this.#regionOf(space, firstPage);
    // The region went with all its pages before this message came.
    if (pages === undefined) return;
    const begin = firstPage - pages.first;
    assert(begin + count <= this.#pagesPerRegion, 'released pages reach over their region');
    for (let at = begin; at < begin + count; at++) {
      assert(pages.taken[at] === 1, 'a page that is not allocated was released');
      this.#uncount(pages, at);
    }
    pages.taken.fill(0, begin, begin + count);
    pages.free += count;
    this.committed -= count;
  }

  /** Notes a page that is in the page table already: for a node that goes on with its tables. */
  note(space: number, page: number): void {
    const pages = this.#regionOf(space, page);
    assert(pages !== undefined, 'a page lies in a region that is not held');
    const at = page - pages.first;
    const bucket = this.#bucket(pages, at);
    assert(pages.taken[at] === 0 && (this.#counts[bucket] as number) < ENTRIES_PER_BUCKET);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    pages.taken[at] = 1;
    pages.free -= 1;
    this.committed += 1;
  }

  #regionOf(space: number, page: number): RegionPages | undefined {
    const region = Math.floor(page / this.#pagesPerRegion);
    return this.#regions.get(regionKey(space, region));
  }

  #bucket(pages: RegionPages, at: number): number {
    const page = pages.first + at;
    return bucketOf(pageWord(page), spaceWord(pages.space, page), this.#bucketMask);
  }

  #uncount(pages: RegionPages, at: number): void {
    const bucket = this.#bucket(pages, at);
    assert((this.#counts[bucket] as number) > 0, 'a bucket has fewer than no entries');
    this.#counts[bucket] = (this.#counts[bucket] as number) - 1;
  }
}
