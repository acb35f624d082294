/** The last blocks of copies of slabs, where their owner records stand (src/disk/slab-owner.ts). */

import { assert } from '../base/assert.js';
import type { PageTable } from '../disk/page-table.js';
import {
  OWNER_BLOCK_BYTES,
  OWNER_PLACES,
  OWNER_RECORD_BYTES,
  putOwner,
  readOwner,
  type SlabOwner,
  TORN_AT,
  TORN_BYTES,
} from '../disk/slab-owner.js';
import type { Bytes } from '../runtime/network.js';
import { TORN_PAGES_MAX } from '../wire/limits.js';
import { ACCESS_DONE, type Access } from './access/access.js';

/** Nobody's: the page has its frame. */
const NO_SLOT = -1;
const NO_RESERVATION = 0;
/** In place of a page: all of them. */
export const ALL_PAGES = 2 ** 32;
const NO_PAGE = -1;

export class OwnerBlocks {
  readonly #pages: PageTable;
  readonly #pageBytes: number;
  readonly #access: Pick<Access, 'read' | 'write'>;
  readonly #record = bytesOf(OWNER_RECORD_BYTES);
  readonly #torn = bytesOf(TORN_PAGES_MAX * TORN_BYTES);
  readonly #word = bytesOf(TORN_BYTES);

  constructor(pages: PageTable, pageBytes: number, access: Pick<Access, 'read' | 'write'>) {
    this.#pages = pages;
    this.#pageBytes = pageBytes;
    this.#access = access;
  }

  /** Of the copy that ends there. Undefined: it has no record. */
  read(space: number, end: number): { owner: SlabOwner; place: number } | undefined {
    let found: { owner: SlabOwner; place: number } | undefined;
    for (let place = 0; place < OWNER_PLACES; place++) {
      const entry = this.#entryOf(space, end);
      this.#access.read(entry, this.#offset(place), OWNER_RECORD_BYTES, this.#record, 0);
      const owner = readOwner(this.#record.words);
      const isLater = owner !== undefined && owner.generation >= (found?.owner.generation ?? 0);
      if (isLater) found = { owner, place };
    }
    return found;
  }

  /** Not where the last one stands: a process may be killed between two words. */
  write(space: number, end: number, place: number, owner: SlabOwner): void {
    putOwner(this.#record.words, owner);
    const entry = this.#entryOf(space, end);
    const at = this.#offset(place);
    const bytes = OWNER_RECORD_BYTES;
    const done = this.#access.write(entry, NO_SLOT, NO_RESERVATION, at, bytes, this.#record, 0);
    assert(done === ACCESS_DONE, 'the last page of a copy has no frame');
  }

  /** Numbers of the copy's pages that may have half of a write, or `ALL_PAGES` among them. */
  torn(space: number, end: number): number[] {
    const { bytes, wide } = this.#torn;
    this.#access.read(this.#entryOf(space, end), this.#tornAt(0), bytes.length, this.#torn, 0);
    return [...wide].filter((word) => word !== 0n).map((word) => Number(word) - 1);
  }

  /** Before anybody forgets who was at work there. */
  noteTorn(space: number, end: number, page: number): void {
    const known = this.torn(space, end);
    if (known.includes(page) || known.includes(ALL_PAGES)) return;
    const place = this.#torn.wide.indexOf(0n);
    if (place < 0) this.#putTorn(space, end, 0, ALL_PAGES);
    else this.#putTorn(space, end, place, page);
  }

  forgetTorn(space: number, end: number, page: number): void {
    if (!this.torn(space, end).includes(page)) return;
    const place = this.#torn.wide.indexOf(BigInt(page + 1));
    this.#putTorn(space, end, place, NO_PAGE);
  }

  #putTorn(space: number, end: number, place: number, page: number): void {
    const word = this.#word;
    word.wide[0] = BigInt(page + 1);
    const entry = this.#entryOf(space, end);
    const at = this.#tornAt(place);
    const done = this.#access.write(entry, NO_SLOT, NO_RESERVATION, at, TORN_BYTES, word, 0);
    assert(done === ACCESS_DONE, 'the last page of a copy has no frame');
  }

  #tornAt(place: number): number {
    return this.#pageBytes - OWNER_BLOCK_BYTES + TORN_AT + place * TORN_BYTES;
  }

  #entryOf(space: number, end: number): number {
    return this.#pages.find(space, end / this.#pageBytes - 1);
  }

  #offset(place: number): number {
    return this.#pageBytes - OWNER_BLOCK_BYTES + place * OWNER_RECORD_BYTES;
  }
}

/** What is copied to and from a page. */
function bytesOf(length: number): Bytes & { readonly wide: BigUint64Array } {
  const buffer = new ArrayBuffer(length);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
    wide: new BigUint64Array(buffer),
  };
}
