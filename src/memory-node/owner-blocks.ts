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
} from '../disk/slab-owner.js';
import type { Bytes } from '../runtime/network.js';
import { ACCESS_DONE, type Access } from './access/access.js';

/** Nobody's: the page has its frame. */
const NO_SLOT = -1;
const NO_RESERVATION = 0;

export class OwnerBlocks {
  readonly #pages: PageTable;
  readonly #pageBytes: number;
  readonly #access: Pick<Access, 'read' | 'write'>;
  readonly #record = recordBytes();

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

  #entryOf(space: number, end: number): number {
    return this.#pages.find(space, end / this.#pageBytes - 1);
  }

  #offset(place: number): number {
    return this.#pageBytes - OWNER_BLOCK_BYTES + place * OWNER_RECORD_BYTES;
  }
}

/** One record, as it is copied to and from a page. */
function recordBytes(): Bytes {
  const buffer = new ArrayBuffer(OWNER_RECORD_BYTES);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}
