/**
 * What one connection has under way: its requests and pieces, the buffers that pieces have, and how
 * many of them the backend is at work on.
 */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';
import type { NbdCounters } from './counters.js';
import { type NbdLimits, PIECE_BYTES } from './limits.js';
import { bufferBytes, type BufferPool } from './pool.js';
import { failureOf } from './refusal.js';
import { PieceTable, RequestTable } from './requests.js';

export class UnderWay {
  readonly requests: RequestTable;
  readonly pieces: PieceTable;
  /** Of all buffers that pieces have. */
  bufferBytes = 0;
  /** Pieces that the backend is at work on. */
  operations = 0;
  /** What was done in this turn, in bytes, roughly. */
  work = 0;
  readonly #limits: NbdLimits;
  readonly #pool: BufferPool;
  readonly #counters: NbdCounters;

  constructor(limits: NbdLimits, pool: BufferPool, counters: NbdCounters) {
    this.requests = new RequestTable(limits.requests);
    this.pieces = new PieceTable(limits.pieces);
    this.#limits = limits;
    this.#pool = pool;
    this.#counters = counters;
  }

  /** A piece that is handed to the backend. */
  begin(request: number, offset: number, bytes: number, buffer: Uint8Array | undefined): number {
    const piece = this.pieces.take(request, offset, bytes, buffer);
    this.requests.left[request] = (this.requests.left[request] as number) + 1;
    this.operations++;
    this.#counters.piecesQueued++;
    return piece;
  }

  /** Whether there is a row for a piece, without the last one. */
  get hasPiece(): boolean {
    return this.pieces.free > 1;
  }

  /**
   * The same with a buffer of its own; -1: there is none to be had yet. The last row, and the room
   * for one more buffer, are kept for the piece that the output waits for, `isAwaited`: what else
   * is here may stand behind it.
   */
  beginBuffered(request: number, offset: number, bytes: number, isAwaited: boolean): number {
    const length = bufferBytes(bytes);
    const kept = isAwaited ? 0 : PIECE_BYTES;
    if (this.bufferBytes + length > this.#limits.bufferBytes - kept) return -1;
    if (!this.hasPiece && !isAwaited) return -1;
    this.bufferBytes += length;
    return this.begin(request, offset, bytes, this.#pool.take(bytes));
  }

  bufferOf(piece: number): Uint8Array {
    const buffer = this.pieces.buffer[piece];
    assert(buffer !== undefined, 'a piece without a buffer');
    return buffer;
  }

  /** Behind the pieces of the request that are kept so. */
  keepInOrder(request: number, piece: number): void {
    const { first, last } = this.requests;
    if (first[request] === -1) first[request] = piece;
    else this.pieces.next[last[request] as number] = piece;
    last[request] = piece;
  }

  /** The piece is over, with its buffer. */
  give(piece: number): void {
    const buffer = this.pieces.buffer[piece];
    if (buffer !== undefined) {
      this.bufferBytes -= buffer.length;
      this.#pool.give(buffer);
    }
    this.pieces.give(piece);
  }

  /** The first of the pieces that are kept in order is over. */
  giveFirst(request: number): void {
    const { first } = this.requests;
    const piece = first[request] as number;
    first[request] = this.pieces.next[piece] as number;
    this.give(piece);
  }

  /** One piece less is waited for. */
  endPiece(request: number): void {
    this.requests.left[request] = (this.requests.left[request] as number) - 1;
    assert((this.requests.left[request] as number) >= 0, 'more pieces ended than were begun');
  }

  /** Nothing more will be begun of it, and no piece is left. */
  isDone(request: number): boolean {
    return this.requests.isBegun[request] === 1 && this.requests.left[request] === 0;
  }

  /** The first failure counts. */
  fail(request: number, status: number, offset: number): void {
    if (this.requests.end[request] !== Status.Ok) return;
    this.requests.end[request] = failureOf(status);
    this.requests.failedAt[request] = offset;
  }

  /** The last answer was sent. */
  answered(request: number): void {
    this.requests.isBegun[request] = 1;
    this.requests.give(request);
  }
}
