/**
 * The leases that a node knows, in the table file, because an epoch must never fall back while the
 * memory is there.
 *
 *   record   word 0      1: used; 0: the record is empty
 *            word 1      epoch, only ever raised
 *            word 2, 3   number of the lease, low and high
 *            word 4, 5   client that holds it, low and high; 0: nobody
 *            word 6      for how long it is granted, in milliseconds; without a holder not 0: the
 *                        epoch is used up (src/leases/record.ts)
 *            word 7      reserved
 *
 * The record of lease 0 is the floor: no lease that has no record has had a higher epoch.
 * A record is filled before word 0 is stored. When it runs out stands in no file: a new process
 * gives every lease its full time again.
 */

import { assert } from '../base/assert.js';
import { readU32, readU53, type StoreWord, storeU53, storeWord } from './layout.js';

export const LEASES_MAX = 4096;
const RECORD_WORDS = 8;
export const LEASE_TABLE_BYTES = LEASES_MAX * RECORD_WORDS * 4;
const USED = 0;
const EPOCH = 1;
const LEASE = 2;
const HOLDER = 4;
const DURATION = 6;

export interface LeaseRecord {
  readonly lease: number;
  readonly epoch: number;
  /** 0: nobody. */
  readonly holder: number;
  readonly durationMs: number;
}

export class LeaseTable {
  readonly #words: Int32Array;
  readonly #store: StoreWord;
  /** Where each lease stands; read from the words at start. */
  readonly #places = new Map<number, number>();
  readonly #empty: number[] = [];

  constructor(words: Int32Array, first: number, store: StoreWord = storeWord) {
    this.#words = words;
    this.#store = store;
    for (let i = LEASES_MAX - 1; i >= 0; i--) {
      const at = first + i * RECORD_WORDS;
      if (words[at + USED] === 0) this.#empty.push(at);
      else this.#places.set(readU53(words, at + LEASE), at);
    }
  }

  get size(): number {
    return this.#places.size;
  }

  get(lease: number): LeaseRecord | undefined {
    const at = this.#places.get(lease);
    if (at === undefined) return undefined;
    return {
      lease,
      epoch: readU32(this.#words, at + EPOCH),
      holder: readU53(this.#words, at + HOLDER),
      durationMs: readU32(this.#words, at + DURATION),
    };
  }

  list(): LeaseRecord[] {
    return [...this.#places.keys()].map((lease) => this.get(lease) as LeaseRecord);
  }

  /** False: there is no room for one more. The epoch of a known one only rises. */
  put(record: LeaseRecord): boolean {
    const known = this.#places.get(record.lease);
    const at = known ?? this.#empty.pop();
    if (at === undefined) return false;
    if (known !== undefined) {
      assert(record.epoch >= readU32(this.#words, at + EPOCH), 'the epoch of a lease falls');
      // Nobody first: a process that dies in between leaves no holder of an epoch it never had.
      storeU53(this.#store, this.#words, at + HOLDER, 0);
    }
    this.#store(this.#words, at + EPOCH, record.epoch);
    this.#store(this.#words, at + DURATION, record.durationMs);
    storeU53(this.#store, this.#words, at + LEASE, record.lease);
    storeU53(this.#store, this.#words, at + HOLDER, record.holder);
    this.#store(this.#words, at + USED, 1);
    this.#places.set(record.lease, at);
    return true;
  }

  remove(lease: number): void {
    const at = this.#places.get(lease);
    if (at === undefined) return;
    this.#store(this.#words, at + USED, 0);
    this.#places.delete(lease);
    this.#empty.push(at);
  }
}
