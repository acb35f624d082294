/**
 * What one connection has under way, as rows of typed arrays: requests that are not answered, and
 * the pieces of them that are at work or wait to be sent.
 *
 *   request --first--> piece --next--> piece ...      (only where the order of pieces counts)
 */

import { assert } from '../../base/assert.js';

/** Numbers of rows that are free, last given back first. */
class FreeRows {
  readonly #rows: Int32Array;
  #count: number;

  constructor(rows: number) {
    this.#rows = Int32Array.from({ length: rows }, (_, i) => rows - 1 - i);
    this.#count = rows;
  }

  get count(): number {
    return this.#count;
  }

  take(): number {
    assert(this.#count > 0, 'no row is free');
    return this.#rows[--this.#count] as number;
  }

  give(row: number): void {
    assert(this.#count < this.#rows.length, 'a row was given back twice');
    this.#rows[this.#count++] = row;
  }
}

/** How the data of a read travel. */
export const ReadForm = {
  /** No read. */
  NONE: 0,
  /** Each piece is a chunk of its own, in any order. */
  CHUNKS: 1,
  /** One header, then all bytes in order. */
  WHOLE: 2,
} as const;

export class RequestTable {
  readonly capacity: number;
  readonly type: Uint16Array;
  readonly flags: Uint16Array;
  readonly form: Uint8Array;
  readonly cookieHigh: Uint32Array;
  readonly cookieLow: Uint32Array;
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  /** Bytes whose pieces were begun. */
  readonly begun: Uint32Array;
  /** 1: nothing more will be begun. */
  readonly isBegun: Uint8Array;
  /** 1: it stands in the queue of what is to be sent. */
  readonly isQueued: Uint8Array;
  /** Pieces begun and not finished; of reads in chunks: not sent. */
  readonly left: Int32Array;
  /** `Ok`, or the first failure: a status or a refusal. */
  readonly end: Uint8Array;
  /** Where in the export the first failure was; -1: not at a place. */
  readonly failedAt: Float64Array;
  /** Pieces in order, of those that are kept so; -1: none. */
  readonly first: Int32Array;
  readonly last: Int32Array;
  readonly #free: FreeRows;

  constructor(rows: number) {
    this.capacity = rows;
    this.type = new Uint16Array(rows);
    this.flags = new Uint16Array(rows);
    this.form = new Uint8Array(rows);
    this.cookieHigh = new Uint32Array(rows);
    this.cookieLow = new Uint32Array(rows);
    this.offset = new Float64Array(rows);
    this.length = new Uint32Array(rows);
    this.begun = new Uint32Array(rows);
    this.isBegun = new Uint8Array(rows);
    this.isQueued = new Uint8Array(rows);
    this.left = new Int32Array(rows);
    this.end = new Uint8Array(rows);
    this.failedAt = new Float64Array(rows);
    this.first = new Int32Array(rows);
    this.last = new Int32Array(rows);
    this.#free = new FreeRows(rows);
  }

  get free(): number {
    return this.#free.count;
  }

  get used(): number {
    return this.capacity - this.#free.count;
  }

  /** A row whose fields say that nothing has been done; the caller sets what was asked for. */
  take(): number {
    const row = this.#free.take();
    this.form[row] = ReadForm.NONE;
    this.begun[row] = 0;
    this.isBegun[row] = 0;
    this.isQueued[row] = 0;
    this.left[row] = 0;
    this.end[row] = 0;
    this.failedAt[row] = -1;
    this.first[row] = -1;
    this.last[row] = -1;
    return row;
  }

  give(row: number): void {
    assert(this.left[row] === 0 && this.first[row] === -1, 'a request with pieces is over');
    this.#free.give(row);
  }
}

export class PieceTable {
  readonly capacity: number;
  /** -1: the row is free. */
  readonly request: Int32Array;
  readonly offset: Float64Array;
  readonly bytes: Int32Array;
  /** 1: the backend is done with it. */
  readonly isDone: Uint8Array;
  readonly next: Int32Array;
  readonly buffer: (Uint8Array | undefined)[];
  readonly #free: FreeRows;

  constructor(rows: number) {
    this.capacity = rows;
    this.request = new Int32Array(rows).fill(-1);
    this.offset = new Float64Array(rows);
    this.bytes = new Int32Array(rows);
    this.isDone = new Uint8Array(rows);
    this.next = new Int32Array(rows);
    this.buffer = Array.from({ length: rows }, () => undefined);
    this.#free = new FreeRows(rows);
  }

  get free(): number {
    return this.#free.count;
  }

  take(request: number, offset: number, bytes: number, buffer: Uint8Array | undefined): number {
    const row = this.#free.take();
    this.request[row] = request;
    this.offset[row] = offset;
    this.bytes[row] = bytes;
    this.isDone[row] = 0;
    this.next[row] = -1;
    this.buffer[row] = buffer;
    return row;
  }

  /** Its buffer is the caller's again. */
  give(row: number): void {
    assert((this.request[row] as number) >= 0, 'a piece is over twice');
    this.request[row] = -1;
    this.buffer[row] = undefined;
    this.#free.give(row);
  }
}

/** A bounded queue of integers. */
export class IndexQueue {
  readonly #items: Int32Array;
  readonly #mask: number;
  #head = 0;
  #tail = 0;

  constructor(capacity: number) {
    const length = 2 ** (32 - Math.clz32(Math.max(1, capacity - 1)));
    this.#items = new Int32Array(length);
    this.#mask = length - 1;
  }

  get isEmpty(): boolean {
    return this.#head === this.#tail;
  }

  push(item: number): void {
    assert(((this.#tail - this.#head) | 0) <= this.#mask, 'a queue that is full');
    this.#items[this.#tail & this.#mask] = item;
    this.#tail = (this.#tail + 1) | 0;
  }

  peek(): number {
    return this.#items[this.#head & this.#mask] as number;
  }

  shift(): void {
    this.#head = (this.#head + 1) | 0;
  }
}
