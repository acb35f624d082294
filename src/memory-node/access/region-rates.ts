/**
 * How often each region is used, by and large: for who has to choose one that goes elsewhere.
 *
 * Of the node's own work about every 64th access is looked at, and stands for as many; the distance
 * changes, so that no pattern of a client falls into step with it. Threads without the node count
 * what they have done in their slot; that is put down to the region at which the slot stands when
 * it is looked at. Nothing of this is exact, and nothing depends on it but the order in which
 * regions go. A new process begins with nothing.
 */

import { regionKey } from '../../base/region-key.js';
import { ENTRY_WORDS } from '../../disk/page-table.js';
import { SLOT_DONE, SLOT_ENTRY, slotWord } from '../../disk/slots.js';
import type { TableFile } from '../../disk/table-file.js';
import { smoothed } from '../../policies/average.js';

/** After so long without a use half of the rate is forgotten. */
const MEAN_MS = 10_000;
/** Below this a region counts as not used. */
const RATE_MIN = 0.01;
/** The distance of samples: at least the one, less than both together. */
const DISTANCE_MIN = 32;
const DISTANCE_BITS = 6;
/** More than a thread can do between two looks: what slots say is not to be believed. */
const DONE_MAX = 2 ** 24;

export interface RegionRatesParts {
  readonly table: Pick<TableFile, 'pages' | 'regions' | 'pagesPerRegion'>;
  readonly slots: { readonly words: Int32Array; readonly taken: readonly number[] };
}

interface Counted {
  readonly space: number;
  readonly region: number;
  rate: number;
  /** Since the last look. */
  fresh: number;
}

export class RegionRates {
  readonly #parts: RegionRatesParts;
  readonly #counted = new Map<number, Counted>();
  readonly #slotsDone = new Map<number, number>();
  #left = DISTANCE_MIN;
  #distance = DISTANCE_MIN;
  #drawn = 1;
  #lookedMs: number;

  constructor(parts: RegionRatesParts, nowMs: number) {
    this.#parts = parts;
    this.#lookedMs = nowMs;
  }

  /** For each access of the node's own, with the entry of its page. */
  used(entry: number): void {
    this.#left -= 1;
    if (this.#left === 0) this.#sample(entry);
  }

  #sample(entry: number): void {
    this.#count(entry, this.#distance);
    this.#drawn = (Math.imul(this.#drawn, 1_664_525) + 1_013_904_223) | 0;
    this.#distance = DISTANCE_MIN + (this.#drawn >>> (32 - DISTANCE_BITS));
    this.#left = this.#distance;
  }

  #count(entry: number, accesses: number): void {
    const { pages, regions, pagesPerRegion } = this.#parts.table;
    const space = pages.spaceOf(entry);
    const region = Math.floor(pages.pageOf(entry) / pagesPerRegion);
    if (!regions.holds(space, region)) return;
    const key = regionKey(space, region);
    const known = this.#counted.get(key);
    if (known === undefined) this.#counted.set(key, { space, region, rate: 0, fresh: accesses });
    else known.fresh += accesses;
  }

  /** Now and then: what was counted since the last time becomes a part of the means. */
  look(nowMs: number): void {
    const passedMs = nowMs - this.#lookedMs;
    if (passedMs <= 0) return;
    this.#lookedMs = nowMs;
    this.#lookAtSlots();
    const { regions } = this.#parts.table;
    for (const [key, one] of this.#counted) {
      one.rate = smoothed(one.rate, (one.fresh * 1000) / passedMs, passedMs, MEAN_MS);
      one.fresh = 0;
      const isUsed = one.rate >= RATE_MIN && regions.holds(one.space, one.region);
      if (!isUsed) this.#counted.delete(key);
    }
  }

  #lookAtSlots(): void {
    const { slots, table } = this.#parts;
    for (const slot of slots.taken) {
      const done = slots.words[slotWord(slot) + SLOT_DONE] as number;
      const before = this.#slotsDone.get(slot) ?? done;
      this.#slotsDone.set(slot, done);
      const accesses = Math.min((done - before) >>> 0, DONE_MAX);
      const entry = (slots.words[slotWord(slot) + SLOT_ENTRY] as number) - 1;
      const isEntry = entry >= 0 && entry < table.pages.entries;
      if (accesses > 0 && isEntry) this.#count(entry * ENTRY_WORDS, accesses);
    }
  }

  /** Accesses a second. */
  rateOf(space: number, region: number): number {
    return this.#counted.get(regionKey(space, region))?.rate ?? 0;
  }
}
