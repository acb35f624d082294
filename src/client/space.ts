/**
 * An address space of the rack, as a program uses it: the public verbs.
 *
 * This file checks arguments and takes the short way: an operation of one piece whose region and
 * window are known, and that nothing waiting conflicts with, goes to its link at once, with one
 * promise and no other object. Everything else is handed to `transfer`, `allocation` and
 * `barriers`.
 *
 * Not awaiting is the asynchronous form: operations on different pages overlap; operations of one
 * client on the same page, one of them a change, keep their order (Clio, section 4.3.3, where the
 * client's library does the same).
 */

import type { Link, Window } from '../fabric/link.js';
import { ADDRESS_END, REGION_BYTES } from '../wire/limits.js';
import { Allocation } from './allocation.js';
import {
  badAddress,
  badBytes,
  badDelta,
  badLength,
  badRange,
  badWord,
  badWordAddress,
} from './arguments.js';
import { Barriers } from './barriers.js';
import type { Connections } from './connections.js';
import type { Control } from './control.js';
import { closed, invalid, MemrackError, unawaited, unsupported } from './error.js';
import type { Rights } from './held-memory.js';
import { Failures, VERBS } from './failures.js';
import { Kind, OperationTable } from './operations.js';
import { OrderedCall } from './ordered-call.js';
import { isOnePiece } from './pieces.js';
import { RegionMap, type Route } from './region-map.js';
import { Submission } from './submission.js';
import { type Item, type Operands, Transfer, type TransferParts } from './transfer.js';
import type { Runtime } from '../runtime/runtime.js';

export interface AllocOptions {
  /**
   * A wish for an address: given where it is free and fits, another one otherwise. Not honoured
   * above 1 GiB, nor where it lies in a region of 1 GiB that the space has not been granted yet.
   */
  readonly at?: number;
}

export interface ReadItem {
  readonly at: number;
  readonly into: Uint8Array;
}

export interface WriteItem {
  readonly at: number;
  readonly from: Uint8Array;
}

export interface SpaceParts {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly connections: Connections;
  readonly name: string;
  readonly id: number;
  readonly pageBytes: number;
  readonly timeoutMs: number;
}

const NO_BYTES = new Uint8Array(0);
const WORD_BYTES = 8;

export class RemoteSpace {
  readonly name: string;
  /** The rack's number of this space: never used for another one. */
  readonly id: number;
  /** Unit of allocation, translation and protection, in bytes. */
  readonly pageBytes: number;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;
  readonly #barriers = new Barriers();
  readonly #submission = new Submission();
  readonly #table: OperationTable;
  readonly #regions: RegionMap;
  readonly #failures: Failures;
  readonly #allocation: Allocation;
  readonly #parts: TransferParts;
  readonly #word = new BigUint64Array(2);
  readonly #halves = new Uint32Array(this.#word.buffer);
  #deadline = 0;
  #isWatching = false;
  #isClosed = false;

  constructor(parts: SpaceParts) {
    const { runtime, control, connections, id, pageBytes, timeoutMs } = parts;
    this.name = parts.name;
    this.id = id;
    this.pageBytes = pageBytes;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
    this.#table = new OperationTable(this.#barriers, (failed) => this.#failures.judge(failed));
    this.#regions = new RegionMap(runtime, control, connections, id);
    this.#failures = new Failures(runtime, this.#regions, this.name);
    this.#parts = {
      runtime,
      table: this.#table,
      submission: this.#submission,
      regions: this.#regions,
      pageBytes,
      timeoutMs,
    };
    const regions = this.#regions;
    this.#allocation = new Allocation({ runtime, control, regions, space: id, pageBytes });
  }

  /**
   * Allocates at least `bytes` bytes, rounded up to whole pages; they read as zeros. Resolves to
   * the address, an integer below 2^53. Memory belongs to the space: it stays when the client ends.
   * Fails with `NoSpace` when the rack cannot promise as much, and nothing was allocated then.
   */
  alloc(bytes: number, options: AllocOptions = {}): Promise<number> {
    const wrong = badLength('bytes', bytes) ?? this.#badWish(options.at);
    if (wrong !== undefined) return this.#refuse(wrong);
    return this.#call(`alloc of ${bytes} bytes`, (deadline) =>
      this.#allocation.alloc(bytes, options.at ?? 0, deadline),
    );
  }

  /** Gives the whole allocation that begins at `at` back. `NotAllocated` when none does. */
  free(at: number): Promise<void> {
    const wrong = badAddress('at', at);
    if (wrong !== undefined) return this.#refuse(wrong);
    return this.#call(`free at ${at}`, () => this.#free(at, ADDRESS_END, this.#timeoutMs));
  }

  /**
   * As `free`, of garbage: an allocation of more pages than `bytes` takes is not the one that is
   * meant, is left alone, and this ends as `NotAllocated`. No barrier hears of it.
   */
  freeGarbage(at: number, bytes: number, timeoutMs: number): Promise<void> {
    const wrong = this.#isClosed ? closed(`the space ${this.name} is closed`) : undefined;
    if (wrong !== undefined) return Promise.reject(wrong);
    return this.#free(at, bytes, timeoutMs);
  }

  #free(at: number, bytes: number, timeoutMs: number): Promise<void> {
    const most = Math.ceil(bytes / this.pageBytes) * this.pageBytes;
    return this.#ordered(at, ADDRESS_END - at, (call) => {
      const deadline = this.#runtime.clock.now() + timeoutMs;
      return this.#allocation.free(at, deadline, (found) => {
        if (found > most) throw notAsLarge(at, found, most);
        call.narrow(this.#pages(at, found));
        this.#submission.narrowed();
      });
    });
  }

  /**
   * Sets what everybody may do with whole pages: nothing, read, or read and write. `at` is the
   * start of a page; `bytes` is rounded up to whole pages.
   */
  protect(at: number, bytes: number, rights: Rights): Promise<void> {
    const wrong =
      badAddress('at', at) ??
      badLength('bytes', bytes) ??
      badRange(at, bytes) ??
      this.#badProtect(at, rights);
    if (wrong !== undefined) return this.#refuse(wrong);
    const rounded = Math.ceil(bytes / this.pageBytes) * this.pageBytes;
    return this.#call(`protect of ${bytes} bytes at ${at}`, () =>
      this.#ordered(at, rounded, () => {
        const deadline = this.#runtime.clock.now() + this.#timeoutMs;
        return this.#allocation.protect(at, rounded, rights, deadline);
      }),
    );
  }

  /**
   * Reads bytes at any address: as many as are asked for, into a new array, or as many as
   * `target` is long, into it. Never-written memory reads as zeros. `target` belongs to the
   * library until the promise settles, and is undefined after a rejection.
   */
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

  /**
   * Writes bytes at any address. They belong to the library until the promise settles. A write of
   * more than 64 KiB, or across pages, is not atomic, but `NoSpace` means that nothing of it was
   * written.
   */
  write(at: number, bytes: Uint8Array): Promise<void> {
    const wrong = badAddress('at', at) ?? badBytes('bytes', bytes);
    if (wrong !== undefined) return this.#refuse(wrong);
    return this.#move(Kind.Write, at, bytes) as Promise<void>;
  }

  /** Many reads, one completion. Fails with the first failure; then all targets are undefined. */
  readMany(reads: readonly ReadItem[]): Promise<void> {
    return this.#moveMany(Kind.Read, reads, (read) => read?.into, 'into');
  }

  /**
   * Many writes, one completion. When one fails others may have been made: `outcome` says so, and
   * the code is then `OutcomeUnknown`.
   */
  writeMany(writes: readonly WriteItem[]): Promise<void> {
    return this.#moveMany(Kind.Write, writes, (write) => write?.from, 'from');
  }

  /**
   * Replaces the aligned 64-bit little-endian word at `at` by `desired` if it is `expected`.
   * Resolves to the old value: it succeeded if that is the expected one.
   */
  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint> {
    const wrong =
      badWordAddress(at) ?? badWord('expected', expected) ?? badWord('desired', desired);
    if (wrong !== undefined) return this.#refuse(wrong);
    this.#word[0] = expected;
    this.#word[1] = desired;
    return this.#atomic(Kind.CompareAndSwap, at);
  }

  /** Adds to the aligned 64-bit word at `at`, modulo 2^64. Resolves to the old value. */
  fetchAndAdd(at: number, delta: bigint): Promise<bigint> {
    const wrong = badWordAddress(at) ?? badDelta(delta);
    if (wrong !== undefined) return this.#refuse(wrong);
    this.#word[0] = BigInt.asUintN(64, delta);
    return this.#atomic(Kind.FetchAndAdd, at);
  }

  /**
   * Resolves when everything that this client started before is applied at its nodes. Rejects with
   * the first failure since the last `fence` or `release`; all of them are in its `failures`, or
   * the first thousand, and `failuresOmitted` counts the rest.
   */
  fence(): Promise<void> {
    return unawaited(this.#barrier());
  }

  /** As `fence`, and everything is complete: its promises have settled. Releases end in order. */
  release(): Promise<void> {
    return unawaited(this.#barrier());
  }

  /** Not in this version: only memory of the kind `persistent` has something to flush. */
  flush(_at: number, _bytes: number): Promise<void> {
    return this.#refuse(unsupported('flush', 'the kind "persistent" is not there yet'));
  }

  /** Not in this version. `compareAndSwap` on a word of your own works meanwhile. */
  lock(_at: number): never {
    throw unsupported('lock', 'build one from compareAndSwap meanwhile');
  }

  /** Whether a read, write or atomic is under way. */
  get isBusy(): boolean {
    return this.#table.open > 0;
  }

  /** For `rack.close`: ends everything that waits; what is under way ends with its links. */
  close(): void {
    this.#isClosed = true;
    this.#failures.isFinal = true;
    this.#submission.abandon();
  }

  #badWish(at: number | undefined): MemrackError | undefined {
    if (at === undefined) return undefined;
    const wrong = badAddress('the wished address', at);
    if (wrong !== undefined || at % this.pageBytes === 0) return wrong;
    const remedy = `wish for a multiple of the page size, ${this.pageBytes}`;
    return invalid(`the wished address ${at} is not the start of a page`, remedy);
  }

  #badProtect(at: number, rights: unknown): MemrackError | undefined {
    if (rights !== 'none' && rights !== 'r' && rights !== 'rw') {
      return invalid(`${String(rights)} is no permission`, "pass 'none', 'r' or 'rw'");
    }
    if (at % this.pageBytes === 0) return undefined;
    const remedy = `pass a multiple of the page size, ${this.pageBytes}`;
    return invalid(`the address ${at} is not the start of a page`, remedy);
  }

  /** The short way, or the long one. */
  #move(kind: Kind, at: number, buffer: Uint8Array): Promise<unknown> {
    const bytes = buffer.length;
    const route = this.#direct(at, bytes, kind !== Kind.Read);
    if (route?.window === undefined) {
      const wrong = badRange(at, bytes);
      if (wrong !== undefined) return this.#refuse(wrong);
      const result = kind === Kind.Read ? buffer : undefined;
      return this.#slowly(kind, [{ address: at, buffer, bytes }], result);
    }
    const row = this.#table.begin(kind, at, bytes, 1, kind === Kind.Read ? buffer : undefined);
    if (row === -1) return this.#refuse(tooMany());
    const { link } = route.connection;
    const promise = this.#table.promise(row);
    const deadline = this.#nextDeadline();
    if (kind === Kind.Read) {
      link.read(route.window, at, buffer, 0, bytes, this.#table, row, deadline);
    } else {
      link.write(route.window, at, buffer, 0, bytes, this.#table, row, deadline);
    }
    return promise;
  }

  /** The route of an operation that may be sent now as it is. */
  #direct(at: number, bytes: number, changes: boolean): Route | undefined {
    if (this.#isClosed || !isOnePiece(at, bytes, this.pageBytes)) return undefined;
    if (this.#submission.length > 0) {
      const page = Math.floor(at / this.pageBytes);
      if (this.#submission.conflicts(page, page + 1, changes)) return undefined;
    }
    return this.#regions.ready(Math.floor(at / REGION_BYTES));
  }

  /** The operands are in `#word`. */
  #atomic(kind: Kind, at: number): Promise<bigint> {
    const halves = this.#halves;
    const firstLow = halves[0] as number;
    const firstHigh = halves[1] as number;
    const secondLow = halves[2] as number;
    const secondHigh = halves[3] as number;
    const route = this.#direct(at, WORD_BYTES, true);
    if (route?.window === undefined) {
      const item = { address: at, buffer: NO_BYTES, bytes: WORD_BYTES };
      const operands = { firstLow, firstHigh, secondLow, secondHigh };
      return this.#slowly(kind, [item], undefined, operands) as Promise<bigint>;
    }
    const row = this.#table.begin(kind, at, WORD_BYTES, 1, undefined);
    if (row === -1) return this.#refuse(tooMany());
    const promise = this.#table.promise(row) as Promise<bigint>;
    const deadline = this.#nextDeadline();
    this.#sendAtomic(kind, route.connection.link, route.window, at, row, deadline);
    return promise;
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

  #slowly(
    kind: Kind,
    items: readonly Item[],
    result: unknown,
    operands?: Operands,
  ): Promise<unknown> {
    if (this.#isClosed) return this.#refuse(closed(`the space ${this.name} is closed`));
    const first = items[0] as Item;
    const row = this.#table.begin(kind, first.address, totalBytes(items), 1, result);
    if (row === -1) return this.#refuse(tooMany());
    const promise = this.#table.promise(row);
    if (!this.#isWatching) this.#watch();
    this.#submission.add(new Transfer(this.#parts, kind, row, items, operands));
    return promise;
  }

  #moveMany<T extends { readonly at: number }>(
    kind: Kind,
    moves: readonly T[],
    bufferOf: (move: T | undefined) => Uint8Array | undefined,
    field: string,
  ): Promise<void> {
    if (!Array.isArray(moves)) {
      const remedy = `pass an array of { at, ${field} }`;
      return this.#refuse(invalid(`${VERBS[kind]}Many takes a list`, remedy));
    }
    const items: Item[] = [];
    for (let i = 0; i < moves.length; i++) {
      const move = moves[i] as T | undefined;
      const buffer = bufferOf(move);
      const address = move?.at;
      const wrong = badAddress(`[${i}].at`, address) ?? badBytes(`[${i}].${field}`, buffer);
      if (wrong !== undefined) return this.#refuse(wrong);
      const bytes = (buffer as Uint8Array).length;
      const beyond = badRange(address as number, bytes);
      if (beyond !== undefined) return this.#refuse(beyond);
      items.push({ address: address as number, buffer: buffer as Uint8Array, bytes });
    }
    if (items.length === 0) return Promise.resolve();
    return this.#slowly(kind, items, undefined) as Promise<void>;
  }

  async #barrier(): Promise<void> {
    const failure = await this.#barriers.wait();
    if (failure !== undefined) throw failure;
  }

  #pages(at: number, bytes: number): { first: number; end: number } {
    const first = Math.floor(at / this.pageBytes);
    return { first, end: Math.ceil((at + bytes) / this.pageBytes) };
  }

  /** A call that changes pages: `free`, `protect`. */
  #ordered(at: number, bytes: number, run: (call: OrderedCall) => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const call: OrderedCall = new OrderedCall({
        pages: this.#pages(at, bytes),
        run: () => run(call),
        left: () => this.#submission.leave(call),
        abandoned: () => closed(`the space ${this.name} is closed`),
        resolve,
        reject,
      });
      this.#submission.add(call);
    });
  }

  /** Counts a call for the barriers, and keeps its failure from ending the process. */
  #call<T>(what: string, run: (deadline: number) => Promise<T>): Promise<T> {
    if (this.#isClosed) return this.#refuse(closed(`${what}: the space ${this.name} is closed`));
    const generation = this.#barriers.started();
    const promise = run(this.#runtime.clock.now() + this.#timeoutMs).catch((cause: unknown) => {
      throw cause instanceof MemrackError ? named(cause, what, this.name) : cause;
    });
    promise.then(
      () => this.#barriers.ended(generation, undefined),
      (error: MemrackError) => this.#barriers.ended(generation, error),
    );
    return promise;
  }

  /** A failure before anything was sent. It counts for the barriers like any other. */
  #refuse<T>(error: MemrackError): Promise<T> {
    this.#barriers.ended(this.#barriers.started(), error);
    return unawaited(Promise.reject<T>(error));
  }

  /** One look at the clock for everything that is started in one turn. */
  #nextDeadline(): number {
    if (this.#deadline === 0) {
      this.#deadline = this.#runtime.clock.now() + this.#timeoutMs;
      this.#runtime.timers.soon(this.#forgetDeadline);
      if (!this.#isWatching) this.#watch();
    }
    return this.#deadline;
  }

  /**
   * While operations are under way and none ends, the controller is asked now and then whether
   * their data still exists: whoever waits for memory that is gone learns it before the deadline.
   */
  #watch(): void {
    this.#isWatching = true;
    const before = this.#table.ended;
    this.#runtime.timers.after(WATCH_MS, () => {
      this.#isWatching = false;
      if (this.#isClosed || this.#table.open === 0) return;
      if (this.#table.ended === before) {
        void this.#regions.refresh(this.#runtime.clock.now() + WATCH_MS);
      }
      this.#watch();
    });
  }

  readonly #forgetDeadline = (): void => {
    this.#deadline = 0;
  };
}

const WATCH_MS = 1000;

function totalBytes(items: readonly Item[]): number {
  let bytes = 0;
  for (const item of items) bytes += item.bytes;
  return bytes;
}

function newBytes(length: number): Uint8Array | MemrackError {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    const remedy = 'read it in parts, into arrays of at most some GiB';
    return new MemrackError('Invalid', `an array of ${length} bytes cannot be made`, {
      remedy,
      cause,
    });
  }
}

function notAsLarge(at: number, bytes: number, most: number): MemrackError {
  const remedy = 'free it by what was allocated, not by a part of it';
  const what = `the allocation at ${at} has ${bytes} bytes, and not ${most}`;
  return new MemrackError('NotAllocated', what, { remedy });
}

function tooMany(): MemrackError {
  const remedy = 'await some of the operations before starting more';
  return new MemrackError('Busy', 'too many operations are under way in this space', { remedy });
}

/** The failure of a step, told as that of the whole call. */
function named(cause: MemrackError, what: string, space: string): MemrackError {
  if (cause.code === 'Closed') return cause;
  const { code, outcome } = cause;
  return new MemrackError(code, `${what} in space ${space}: ${cause.message}`, {
    outcome,
    remedy: '',
    cause,
  });
}
