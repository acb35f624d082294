/**
 * The regions that a memory node holds, as the controller granted them.
 *
 *   entry    word 0   space
 *            word 1   index of the region in the space
 *            word 2   epoch of the grant
 *            word 3   1: held; 2: being handed over, nobody is served; 0: the entry is empty
 *
 * As in the page table an entry is filled before its last word is stored. A new epoch is one store.
 *
 * Of a region that has come from another file some more entries tell under which openings of the
 * files before everything that was acknowledged is in this one (docs/internals/moves.md):
 *
 *            word 2   an opening
 *            word 3   3, and above its two lowest bits the place in their order, the oldest first
 */

import { assert } from '../base/assert.js';
import { regionKey } from '../base/region-key.js';
import { type StoreWord, storeWord } from './layout.js';

const WORDS = 4;
export const REGION_ENTRY_BYTES = 4 * WORDS;
const SPACE = 0;
const REGION = 1;
const EPOCH = 2;
const STATE = 3;
const HELD = 1;
/** Another node may hold it already (docs/internals/moves.md). */
const HANDING = 2;
/** No region, but an opening of a file in which one was before. */
const OPENING = 3;
const STATE_MASK = 3;
const ORDER_SHIFT = 2;
/** Of one region; a client that has left something unflushed for longer is told that it is lost. */
export const REGION_OPENINGS_MAX = 8;

/** One opening of a file before, and where it stands. */
interface OpeningEntry {
  readonly at: number;
  readonly order: number;
  readonly opening: number;
}

export interface RegionGrant {
  readonly space: number;
  readonly region: number;
  readonly epoch: number;
}

export class RegionTable {
  readonly entries: number;
  readonly #words: Int32Array;
  readonly #store: StoreWord;
  /** Where each region stands; read from the words at start. */
  readonly #places = new Map<number, number>();
  /** By the same key: a number for as long as the region is held without a break. */
  readonly #holdings = new Map<number, number>();
  #nextHolding = 1;
  readonly #regionsOfSpace = new Map<number, number>();
  /** By the same key, in their order. */
  readonly #openings = new Map<number, OpeningEntry[]>();
  readonly #empty: number[] = [];

  constructor(words: Int32Array, first: number, entries: number, store: StoreWord = storeWord) {
    this.#words = words;
    this.entries = entries;
    this.#store = store;
    for (let i = 0; i < entries; i++) {
      const at = first + i * WORDS;
      const state = words[at + STATE] as number;
      if (state === 0) this.#empty.push(at);
      else if ((state & STATE_MASK) === OPENING) this.#noteOpening(at, state >>> ORDER_SHIFT);
      else this.#note(at, 1);
    }
    // Taken from the end: the first ones first.
    this.#empty.reverse();
  }

  #note(at: number, change: 1 | -1): void {
    const { space, region } = this.#grantAt(at);
    const key = regionKey(space, region);
    if (change === 1) {
      this.#places.set(key, at);
      this.#holdings.set(key, this.#nextHolding++);
    } else {
      this.#places.delete(key);
      this.#holdings.delete(key);
    }
    const count = (this.#regionsOfSpace.get(space) ?? 0) + change;
    if (count === 0) this.#regionsOfSpace.delete(space);
    else this.#regionsOfSpace.set(space, count);
  }

  #noteOpening(at: number, order: number): void {
    const { space, region, epoch: opening } = this.#grantAt(at);
    const key = regionKey(space, region);
    const known = [...(this.#openings.get(key) ?? []), { at, order, opening }];
    known.sort((a, b) => a.order - b.order);
    this.#openings.set(key, known);
  }

  #grantAt(at: number): RegionGrant {
    return {
      space: (this.#words[at + SPACE] as number) >>> 0,
      region: (this.#words[at + REGION] as number) >>> 0,
      epoch: (this.#words[at + EPOCH] as number) >>> 0,
    };
  }

  get size(): number {
    return this.#places.size;
  }

  /** Openings of before make room for regions. */
  get isFull(): boolean {
    return this.#empty.length === 0 && this.#openings.size === 0;
  }

  holds(space: number, region: number): boolean {
    return this.#places.has(regionKey(space, region));
  }

  /**
   * A number that stays the same while the region is held, also under a higher epoch, and that no
   * later holding has: for who comes back to a region after a pause. Undefined: it is not held.
   */
  holdingOf(space: number, region: number): number | undefined {
    return this.#holdings.get(regionKey(space, region));
  }

  holdsAnyOf(space: number): boolean {
    return this.#regionsOfSpace.has(space);
  }

  /** Undefined where the node does not hold the region. */
  epochOf(space: number, region: number): number | undefined {
    const at = this.#places.get(regionKey(space, region));
    return at === undefined ? undefined : (this.#words[at + EPOCH] as number) >>> 0;
  }

  isHanding(space: number, region: number): boolean {
    const at = this.#places.get(regionKey(space, region));
    return at !== undefined && this.#words[at + STATE] === HANDING;
  }

  /** Of a region that is held: whether it is in doubt who holds it. One store. */
  setHanding(space: number, region: number, isHanding: boolean): void {
    const at = this.#places.get(regionKey(space, region));
    assert(at !== undefined, 'a region that is not held is handed over');
    this.#store(this.#words, at + STATE, isHanding ? HANDING : HELD);
  }

  /** Adds the region, or gives it the new epoch; the caller has compared epochs. */
  put(grant: RegionGrant): boolean {
    const held = this.#places.get(regionKey(grant.space, grant.region));
    if (held !== undefined) {
      this.#store(this.#words, held + EPOCH, grant.epoch);
      return true;
    }
    const at = this.#empty.pop() ?? this.#dropOpening();
    if (at === undefined) return false;
    this.#store(this.#words, at + SPACE, grant.space);
    this.#store(this.#words, at + REGION, grant.region);
    this.#store(this.#words, at + EPOCH, grant.epoch);
    this.#store(this.#words, at + STATE, HELD);
    this.#note(at, 1);
    return true;
  }

  remove(space: number, region: number): void {
    const at = this.#places.get(regionKey(space, region));
    if (at === undefined) return;
    this.#store(this.#words, at + STATE, 0);
    this.#note(at, -1);
    this.#empty.push(at);
    this.#removeOpenings(regionKey(space, region));
  }

  /**
   * Openings of files in which the region was before, the oldest first: what was acknowledged under
   * them is in this file.
   */
  openingsOf(space: number, region: number): number[] {
    const known = this.#openings.get(regionKey(space, region)) ?? [];
    return known.map(({ opening }) => opening);
  }

  /**
   * The same of a region that is about to be held. Where there is no room for all of them and the
   * region the oldest are left out.
   */
  putOpenings(space: number, region: number, openings: readonly number[]): void {
    const key = regionKey(space, region);
    this.#removeOpenings(key);
    const count = Math.max(0, Math.min(REGION_OPENINGS_MAX, this.#empty.length - 1));
    const kept = count === 0 ? [] : openings.slice(-count);
    for (const [order, opening] of kept.entries()) {
      const at = this.#empty.pop() as number;
      this.#store(this.#words, at + SPACE, space);
      this.#store(this.#words, at + REGION, region);
      this.#store(this.#words, at + EPOCH, opening);
      this.#store(this.#words, at + STATE, OPENING | (order << ORDER_SHIFT));
      this.#noteOpening(at, order);
    }
  }

  /** Of a process that died between them and their region: they mean nothing. */
  dropLooseOpenings(): void {
    for (const key of [...this.#openings.keys()]) {
      if (!this.#places.has(key)) this.#removeOpenings(key);
    }
  }

  /** The oldest one of the region that has most of them; what names it is told as lost. */
  #dropOpening(): number | undefined {
    let most: readonly OpeningEntry[] = [];
    let of = -1;
    for (const [key, known] of this.#openings) {
      if (known.length > most.length) [most, of] = [known, key];
    }
    const [oldest, ...others] = most;
    if (oldest === undefined) return undefined;
    this.#store(this.#words, oldest.at + STATE, 0);
    if (others.length > 0) this.#openings.set(of, others);
    else this.#openings.delete(of);
    return oldest.at;
  }

  #removeOpenings(key: number): void {
    for (const { at } of this.#openings.get(key) ?? []) {
      this.#store(this.#words, at + STATE, 0);
      this.#empty.push(at);
    }
    this.#openings.delete(key);
  }

  /** All of them, in no order that means anything. */
  list(): RegionGrant[] {
    return [...this.#places.values()].map((at) => this.#grantAt(at));
  }
}
