/**
 * What of a node whose machine is short of memory is to be moved away, in the order in which it
 * should go (docs/internals/donors.md). The controller asks anew for each region that it moves.
 */

import { regionKey } from '../base/region-key.js';
import { ENTRY_WORDS, NO_FRAME } from '../disk/page-table.js';
import type { TableFile } from '../disk/table-file.js';
import { orderToGive } from '../policies/donor/who-goes.js';
import type { Timers } from '../runtime/clock.js';
import { REGIONS_TO_GIVE_MAX } from '../wire/limits.js';
import type { RegionRates } from './access/region-rates.js';
import type { Donor } from './donor.js';

/** Entries of the page table that are looked at in one turn: a millisecond or so. */
const ENTRIES_PER_TURN = 2 ** 18;

export interface GivingParts {
  readonly table: Pick<TableFile, 'pages' | 'regions' | 'pagesPerRegion' | 'facts'>;
  readonly donor: Pick<Donor, 'bytesToGive' | 'isPanic'>;
  readonly rates: Pick<RegionRates, 'rateOf'>;
  readonly timers: Timers;
  /** Whether something here stands in the way of a move of the region. */
  readonly mayGo: (space: number, region: number) => boolean;
  /** Whether it is on its way. */
  readonly isGoing: (space: number, region: number) => boolean;
  /** Of copies of slabs that are on their way. */
  readonly bytesOfSlabs: () => number;
}

export interface RegionToGive {
  readonly space: number;
  readonly region: number;
  readonly bytes: number;
}

export interface RegionsToGive {
  /** Used beyond what is lent. */
  readonly bytes: number;
  readonly regions: readonly RegionToGive[];
}

export class Giving {
  readonly #parts: GivingParts;
  /** As they were told last. */
  #told: readonly RegionToGive[] = [];

  constructor(parts: GivingParts) {
    this.#parts = parts;
  }

  /** Used beyond what is lent, without regions that are on their way. */
  get bytesLeft(): number {
    const { donor, isGoing } = this.#parts;
    const going = this.#told.filter(({ space, region }) => isGoing(space, region));
    return Math.max(0, donor.bytesToGive - going.reduce((sum, { bytes }) => sum + bytes, 0));
  }

  /** The same without copies of slabs that are. */
  get #bytesToGive(): number {
    const { donor, bytesOfSlabs } = this.#parts;
    return Math.max(0, donor.bytesToGive - bytesOfSlabs());
  }

  async regions(): Promise<RegionsToGive> {
    const { donor, table, rates, mayGo } = this.#parts;
    if (this.#bytesToGive === 0) return { bytes: 0, regions: [] };
    const used = await this.#bytesUsed();
    const loads = table.regions.list().flatMap(({ space, region }) => {
      const bytes = used.get(regionKey(space, region)) ?? 0;
      if (bytes === 0 || !mayGo(space, region)) return [];
      return [{ space, region, bytes, rate: rates.rateOf(space, region) }];
    });
    const bytes = this.#bytesToGive;
    const order = orderToGive(loads, bytes, donor.isPanic).slice(0, REGIONS_TO_GIVE_MAX);
    const regions = order.flatMap((index) => loads[index] ?? []);
    this.#told = regions;
    return { bytes, regions: bytes === 0 ? [] : regions };
  }

  /** Of all that use anything, in no order. */
  async sizes(): Promise<RegionsToGive> {
    const used = await this.#bytesUsed();
    let bytes = 0;
    const regions = this.#parts.table.regions.list().flatMap(({ space, region }) => {
      const own = used.get(regionKey(space, region)) ?? 0;
      bytes += own;
      return own === 0 ? [] : [{ space, region, bytes: own }];
    });
    return { bytes, regions };
  }

  /** By `regionKey`. Counted when it is needed: once for each region that moves. */
  async #bytesUsed(): Promise<Map<number, number>> {
    const { table, timers } = this.#parts;
    const { pages, pagesPerRegion, facts } = table;
    const used = new Map<number, number>();
    let turnEnds = ENTRIES_PER_TURN * ENTRY_WORDS;
    for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
      if (pages.frameOf(at) !== NO_FRAME) {
        const region = Math.floor(pages.pageOf(at) / pagesPerRegion);
        const key = regionKey(pages.spaceOf(at), region);
        used.set(key, (used.get(key) ?? 0) + facts.pageBytes);
      }
      if (at < turnEnds) continue;
      turnEnds = at + ENTRIES_PER_TURN * ENTRY_WORDS;
      await new Promise<void>((resolve) => timers.soon(resolve));
    }
    return used;
  }
}
