/**
 * Allocate, free, protect and inspect, as the main thread does them: the slow path says where, the
 * changes of the page table are made here, each as a whole and without a pause.
 *
 * Every allocation is provisional until its client confirms it, so that one whose answer was lost,
 * or whose client died, is freed again. Of an allocation over several regions the confirmation of
 * the first piece is what makes it: see ARCHITECTURE.md.
 */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';
import {
  ENTRY_WORDS,
  EntryFlag,
  NONCE_SHIFT,
  nonceOf,
  RIGHTS_MASK,
  RIGHTS_SHIFT,
  SLAB_NONCE,
} from '../../disk/page-table.js';
import {
  allocatePages,
  allocationPages,
  type PageRange,
  protectPages,
} from '../../disk/table-changes.js';
import type { TableFile } from '../../disk/table-file.js';
import type { Timers } from '../../runtime/clock.js';
import { AllocFlag } from '../../wire/messages.js';
import type { NodeCounters } from '../counters.js';
import type { FramePool } from '../store/frame-pool.js';
import { unmapPages } from '../store/unmap.js';
import { type Fate, fateOf, type Neighbours, Provisional } from './provisional.js';
import type { RangeWish, ChosenRange } from './slow-path.js';

export interface Refusal {
  readonly status: Exclude<Status, typeof Status.Ok>;
  readonly reason: string;
}

/** Regions that are about to go to another node. */
export interface RegionPauses {
  isPaused(space: number, region: number): boolean;
  whenGoingOn(space: number, region: number): Promise<void>;
}

/** What allocations need of the slow path. */
export interface AddressSource {
  choose(wish: RangeWish): Promise<ChosenRange>;
  release(space: number, firstPage: number, pages: number): void;
  nudge(): void;
}

export interface AllocateRequest {
  readonly space: number;
  readonly region: number;
  readonly bytes: number;
  /** 0: none. */
  readonly wish: number;
  /** Of `AllocFlag`. */
  readonly flags: number;
  readonly nonce: number;
}

/** A free range that nobody else is given: to be made at once, or let go. */
export interface Choice {
  readonly range: PageRange;
  /** That of the region in which it was chosen. */
  readonly holding: number;
}

/** Told what goes. */
export interface SlabListener {
  freed(space: number, address: number): void;
  wentWith(space: number, region: number): void;
}

export interface Allocation {
  readonly base: number;
  /** In this region. */
  readonly bytes: number;
  /** Of `AllocFlag`. */
  readonly flags: number;
  /** Of the page that was asked about: bits 1 read, 2 write. */
  readonly rights: number;
}

const refusal = (status: Refusal['status'], reason: string): Refusal => ({ status, reason });

export class Allocations {
  /** Pages that are allocated. */
  committed: number;
  /** Pages that may be allocated, and why no more, when that is less than the table takes. */
  commitLimit = Infinity;
  limitReason = '';
  /** Whether nothing in a region may change just now, and the end of that. */
  pauses: RegionPauses | undefined;
  /** Until it is there, no piece at another node is known. */
  neighbours: Neighbours | undefined;
  slabs: SlabListener | undefined;
  readonly #table: TableFile;
  readonly #pool: FramePool;
  readonly #source: AddressSource;
  readonly #counters: NodeCounters;
  readonly #provisional: Provisional;

  constructor(
    parts: {
      readonly table: TableFile;
      readonly pool: FramePool;
      readonly source: AddressSource;
      readonly timers: Timers;
      readonly counters: NodeCounters;
    },
    committed: number,
  ) {
    this.#table = parts.table;
    this.#pool = parts.pool;
    this.#source = parts.source;
    this.#counters = parts.counters;
    this.committed = committed;
    this.#provisional = new Provisional({
      timers: parts.timers,
      fateBefore: (range) => this.#fateBefore(range),
      decide: (range, fate) => this.#decide(range, fate),
    });
    this.#takeOver();
  }

  /** What the process before this one left provisional. */
  #takeOver(): void {
    const { pages } = this.#table;
    for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
      if ((pages.flagsOf(at) & EntryFlag.PROVISIONAL) === 0) continue;
      this.#waitFor(at, allocationPages(this.#table, at));
    }
  }

  #waitFor(entry: number, count: number): void {
    const { pages } = this.#table;
    const range = { space: pages.spaceOf(entry), firstPage: pages.pageOf(entry), pages: count };
    const isContinuation = (pages.flagsOf(entry) & EntryFlag.CONTINUATION) !== 0;
    this.#provisional.begin(entry, range, isContinuation);
  }

  /** The address of the first byte. */
  async allocate(request: AllocateRequest): Promise<number | Refusal> {
    const { flags, nonce } = request;
    const { pageBytes } = this.#table.facts;
    const choice = await this.choose(request);
    if ('status' in choice) return choice;
    const problem = this.problemOf(choice);
    if (problem !== undefined) return problem;
    const { range } = choice;
    const isPiece = (flags & (AllocFlag.CONTINUATION | AllocFlag.CONTINUES)) !== 0;
    if (isPiece && range.firstPage * pageBytes !== request.wish) {
      this.letGo(choice);
      return refusal(Status.NoSpace, 'a piece of a larger allocation does not fit where it must');
    }
    this.make(range, flags, nonce);
    return range.firstPage * pageBytes;
  }

  /** Where an allocation may be made; `problemOf` says whether it still may. */
  async choose(request: Omit<AllocateRequest, 'nonce'>): Promise<Choice | Refusal> {
    const { space, region, flags } = request;
    const { pageBytes, regionBytes } = this.#table.facts;
    if (!(request.bytes >= 1 && request.bytes <= regionBytes)) {
      return refusal(Status.Invalid, `one piece has 1 to ${regionBytes} bytes`);
    }
    const holding = this.#table.regions.holdingOf(space, region);
    if (holding === undefined) return this.#regionNotHeld(space, region);
    const pages = Math.ceil(request.bytes / pageBytes);
    const wish = request.wish % pageBytes === 0 ? request.wish / pageBytes : 0;
    const misfit = this.#misfit(region, pages, wish, flags);
    if (misfit !== undefined) return misfit;
    if (this.committed + pages > this.commitLimit) {
      return refusal(Status.NoSpace, this.limitReason);
    }
    const { firstPage, retries } = await this.#source.choose({ space, region, pages, wish });
    this.#counters.allocationRetries += retries;
    if (firstPage < 0) {
      return refusal(Status.NoSpace, `no room for ${pages} pages in region ${region}`);
    }
    await this.pauses?.whenGoingOn(space, region);
    return { range: { space, firstPage, pages }, holding };
  }

  /** What was chosen and cannot be made at this moment is let go. */
  problemOf(choice: Choice): Refusal | undefined {
    const { space, firstPage } = choice.range;
    const region = Math.floor(firstPage / this.#table.pagesPerRegion);
    if (this.pauses?.isPaused(space, region) === true) {
      this.letGo(choice);
      return refusal(Status.Unavailable, 'the region is being handed over to another node');
    }
    // The region may have gone meanwhile, and even come again: the slow path was told so after it
    // had chosen, and so has forgotten this choice.
    if (this.#table.regions.holdingOf(space, region) !== choice.holding) {
      return this.#regionNotHeld(space, region);
    }
    return undefined;
  }

  letGo({ range }: Choice): void {
    this.#source.release(range.space, range.firstPage, range.pages);
  }

  /** Pieces lie against the borders of their regions: a continuation is found by its address. */
  #misfit(region: number, pages: number, wish: number, flags: number): Refusal | undefined {
    const { pagesPerRegion } = this.#table;
    const first = region * pagesPerRegion;
    const isContinuation = (flags & AllocFlag.CONTINUATION) !== 0;
    const continues = (flags & AllocFlag.CONTINUES) !== 0;
    const beginsWell = !isContinuation || (wish === first && region > 1);
    const endsWell = !continues || wish + pages === first + pagesPerRegion;
    if (beginsWell && endsWell) return undefined;
    return refusal(Status.Invalid, 'a piece of a larger allocation reaches to the region beside');
  }

  #regionNotHeld(space: number, region: number): Refusal {
    return refusal(Status.NotFound, `region ${region} of space ${space} is not held here`);
  }

  /** Provisional; the entry of the first page. */
  make(range: PageRange, flags: number, nonce: number): number {
    let start: number = EntryFlag.PROVISIONAL | (nonce << NONCE_SHIFT);
    if ((flags & AllocFlag.CONTINUATION) !== 0) start |= EntryFlag.CONTINUATION;
    if ((flags & AllocFlag.CONTINUES) !== 0) start |= EntryFlag.CONTINUES;
    allocatePages(this.#table, range, RIGHTS_MASK, start);
    this.committed += range.pages;
    this.#counters.allocations += 1;
    const entry = this.#table.pages.find(range.space, range.firstPage);
    this.#waitFor(entry, range.pages);
    return entry;
  }

  async #fateBefore({ space, firstPage }: PageRange): Promise<Fate> {
    const address = firstPage * this.#table.facts.pageBytes;
    const region = firstPage / this.#table.pagesPerRegion;
    const isHere = this.#table.regions.holds(space, region - 1);
    if (isHere) return fateOf(this.inspect(space, address - 1));
    return (await this.neighbours?.before(space, address)) ?? 'unknown';
  }

  #decide(range: PageRange, fate: 'kept' | 'gone'): void {
    const region = Math.floor(range.firstPage / this.#table.pagesPerRegion);
    if (this.pauses?.isPaused(range.space, region) === true) {
      this.#waitFor(this.#table.pages.find(range.space, range.firstPage), range.pages);
      return;
    }
    if (fate === 'kept') {
      this.keep(this.#table.pages.find(range.space, range.firstPage));
      return;
    }
    this.#counters.provisionalExpired += 1;
    this.freeRange(range);
  }

  /** Makes a provisional allocation one like all others; one that is so already stays so. */
  confirm(space: number, address: number, nonce: number): Refusal | undefined {
    // A copy of a slab is confirmed by who makes it.
    const entry = nonce === SLAB_NONCE ? -1 : this.#startAt(space, address, nonce);
    if (entry < 0) return this.#notAllocated(space, address);
    this.keep(entry);
    return undefined;
  }

  keep(entry: number): void {
    this.#provisional.end(entry);
    const { pages } = this.#table;
    const flags = pages.flagsOf(entry);
    if ((flags & EntryFlag.PROVISIONAL) === 0) return;
    pages.setFlags(entry, flags & ~EntryFlag.PROVISIONAL);
  }

  /** Bytes that were freed. `nonce`: of that allocation alone; 0: of any. */
  free(space: number, address: number, nonce: number): number | Refusal {
    const start = this.#anyStartAt(space, address);
    const entry = nonce === 0 ? start : this.#startAt(space, address, nonce);
    if (entry < 0) return this.#notAllocated(space, address);
    const pages = allocationPages(this.#table, entry);
    this.freeRange({ space, firstPage: address / this.#table.facts.pageBytes, pages });
    return pages * this.#table.facts.pageBytes;
  }

  /** A whole allocation. */
  freeRange(range: PageRange): void {
    this.#provisional.end(this.#table.pages.find(range.space, range.firstPage));
    this.committed -= unmapPages(this.#table, range, this.#pool);
    this.#counters.frees += 1;
    this.slabs?.freed(range.space, range.firstPage * this.#table.facts.pageBytes);
    this.#source.release(range.space, range.firstPage, range.pages);
    this.#source.nudge();
  }

  /** A region has come with pages that are in the table, and that the slow path knows of. */
  takeIn(space: number, region: number, count: number): void {
    const { pages, pagesPerRegion } = this.#table;
    this.committed += count;
    const first = region * pagesPerRegion;
    for (let page = first; page < first + pagesPerRegion; page++) {
      const entry = pages.find(space, page);
      if (entry < 0 || (pages.flagsOf(entry) & EntryFlag.PROVISIONAL) === 0) continue;
      this.#waitFor(entry, allocationPages(this.#table, entry));
    }
  }

  /** Removes whatever is allocated in a region; the slow path is told by the caller. */
  clearRegion(space: number, region: number): void {
    const pages = this.#table.pagesPerRegion;
    const firstPage = region * pages;
    this.#provisional.endWithin(space, firstPage, pages);
    this.slabs?.wentWith(space, region);
    this.committed -= unmapPages(this.#table, { space, firstPage, pages }, this.#pool);
  }

  /** Of the allocation that the address lies in. */
  inspect(space: number, address: number): Allocation | Refusal {
    const { pages, facts } = this.#table;
    const asked = pages.find(space, Math.floor(address / facts.pageBytes));
    if (asked < 0) return this.#notAllocated(space, address);
    let first = pages.pageOf(asked);
    let start = asked;
    while ((pages.flagsOf(start) & EntryFlag.START) === 0) {
      first -= 1;
      start = pages.find(space, first);
      assert(start >= 0, 'a page belongs to no allocation');
    }
    const flags = pages.flagsOf(start);
    let shown = 0;
    if ((flags & EntryFlag.CONTINUATION) !== 0) shown |= AllocFlag.CONTINUATION;
    if ((flags & EntryFlag.CONTINUES) !== 0) shown |= AllocFlag.CONTINUES;
    if ((flags & EntryFlag.PROVISIONAL) !== 0) shown |= AllocFlag.PROVISIONAL;
    return {
      base: first * facts.pageBytes,
      bytes: allocationPages(this.#table, start) * facts.pageBytes,
      flags: shown,
      rights: (pages.flagsOf(asked) & RIGHTS_MASK) >> RIGHTS_SHIFT,
    };
  }

  /** All pages of the range, or, when one of them is not allocated, none. */
  protect(
    space: number,
    range: { readonly address: number; readonly bytes: number },
    rights: number,
  ): Refusal | undefined {
    const { pageBytes, regionBytes } = this.#table.facts;
    const { address, bytes } = range;
    if (address % pageBytes !== 0) {
      return refusal(Status.Invalid, `protection begins where a page of ${pageBytes} bytes does`);
    }
    if (!(bytes >= 1 && (address % regionBytes) + bytes <= regionBytes)) {
      return refusal(Status.Invalid, 'protection is asked for within one region');
    }
    const firstPage = address / pageBytes;
    const pages = Math.ceil(bytes / pageBytes);
    for (let page = firstPage; page < firstPage + pages; page++) {
      if (this.#table.pages.find(space, page) < 0) {
        return this.#notAllocated(space, page * pageBytes);
      }
    }
    protectPages(this.#table, { space, firstPage, pages }, rights << RIGHTS_SHIFT);
    this.#counters.protects += 1;
    return undefined;
  }

  /** As `#anyStartAt`, of this nonce; -1 where there is none or another one. */
  #startAt(space: number, address: number, nonce: number): number {
    const entry = this.#anyStartAt(space, address);
    return entry >= 0 && nonceOf(this.#table.pages.flagsOf(entry)) === nonce ? entry : -1;
  }

  /** The entry of the first page of an allocation that begins at the address; -1: none does. */
  #anyStartAt(space: number, address: number): number {
    const { pages, facts } = this.#table;
    if (address % facts.pageBytes !== 0) return -1;
    const entry = pages.find(space, address / facts.pageBytes);
    const isStart = entry >= 0 && (pages.flagsOf(entry) & EntryFlag.START) !== 0;
    return isStart ? entry : -1;
  }

  /** Of a region that is not held here nobody here knows what was in it. */
  #notAllocated(space: number, address: number): Refusal {
    const region = Math.floor(address / this.#table.facts.regionBytes);
    if (!this.#table.regions.holds(space, region)) return this.#regionNotHeld(space, region);
    return refusal(Status.NotAllocated, `no allocation at ${address}`);
  }

  /** Lets go of all timers: the node ends. */
  stop(): void {
    this.#provisional.stop();
  }
}
