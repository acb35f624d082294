/**
 * The way of every read, write and atomic of a program:
 *
 *   arguments -> conflicts -> at once -> queued, one piece -> transfer
 *
 * An operation of one piece whose region and window are known, and that nothing waiting conflicts
 * with, is done at once where its link can do that, with one settled promise and no other object;
 * otherwise it goes to its link as a row of the table. What has several pieces, or is one of many,
 * is done at once as far as that goes (`AtOnce`); everything else is handed to `Transfer`.
 */

import { Status } from '../base/status.js';
import { type Link, NOT_NOW, type Window } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import type { Runtime } from '../runtime/runtime.js';
import { REGION_BYTES } from '../wire/limits.js';
import {
  badAddress,
  badBytes,
  badDelta,
  badLength,
  badMoves,
  badRange,
  badWord,
  badWordAddress,
  newBytes,
} from './arguments.js';
import { AtOnce } from './at-once.js';
import type { Barriers } from './barriers.js';
import { closed, MemrackError } from './error.js';
import { type Failures, type Life, VERBS } from './failures.js';
import { Kind, OperationTable } from './operations.js';
import { isOnePiece } from './pieces.js';
import type { Route, Routes } from './routes.js';
import type { Submission } from './submission.js';
import { type Item, type Operands, Transfer, type TransferParts } from './transfer.js';
import type { Turns } from './turns.js';
import type { Unflushed } from './unflushed.js';

export interface ReadItem {
  readonly at: number;
  readonly into: Uint8Array;
}

export interface WriteItem {
  readonly at: number;
  readonly from: Uint8Array;
}

/** What all that one client does in one space has in common. */
export interface SharedParts {
  readonly runtime: Runtime;
  readonly barriers: Barriers;
  readonly submission: Submission;
  readonly turns: Turns;
  readonly life: Life;
  readonly name: string;
  readonly pageBytes: number;
  readonly timeoutMs: number;
  /** Of memory on disks: what has to be flushed. */
  readonly unflushed: Unflushed | undefined;
}

const NO_BYTES = new Uint8Array(0);
const WORD_BYTES = 8;
const WATCH_MS = 1000;
/** What every write that is done at once returns. */
const DONE: Promise<void> = Promise.resolve();

export class DataPath {
  readonly #shared: SharedParts;
  readonly #submission: Submission;
  readonly #turns: Turns;
  readonly #life: Life;
  readonly #pageBytes: number;
  readonly #routes: Routes;
  readonly #table: OperationTable;
  readonly #parts: TransferParts;
  readonly #atOnce: AtOnce;
  readonly #word = new BigUint64Array(2);
  readonly #halves = new Uint32Array(this.#word.buffer);
  #deadline = 0;
  #isWatching = false;

  constructor(shared: SharedParts, routes: Routes, failures: Failures) {
    const { runtime, submission, pageBytes, timeoutMs, unflushed } = shared;
    this.#shared = shared;
    this.#submission = submission;
    this.#turns = shared.turns;
    this.#life = shared.life;
    this.#pageBytes = pageBytes;
    this.#routes = routes;
    this.#table = new OperationTable(
      shared.barriers,
      (failed) => failures.judge(failed),
      routes.putBack === undefined ? undefined : (sink, from) => routes.putBack?.(sink, from),
    );
    const table = this.#table;
    this.#parts = { runtime, table, submission, regions: routes, pageBytes, timeoutMs, unflushed };
    this.#atOnce = new AtOnce(pageBytes, (at, bytes, changes) => this.#route(at, bytes, changes));
  }

  /** Whether an operation is under way. */
  get isBusy(): boolean {
    return this.#table.open > 0;
  }

  read(at: number, lengthOrTarget: number | Uint8Array): Promise<Uint8Array> {
    const wrong =
      badAddress('at', at) ??
      (typeof lengthOrTarget === 'number'
        ? badLength('length', lengthOrTarget)
        : badBytes('target', lengthOrTarget));
    if (wrong !== undefined) return this.#refuse(wrong);
    let into: Uint8Array;
    if (typeof lengthOrTarget === 'number') {
      const made = newBytes(lengthOrTarget);
      if (made instanceof MemrackError) return this.#refuse(made);
      into = made;
    } else {
      into = lengthOrTarget;
    }
    return this.#move(Kind.Read, at, into) as Promise<Uint8Array>;
  }

  write(at: number, bytes: Uint8Array): Promise<void> {
    const wrong = badAddress('at', at) ?? badBytes('bytes', bytes);
    if (wrong !== undefined) return this.#refuse(wrong);
    return this.#move(Kind.Write, at, bytes) as Promise<void>;
  }

  readMany(reads: readonly ReadItem[]): Promise<void> {
    return this.#moveMany(Kind.Read, reads, intoOf);
  }

  writeMany(writes: readonly WriteItem[]): Promise<void> {
    return this.#moveMany(Kind.Write, writes, fromOf);
  }

  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint> {
    const wrong =
      badWordAddress(at) ?? badWord('expected', expected) ?? badWord('desired', desired);
    if (wrong !== undefined) return this.#refuse(wrong);
    this.#word[0] = expected;
    this.#word[1] = desired;
    return this.#atomic(Kind.CompareAndSwap, at);
  }

  fetchAndAdd(at: number, delta: bigint): Promise<bigint> {
    const wrong = badWordAddress(at) ?? badDelta(delta);
    if (wrong !== undefined) return this.#refuse(wrong);
    this.#word[0] = BigInt.asUintN(64, delta);
    return this.#atomic(Kind.FetchAndAdd, at);
  }

  #move(kind: Kind, at: number, buffer: Uint8Array): Promise<unknown> {
    const bytes = buffer.length;
    const route = this.#direct(at, bytes, kind !== Kind.Read);
    if (route?.window === undefined) {
      const wrong = badRange(at, bytes);
      if (wrong !== undefined) return this.#refuse(wrong);
      const result = kind === Kind.Read ? buffer : undefined;
      return this.#moveAll(kind, [{ at, buffer }], bufferOfRange, result);
    }
    const { link } = route.connection;
    const { window } = route;
    const isRead = kind === Kind.Read;
    const status = isRead
      ? link.readNow(window, at, buffer, 0, bytes)
      : link.writeNow(window, at, buffer, 0, bytes);
    if (status === Status.Ok) return this.#settled(isRead ? buffer : undefined, bytes);
    if (status !== NOT_NOW) return this.#failedAtOnce(kind, at, bytes, status as Status);
    const row = this.#table.begin(kind, at, bytes, 1, isRead ? buffer : undefined);
    if (row === -1) return this.#refuse(tooMany());
    const promise = this.#table.promise(row);
    const deadline = this.#nextDeadline();
    if (isRead) link.read(window, at, buffer, 0, bytes, this.#table, row, deadline);
    else link.write(window, at, buffer, 0, bytes, this.#table, row, deadline);
    return promise;
  }

  /** The route of an operation of one piece that may be started now as it is. */
  #direct(at: number, bytes: number, changes: boolean): Route | undefined {
    return isOnePiece(at, bytes, this.#pageBytes) ? this.#route(at, bytes, changes) : undefined;
  }

  /** The route of a range within one region of which nothing has to wait. */
  #route(at: number, bytes: number, changes: boolean): Route | undefined {
    if (this.#life.isClosed) return undefined;
    if (this.#submission.length > 0) {
      const first = Math.floor(at / this.#pageBytes);
      const end = Math.ceil((at + bytes) / this.#pageBytes);
      if (this.#submission.conflicts(first, end, changes)) return undefined;
    }
    const route = this.#routes.ready(Math.floor(at / REGION_BYTES));
    const { unflushed } = this.#shared;
    if (unflushed !== undefined && changes && route !== undefined) {
      unflushed.note(at, bytes, route.connection.link.opening ?? 0);
    }
    return route;
  }

  /** Of what was done at once. `undefined`, of all writes, needs no promise of its own. */
  #settled(result: unknown, bytes: number, operations = 1): Promise<unknown> {
    if (this.#turns.isOver(bytes, operations)) return this.#settledNextTurn(result);
    return result === undefined ? DONE : this.#turns.settled(result);
  }

  /** A release waits for it, because its promise has not settled. */
  #settledNextTurn(result: unknown): Promise<unknown> {
    const { barriers, turns } = this.#shared;
    const generation = barriers.started();
    return turns.next().then(() => {
      barriers.ended(generation, undefined);
      return result;
    });
  }

  #failedAtOnce(kind: Kind, address: number, bytes: number, status: Status): Promise<never> {
    return this.#table.failedAtOnce({
      kind,
      ranges: [{ address, bytes }],
      address,
      bytes,
      status,
      outcome: outcomeOf(status),
      isPartial: false,
    });
  }

  /** The operands are in `#word`. */
  #atomic(kind: Kind, at: number): Promise<bigint> {
    const route = this.#direct(at, WORD_BYTES, true);
    if (route?.window === undefined) {
      const [firstLow, firstHigh, secondLow, secondHigh] = this.#halves as unknown as Quarters;
      const item = { address: at, buffer: NO_BYTES, bytes: WORD_BYTES };
      const operands = { firstLow, firstHigh, secondLow, secondHigh };
      return this.#slowly(kind, [item], undefined, operands) as Promise<bigint>;
    }
    const { link } = route.connection;
    const status = this.#atomicNow(kind, link, route.window, at);
    if (status === Status.Ok) {
      const old = bigintOf(link.resultLow, link.resultHigh);
      return this.#settled(old, WORD_BYTES) as Promise<bigint>;
    }
    if (status !== NOT_NOW) return this.#failedAtOnce(kind, at, WORD_BYTES, status as Status);
    const row = this.#table.begin(kind, at, WORD_BYTES, 1, undefined);
    if (row === -1) return this.#refuse(tooMany());
    const promise = this.#table.promise(row) as Promise<bigint>;
    const deadline = this.#nextDeadline();
    this.#sendAtomic(kind, link, route.window, at, row, deadline);
    return promise;
  }

  #atomicNow(kind: Kind, link: Link, window: Window, at: number): number {
    const halves = this.#halves;
    const low = halves[0] as number;
    const high = halves[1] as number;
    if (kind === Kind.FetchAndAdd) return link.fetchAndAddNow(window, at, low, high);
    const desiredLow = halves[2] as number;
    const desiredHigh = halves[3] as number;
    return link.compareAndSwapNow(window, at, low, high, desiredLow, desiredHigh);
  }

  #sendAtomic(
    kind: Kind,
    link: Link,
    window: Window,
    at: number,
    row: number,
    deadline: number,
  ): void {
    const halves = this.#halves;
    const low = halves[0] as number;
    const high = halves[1] as number;
    if (kind === Kind.FetchAndAdd) {
      link.fetchAndAdd(window, at, low, high, this.#table, row, deadline);
      return;
    }
    const desiredLow = halves[2] as number;
    const desiredHigh = halves[3] as number;
    link.compareAndSwap(window, at, low, high, desiredLow, desiredHigh, this.#table, row, deadline);
  }

  #moveMany<T extends { readonly at: number }>(
    kind: Kind,
    moves: readonly T[],
    bufferOf: (move: T) => Uint8Array,
  ): Promise<void> {
    const isRead = kind === Kind.Read;
    const wrong = badMoves(VERBS[kind], isRead ? 'into' : 'from', moves, bufferOf);
    if (wrong !== undefined) return this.#refuse(wrong);
    return this.#moveAll(kind, moves, bufferOf, undefined) as Promise<void>;
  }

  /** As much of it at once as can be, and the rest as it comes. */
  #moveAll<T extends { readonly at: number }>(
    kind: Kind,
    moves: readonly T[],
    bufferOf: (move: T) => Uint8Array,
    result: unknown,
  ): Promise<unknown> {
    const changes = kind !== Kind.Read;
    const atOnce = this.#atOnce;
    const status = atOnce.move(changes, moves, bufferOf);
    const { done, bytes, rest } = atOnce;
    const isBegun = changes && done > 0;
    if (status !== Status.Ok) return this.#manyFailed(kind, moves, bufferOf, status, isBegun);
    // One more, so that an empty list counts too.
    if (rest.length === 0) return this.#settled(result, bytes, done + 1);
    return this.#slowly(kind, atOnce.takeRest(), result, undefined, isBegun);
  }

  /** What comes after the one that failed at once is not begun. */
  #manyFailed<T extends { readonly at: number }>(
    kind: Kind,
    moves: readonly T[],
    bufferOf: (move: T) => Uint8Array,
    status: Status,
    isPartial: boolean,
  ): Promise<never> {
    const ranges = moves.map((move) => ({ address: move.at, bytes: bufferOf(move).length }));
    return this.#table.failedAtOnce({
      kind,
      ranges,
      address: ranges[0]?.address ?? 0,
      bytes: totalBytes(ranges),
      status,
      outcome: isPartial ? 'unknown' : outcomeOf(status),
      isPartial,
    });
  }

  #slowly(
    kind: Kind,
    items: readonly Item[],
    result: unknown,
    operands?: Operands,
    isBegun = false,
  ): Promise<unknown> {
    const { name } = this.#shared;
    if (this.#life.isClosed) return this.#refuse(closed(`the space ${name} is closed`));
    const first = items[0] as Item;
    const row = this.#table.begin(kind, first.address, totalBytes(items), 1, result);
    if (row === -1) return this.#refuse(tooMany(isBegun && kind === Kind.Write));
    if (isBegun) this.#table.applied(row);
    const promise = this.#table.promise(row);
    if (!this.#isWatching) this.#watch();
    this.#submission.add(new Transfer(this.#parts, kind, row, items, operands));
    return promise;
  }

  #refuse<T>(error: MemrackError): Promise<T> {
    return this.#shared.barriers.refuse(error);
  }

  /** One look at the clock for everything that is started in one turn. */
  #nextDeadline(): number {
    if (this.#deadline === 0) {
      const { runtime, timeoutMs } = this.#shared;
      this.#deadline = runtime.clock.now() + timeoutMs;
      runtime.timers.soon(this.#forgetDeadline);
      if (!this.#isWatching) this.#watch();
    }
    return this.#deadline;
  }

  /**
   * While operations are under way and none ends, the controller is asked now and then whether
   * their data still exists: whoever waits for memory that is gone learns it before the deadline.
   */
  #watch(): void {
    const { clock, timers } = this.#shared.runtime;
    this.#isWatching = true;
    const before = this.#table.ended;
    timers.after(WATCH_MS, () => {
      this.#isWatching = false;
      if (this.#life.isClosed || this.#table.open === 0) return;
      if (this.#table.ended === before) void this.#routes.refresh(clock.now() + WATCH_MS);
      this.#watch();
    });
  }

  readonly #forgetDeadline = (): void => {
    this.#deadline = 0;
  };
}

type Quarters = readonly [number, number, number, number];

const intoOf = (item: ReadItem): Uint8Array => item.into;
const fromOf = (item: WriteItem): Uint8Array => item.from;
const bufferOfRange = (range: { readonly buffer: Uint8Array }): Uint8Array => range.buffer;

/** The only cheap way from halves to a bigint. */
const found = new BigUint64Array(1);
const foundHalves = new Uint32Array(found.buffer);

function bigintOf(low: number, high: number): bigint {
  foundHalves[0] = low;
  foundHalves[1] = high;
  return found[0] as bigint;
}

function totalBytes(items: readonly { readonly bytes: number }[]): number {
  let bytes = 0;
  for (const item of items) bytes += item.bytes;
  return bytes;
}

function tooMany(isBegun = false): MemrackError {
  const remedy = 'await some of the operations before starting more';
  const what = 'too many operations are under way in this space';
  if (!isBegun) return new MemrackError('Busy', what, { remedy });
  return new MemrackError('OutcomeUnknown', `${what}: a part was written`, { remedy });
}
