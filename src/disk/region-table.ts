/**
 * The regions that a memory node holds, as the controller granted them.
 *
 *   entry    word 0   space
 *            word 1   index of the region in the space
 *            word 2   epoch of the grant
 *            word 3   1: held; 2: being handed over, nobody is served; 0: the entry is empty
 *
 * As in the page table an entry is filled before its last word is stored. A new epoch is one store.
 */

import { assert } from '../base/assert.js';
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

/** More than a space can have; a key stays below 2^53. */
const REGION_STRIDE = 2 ** 24;

/** One number for both. */
export function regionKey(space: number, region: number): number {
  assert(region < REGION_STRIDE, 'it would be the key of another space');
  return space * REGION_STRIDE + region;
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
  readonly #empty: number[] = [];

  constructor(words: Int32Array, first: number, entries: number, store: StoreWord = storeWord) {
    this.#words = words;
    this.entries = entries;
    this.#store = store;
    for (let i = 0; i < entries; i++) {
      const at = first + i * WORDS;
      if (words[at + STATE] === 0) this.#empty.push(at);
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

  get isFull(): boolean {
    return this.#empty.length === 0;
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
    const at = this.#empty.pop();
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
  }

  /** All of them, in no order that means anything. */
  list(): RegionGrant[] {
    return [...this.#places.values()].map((at) => this.#grantAt(at));
  }
}
