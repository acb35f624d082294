/** Operations under way: one row of a table each, and no object. */

import { assert } from '../base/assert.js';
import { Columns } from '../base/columns.js';
import type { CompletionSink } from '../fabric/link.js';

/** `MERGE`: a write that is not of whole blocks; it is a `WRITE` as soon as they were read. */
export const Kind = { READ: 0, WRITE: 1, MERGE: 2 } as const;

/** What somebody wants of blocks that are read, or written, as a whole. */
export interface Part {
  readonly buffer: Uint8Array;
  readonly start: number;
  /** Where it begins in the blocks, and how long it is. */
  readonly at: number;
  readonly bytes: number;
}

/** More are refused as `Busy`. */
export const ROWS_MAX = 1024;
const ROW_BYTES = 8 + 8 + 8 + 8 + 8 + 4 + 4 + 7;

export class PieceRows {
  readonly token: Float64Array;
  readonly deadline: Float64Array;
  /** When one that waits may go on, where all that could be tried has failed. */
  readonly notBefore: Float64Array;
  /** When something was first sent for it; 0: nothing was. */
  readonly sentMs: Float64Array;
  /** Where in its buffer the bytes begin. */
  readonly start: Float64Array;
  readonly first: Uint32Array;
  /** How often something was sent for it; goes on when the row is used again. */
  readonly attempt: Uint32Array;
  readonly count: Uint8Array;
  readonly kind: Uint8Array;
  /** Bits of copies: asked and not answered. */
  readonly pending: Uint8Array;
  /** Bits of copies that have done it; of a read: whose bytes were not what was written. */
  readonly done: Uint8Array;
  /** Bits of copies that may have done it, or some of it; of a read: that were tried. */
  readonly tried: Uint8Array;
  /** 1: a copy may have it of an attempt that is forgotten, or made in place. */
  readonly mayHave: Uint8Array;
  /** How the last failure ended. */
  readonly status: Uint8Array;
  readonly buffer: (Uint8Array | undefined)[] = [];
  /** Of a part of the blocks; `buffer` is for the whole of them. */
  readonly part: (Part | undefined)[] = [];
  readonly sink: (CompletionSink | undefined)[] = [];
  readonly #isUsed = new Uint8Array(ROWS_MAX);
  readonly #free: number[] = [];
  #made = 0;

  constructor() {
    const columns = new Columns(ROWS_MAX * ROW_BYTES);
    this.token = columns.float64(ROWS_MAX);
    this.deadline = columns.float64(ROWS_MAX);
    this.notBefore = columns.float64(ROWS_MAX);
    this.sentMs = columns.float64(ROWS_MAX);
    this.start = columns.float64(ROWS_MAX);
    this.first = columns.uint32(ROWS_MAX);
    this.attempt = columns.uint32(ROWS_MAX);
    this.count = columns.uint8(ROWS_MAX);
    this.kind = columns.uint8(ROWS_MAX);
    this.pending = columns.uint8(ROWS_MAX);
    this.done = columns.uint8(ROWS_MAX);
    this.tried = columns.uint8(ROWS_MAX);
    this.mayHave = columns.uint8(ROWS_MAX);
    this.status = columns.uint8(ROWS_MAX);
  }

  /** -1: there are too many. The caller fills it in. */
  begin(): number {
    const row = this.#free.pop() ?? (this.#made < ROWS_MAX ? this.#made++ : -1);
    if (row < 0) return row;
    this.#isUsed[row] = 1;
    this.notBefore[row] = 0;
    this.sentMs[row] = 0;
    this.pending[row] = 0;
    this.done[row] = 0;
    this.tried[row] = 0;
    this.mayHave[row] = 0;
    this.status[row] = 0;
    return row;
  }

  end(row: number): void {
    assert(this.#isUsed[row] === 1, 'a row ends once');
    this.#isUsed[row] = 0;
    // What still comes for it is nobody's.
    this.attempt[row] = ((this.attempt[row] as number) + 1) >>> 0;
    this.buffer[row] = undefined;
    this.part[row] = undefined;
    this.sink[row] = undefined;
    this.#free.push(row);
  }

  isWithin(row: number, first: number, count: number): boolean {
    const begins = this.first[row] as number;
    return begins >= first && begins + (this.count[row] as number) <= first + count;
  }

  overlaps(row: number, first: number, count: number): boolean {
    const begins = this.first[row] as number;
    return begins < first + count && first < begins + (this.count[row] as number);
  }
}
