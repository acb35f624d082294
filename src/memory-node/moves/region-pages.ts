/** What is allocated in one region, as its holder's page table says it; paused, and going on. */

import type { FrameIndex } from '../../base/brands.js';
import { ENTRY_WORDS, EntryFlag, NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';

/** Bits of the flags word that say nothing about the page. */
const OWN_BITS = EntryFlag.VALID | EntryFlag.PAUSED;

export interface PageRun {
  /** The first one, counted from the start of the region. */
  readonly page: number;
  pages: number;
  /** Of their entries, as far as they belong to the page. */
  readonly flags: number;
  /** 1: they have frames. */
  readonly frames: number;
}

export interface PlacedEntry {
  /** Counted from the start of the region. */
  readonly page: number;
  readonly entry: number;
}

export class RegionPages {
  readonly space: number;
  readonly region: number;
  readonly #table: TableFile;

  constructor(table: TableFile, space: number, region: number) {
    this.#table = table;
    this.space = space;
    this.region = region;
  }

  get firstPage(): number {
    return this.region * this.#table.pagesPerRegion;
  }

  has(entry: number): boolean {
    const { pages, pagesPerRegion } = this.#table;
    if (pages.spaceOf(entry) !== this.space) return false;
    return Math.floor(pages.pageOf(entry) / pagesPerRegion) === this.region;
  }

  /** Pages that are allocated, with their entries, in order. */
  *entries(): Generator<PlacedEntry> {
    const { pages, pagesPerRegion } = this.#table;
    if (pages.entries < pagesPerRegion) return yield* this.#entriesOfTable();
    const { firstPage, space } = this;
    for (let page = 0; page < pagesPerRegion; page++) {
      const entry = pages.find(space, firstPage + page);
      if (entry >= 0) yield { page, entry };
    }
  }

  /** The same of a table that is shorter than the region is long. */
  *#entriesOfTable(): Generator<PlacedEntry> {
    const { pages } = this.#table;
    const found: PlacedEntry[] = [];
    for (let entry = pages.next(0); entry >= 0; entry = pages.next(entry + ENTRY_WORDS)) {
      if (this.has(entry)) found.push({ page: pages.pageOf(entry) - this.firstPage, entry });
    }
    yield* found.sort((a, b) => a.page - b.page);
  }

  /** All of them as runs: a page ends one when its flags, or whether it has a frame, differ. */
  runs(): PageRun[] {
    const { pages } = this.#table;
    const runs: PageRun[] = [];
    for (const { page, entry } of this.entries()) {
      const flags = pages.flagsOf(entry) & ~OWN_BITS;
      const frames = pages.frameOf(entry) === NO_FRAME ? 0 : 1;
      const last = runs.at(-1);
      const goesOn =
        last !== undefined &&
        last.page + last.pages === page &&
        last.flags === flags &&
        last.frames === frames;
      if (goesOn) last.pages += 1;
      else runs.push({ page, pages: 1, flags, frames });
    }
    return runs;
  }

  /** Of a page, by its place in the region. */
  frameOf(page: number): FrameIndex | typeof NO_FRAME {
    const { pages } = this.#table;
    const entry = pages.find(this.space, this.firstPage + page);
    return entry < 0 ? NO_FRAME : pages.frameOf(entry);
  }

  pause(): void {
    for (const { entry } of this.entries()) this.#table.pages.setPaused(entry, true);
  }

  resume(): void {
    for (const { entry } of this.entries()) this.#table.pages.setPaused(entry, false);
  }
}
