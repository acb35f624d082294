/**
 * The operations that are under way: one row of typed arrays each, and one promise.
 *
 * The row's number is the token that links carry. A row ends when all its pieces have ended and
 * nothing more of it will be sent; the first failure is what it ends with. Rows are taken again
 * at once, because a link tells exactly once how a piece ended.
 */

import { assert } from '../base/assert.js';
import { type Outcome, Status } from '../base/status.js';
import type { CompletionSink, OperationColumns } from '../fabric/link.js';
import type { Barriers, Generation } from './barriers.js';
import type { MovedPlace } from './put-back.js';
import { ignore, type MemrackError, unawaited } from './error.js';

export const Kind = { Read: 0, Write: 1, CompareAndSwap: 2, FetchAndAdd: 3 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Unfinished operations of one space; one more is refused as `Busy`. */
export const OPERATIONS_MAX = 65_536;
/** Few: every window has a table too. */
const FIRST_ROWS = 64;

export interface Range {
  readonly address: number;
  readonly bytes: number;
}

/** How an operation ended that did not succeed. */
export interface Failed {
  readonly kind: Kind;
  /** All that it reads or writes. */
  readonly ranges: readonly Range[];
  readonly address: number;
  readonly bytes: number;
  readonly status: Status;
  readonly outcome: Outcome;
  /** A write of several pieces of which some were applied: the range is a mixture. */
  readonly isPartial: boolean;
}

/** Makes the error; a promise when it has to be found out what became of the data. */
export type Judge = (failed: Failed) => MemrackError | Promise<MemrackError>;

/** Told when a piece of its operation has ended, so that it can send the next one. */
export interface Issuer {
  readonly ranges: readonly Range[];
  pieceEnded(status: Status): void;
  /** All pieces have ended and none follows. */
  operationEnded(): void;
}

export type PutBack = (sink: CompletionSink, from: MovedPlace) => void;

export type Resolve = (value: unknown) => void;
export type Reject = (reason: unknown) => void;

export class OperationTable implements CompletionSink {
  readonly #barriers: Barriers;
  readonly #judge: Judge;
  readonly #putBack: PutBack | undefined;
  #capacity = FIRST_ROWS;
  #free: Int32Array;
  #freeCount = FIRST_ROWS;
  #kinds = new Uint8Array(FIRST_ROWS);
  /** Pieces that have not ended, and one more while others are still to be sent. */
  #left = new Int32Array(FIRST_ROWS);
  #addresses = new Float64Array(FIRST_ROWS);
  #bytes = new Float64Array(FIRST_ROWS);
  /** The first failure of a piece; `Ok` while there is none. */
  #statuses = new Uint8Array(FIRST_ROWS);
  #isUnknown = new Uint8Array(FIRST_ROWS);
  #isApplied = new Uint8Array(FIRST_ROWS);
  /** The old value of an atomic. */
  #lows = new Uint32Array(FIRST_ROWS);
  #highs = new Uint32Array(FIRST_ROWS);
  readonly #results: unknown[] = [];
  readonly #promises: (Promise<unknown> | undefined)[] = [];
  readonly #resolves: (Resolve | undefined)[] = [];
  readonly #rejects: (Reject | undefined)[] = [];
  readonly #generations: (Generation | undefined)[] = [];
  readonly #issuers: (Issuer | undefined)[] = [];
  #resolveMade: Resolve | undefined;
  #rejectMade: Reject | undefined;
  /** One function for all promises: a closure per operation would cost as much as the rest. */
  readonly #capture = (resolve: Resolve, reject: Reject): void => {
    this.#resolveMade = resolve;
    this.#rejectMade = reject;
  };

  /** `putBack` takes pieces whose region has moved; each is told again, as a piece of its row. */
  constructor(barriers: Barriers, judge: Judge, putBack?: PutBack) {
    this.#barriers = barriers;
    this.#putBack = putBack;
    this.#judge = judge;
    this.#free = Int32Array.from({ length: FIRST_ROWS }, (_, i) => FIRST_ROWS - 1 - i);
  }

  /** Operations that have ended since the beginning. */
  ended = 0;

  get open(): number {
    return this.#capacity - this.#freeCount;
  }

  /** Takes a row for `pieces` pieces (see `hold`); -1 when there are too many operations. */
  begin(kind: Kind, address: number, bytes: number, pieces: number, result: unknown): number {
    if (this.#freeCount === 0 && !this.#grow()) return -1;
    this.#freeCount -= 1;
    const row = this.#free[this.#freeCount] as number;
    this.#kinds[row] = kind;
    this.#left[row] = pieces;
    this.#addresses[row] = address;
    this.#bytes[row] = bytes;
    this.#statuses[row] = Status.Ok;
    this.#isUnknown[row] = 0;
    this.#isApplied[row] = 0;
    this.#results[row] = result;
    this.#generations[row] = this.#barriers.started();
    this.#promises[row] = new Promise(this.#capture);
    this.#resolves[row] = this.#resolveMade;
    this.#rejects[row] = this.#rejectMade;
    return row;
  }

  promise(row: number): Promise<unknown> {
    return this.#promises[row] as Promise<unknown>;
  }

  issuedBy(row: number, issuer: Issuer): void {
    this.#issuers[row] = issuer;
  }

  /** Another piece of the row is about to be sent. */
  hold(row: number): void {
    this.#left[row] = (this.#left[row] as number) + 1;
  }

  /** The one more of `begin` with `pieces` = 1 is given back: all pieces are sent. */
  unhold(row: number): void {
    this.#pieceEnded(row);
  }

  /** Fails the row without a piece: the rest of it will not be sent. */
  fail(row: number, status: Status, outcome: Outcome): void {
    if (this.#statuses[row] === Status.Ok) this.#statuses[row] = status;
    if (outcome === 'unknown') this.#isUnknown[row] = 1;
  }

  /** A part of it was done before it became a row. */
  applied(row: number): void {
    this.#isApplied[row] = 1;
  }

  /** One that was done at once and failed: told as any other. */
  failedAtOnce(failed: Failed): Promise<never> {
    const generation = this.#barriers.started();
    const judged = Promise.resolve(this.#judge(failed));
    const promise = judged.then((error): never => {
      this.#barriers.ended(generation, error);
      throw error;
    });
    return unawaited(promise);
  }

  hasFailed(row: number): boolean {
    return this.#statuses[row] !== Status.Ok;
  }

  moved(row: number, ring: OperationColumns, place: number, offset: number, bytes: number): void {
    if (this.#putBack === undefined) return;
    this.hold(row);
    this.#putBack(this, { token: row, ring, place, offset, bytes });
  }

  completed(row: number, status: Status, outcome: Outcome, low: number, high: number): void {
    const isPutBack = status === Status.Moved && this.#putBack !== undefined;
    // Nothing was executed, and what was to be is a piece of its own now.
    if (isPutBack) {
      this.#pieceEnded(row);
      return;
    }
    if (status === Status.Ok) {
      this.#isApplied[row] = 1;
      this.#lows[row] = low;
      this.#highs[row] = high;
    } else {
      this.fail(row, status, outcome);
    }
    this.#issuers[row]?.pieceEnded(status);
    this.#pieceEnded(row);
  }

  #pieceEnded(row: number): void {
    const left = (this.#left[row] as number) - 1;
    assert(left >= 0, 'a piece ended twice');
    this.#left[row] = left;
    if (left === 0) this.#end(row);
  }

  #end(row: number): void {
    const issuer = this.#issuers[row];
    if (issuer !== undefined) {
      this.#issuers[row] = undefined;
      issuer.operationEnded();
    }
    if (this.#statuses[row] === Status.Ok) this.#succeed(row);
    else this.#reportFailure(row, issuer?.ranges);
  }

  #succeed(row: number): void {
    const resolve = this.#resolves[row] as Resolve;
    const generation = this.#generations[row] as Generation;
    const isAtomic = (this.#kinds[row] as number) >= Kind.CompareAndSwap;
    const result = isAtomic ? this.#oldValue(row) : this.#results[row];
    this.#release(row);
    resolve(result);
    this.#barriers.ended(generation, undefined);
  }

  #oldValue(row: number): bigint {
    const high = this.#highs[row] as number;
    const low = this.#lows[row] as number;
    return high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low);
  }

  #reportFailure(row: number, ranges: readonly Range[] | undefined): void {
    const promise = this.#promises[row] as Promise<unknown>;
    const reject = this.#rejects[row] as Reject;
    const generation = this.#generations[row] as Generation;
    const failed = this.#describe(row, ranges);
    this.#release(row);
    // Only now, so that success costs no second promise.
    promise.catch(ignore);
    const told = (error: MemrackError): void => {
      reject(error);
      this.#barriers.ended(generation, error);
    };
    const error = this.#judge(failed);
    if (error instanceof Promise) void error.then(told);
    else told(error);
  }

  #describe(row: number, ranges: readonly Range[] | undefined): Failed {
    const kind = this.#kinds[row] as Kind;
    const address = this.#addresses[row] as number;
    const bytes = this.#bytes[row] as number;
    const isPartial = kind === Kind.Write && this.#isApplied[row] === 1;
    return {
      kind,
      ranges: ranges ?? [{ address, bytes }],
      address,
      bytes,
      status: this.#statuses[row] as Status,
      outcome: this.#isUnknown[row] === 1 || isPartial ? 'unknown' : 'notApplied',
      isPartial,
    };
  }

  #release(row: number): void {
    this.#results[row] = undefined;
    this.#promises[row] = undefined;
    this.#resolves[row] = undefined;
    this.#rejects[row] = undefined;
    this.#generations[row] = undefined;
    this.#free[this.#freeCount] = row;
    this.#freeCount += 1;
    this.ended += 1;
  }

  #grow(): boolean {
    const before = this.#capacity;
    if (before >= OPERATIONS_MAX) return false;
    const after = before * 2;
    const wider = <T extends { set(from: T): void }>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#kinds = wider(this.#kinds, new Uint8Array(after));
    this.#left = wider(this.#left, new Int32Array(after));
    this.#addresses = wider(this.#addresses, new Float64Array(after));
    this.#bytes = wider(this.#bytes, new Float64Array(after));
    this.#statuses = wider(this.#statuses, new Uint8Array(after));
    this.#isUnknown = wider(this.#isUnknown, new Uint8Array(after));
    this.#isApplied = wider(this.#isApplied, new Uint8Array(after));
    this.#lows = wider(this.#lows, new Uint32Array(after));
    this.#highs = wider(this.#highs, new Uint32Array(after));
    this.#free = new Int32Array(after);
    for (let i = 0; i < before; i++) this.#free[i] = after - 1 - i;
    this.#freeCount = before;
    this.#capacity = after;
    return true;
  }
}
