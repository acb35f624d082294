/**
 * An address space of the rack, as a program uses it: the public verbs.
 *
 * Reads, writes and atomics go the way of `DataPath`, calls that change what is allocated that of
 * `Allocation`; both stand in one submission, and are counted for the same barriers.
 *
 * Not awaiting is the asynchronous form: operations on different pages overlap; operations of one
 * client on the same page, one of them a change, keep their order (Clio, section 4.3.3, where the
 * client's library does the same).
 */

import type { Runtime } from '../runtime/runtime.js';
import { ADDRESS_END } from '../wire/limits.js';
import { Allocation } from './allocation.js';
import { badAddress, badLength, badRange, badWordAddress, show } from './arguments.js';
import { Barriers } from './barriers.js';
import { type BlockingOptions, bytesOfPort } from './blocking/options.js';
import { BlockingService } from './blocking/service.js';
import type { Connections, MemorySharing } from './connections.js';
import type { Control } from './control.js';
import { DataPath, type ReadItem, type SharedParts, type WriteItem } from './data-path.js';
import { closed, invalid, MemrackError, unawaited, unsupported } from './error.js';
import { Failures } from './failures.js';
import { Flushes } from './flush.js';
import type { Relocated, Rights } from './held-memory.js';
import { lockMemoryOf } from './lock-memory.js';
import type { Agenda } from './locks/agenda.js';
import type { Lock } from './locks/lock.js';
import { Locks } from './locks/locks.js';
import { inOrder, type OrderedCall } from './ordered-call.js';
import { RegionMap } from './region-map.js';
import type { Routes } from './routes.js';
import { pageRange, Submission } from './submission.js';
import { Turns } from './turns.js';
import { Unflushed } from './unflushed.js';
import { badWindow, RangeWindow } from './window.js';
import { WindowCalls } from './window-calls.js';
import type { WindowFacts, WindowRights } from './window-token.js';

export type { ReadItem, WriteItem } from './data-path.js';

export interface AllocOptions {
  /**
   * A wish for an address: given where it is free and fits, another one otherwise. Not honoured
   * above 1 GiB, nor where it lies in a region of 1 GiB that the space has not been granted yet.
   */
  readonly at?: number;
}

export interface SpaceParts {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly connections: Connections;
  readonly name: string;
  readonly id: number;
  readonly pageBytes: number;
  readonly timeoutMs: number;
  /** Its memory is on disks. */
  readonly isPersistent?: boolean;
  /** Of the whole client, for its locks. */
  readonly agenda?: Agenda;
}

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
  readonly #shared: SharedParts;
  readonly #path: DataPath;
  readonly #allocation: Allocation;
  /** Undefined: its memory ends with its nodes. */
  readonly #flushes: Flushes | undefined;
  readonly #locks: Locks;
  readonly #windows: WindowCalls;
  readonly #regions: RegionMap;
  readonly #sharing: MemorySharing | undefined;
  /** Threads that block. */
  readonly #blocking = new Set<BlockingService>();
  /** The same verbs by other windows; counted for the same barriers, in one order with the rest. */
  readonly pathBy: (routesOf: (regions: RegionMap) => Routes) => DataPath;
  readonly #life = { isClosed: false };

  constructor(parts: SpaceParts) {
    const { runtime, control, connections, name, id, pageBytes, timeoutMs } = parts;
    this.name = name;
    this.id = id;
    this.pageBytes = pageBytes;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
    const unflushed = parts.isPersistent === true ? new Unflushed(pageBytes) : undefined;
    const regions = new RegionMap(runtime, control, connections, id, unflushed);
    this.#regions = regions;
    this.#sharing = connections.sharing;
    const barriers = this.#barriers;
    const submission = this.#submission;
    const turns = new Turns(runtime);
    const life = this.#life;
    const facts = { life, name, pageBytes, timeoutMs, unflushed };
    this.#shared = { runtime, barriers, submission, turns, ...facts };
    this.#path = new DataPath(this.#shared, regions, new Failures(runtime, regions, facts, true));
    this.#locks = new Locks(runtime, () => lockMemoryOf(this.#shared, regions), parts.agenda);
    this.#flushes =
      unflushed === undefined ? undefined : new Flushes({ runtime, regions, space: id, unflushed });
    this.#allocation = new Allocation({ runtime, control, regions, space: id, pageBytes });
    this.#windows = new WindowCalls(runtime, regions, id);
    this.pathBy = (routesOf) => {
      const routes = routesOf(regions);
      return new DataPath(this.#shared, routes, new Failures(runtime, routes, facts, false));
    };
  }

  /**
   * Allocates at least `bytes` bytes, rounded up to whole pages; they read as zeros. Resolves to
   * the address, an integer below 2^53. Memory belongs to the space: it stays when the client ends.
   * Fails with `NoSpace` when the rack cannot promise as much, and nothing was allocated then.
   */
  alloc(bytes: number, options: AllocOptions = {}): Promise<number> {
    const wish = options?.at;
    const wrong = badLength('bytes', bytes) ?? this.#badWish(wish);
    if (wrong !== undefined) return this.#barriers.refuse(wrong);
    return this.#call(`alloc of ${bytes} bytes`, (deadline) =>
      this.#allocation.alloc(bytes, wish ?? 0, deadline),
    );
  }

  /** Gives the whole allocation that begins at `at` back. `NotAllocated` when none does. */
  free(at: number): Promise<void> {
    const wrong = badAddress('at', at);
    if (wrong !== undefined) return this.#barriers.refuse(wrong);
    return this.#call(`free at ${at}`, () => this.#free(at, ADDRESS_END, this.#timeoutMs));
  }

  /**
   * As `free`, of garbage: an allocation of more pages than `bytes` takes is not the one that is
   * meant, is left alone, and this ends as `NotAllocated`. No barrier hears of it.
   */
  freeGarbage(at: number, bytes: number, timeoutMs: number): Promise<void> {
    const wrong = this.#life.isClosed ? closed(`the space ${this.name} is closed`) : undefined;
    if (wrong !== undefined) return Promise.reject(wrong);
    return this.#free(at, bytes, timeoutMs);
  }

  #free(at: number, bytes: number, timeoutMs: number): Promise<void> {
    const most = Math.ceil(bytes / this.pageBytes) * this.pageBytes;
    return this.#ordered(at, ADDRESS_END - at, (call) => {
      const deadline = this.#runtime.clock.now() + timeoutMs;
      return this.#allocation.free(at, deadline, (found) => {
        if (found > most) throw notAsLarge(at, found, most);
        call.narrow(pageRange(at, found, this.pageBytes));
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
    if (wrong !== undefined) return this.#barriers.refuse(wrong);
    const rounded = Math.ceil(bytes / this.pageBytes) * this.pageBytes;
    return this.#call(`protect of ${bytes} bytes at ${at}`, () =>
      this.#ordered(at, rounded, () => {
        const deadline = this.#runtime.clock.now() + this.#timeoutMs;
        return this.#allocation.protect(at, rounded, rights, deadline);
      }),
    );
  }

  /**
   * For tests: has the nodes move what is in these pages to other frames, which nobody that uses
   * them notices. No barrier hears of it.
   */
  relocate(at: number, bytes: number): Promise<Relocated> {
    const wrong =
      badAddress('at', at) ??
      badLength('bytes', bytes) ??
      badRange(at, bytes) ??
      (this.#life.isClosed ? closed(`the space ${this.name} is closed`) : undefined);
    if (wrong !== undefined) return Promise.reject(wrong);
    const deadline = this.#runtime.clock.now() + this.#timeoutMs;
    return this.#allocation.relocate(at, bytes, deadline);
  }

  /**
   * Reads bytes at any address: as many as are asked for, into a new array, or as many as
   * `target` is long, into it. Never-written memory reads as zeros. `target` belongs to the
   * library until the promise settles, and is undefined after a rejection.
   */
  read(at: number, lengthOrTarget: number | Uint8Array): Promise<Uint8Array> {
    return this.#path.read(at, lengthOrTarget);
  }

  /**
   * Writes bytes at any address. They belong to the library until the promise settles. A write of
   * more than 64 KiB, or across pages, is not atomic, but `NoSpace` means that nothing of it was
   * written.
   */
  write(at: number, bytes: Uint8Array): Promise<void> {
    return this.#path.write(at, bytes);
  }

  /** Many reads, one completion. Fails with the first failure; then all targets are undefined. */
  readMany(reads: readonly ReadItem[]): Promise<void> {
    return this.#path.readMany(reads);
  }

  /**
   * Many writes, one completion. When one fails others may have been made: `outcome` says so, and
   * the code is then `OutcomeUnknown`.
   */
  writeMany(writes: readonly WriteItem[]): Promise<void> {
    return this.#path.writeMany(writes);
  }

  /**
   * Replaces the aligned 64-bit little-endian word at `at` by `desired` if it is `expected`.
   * Resolves to the old value: it succeeded if that is the expected one.
   */
  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint> {
    return this.#path.compareAndSwap(at, expected, desired);
  }

  /** Adds to the aligned 64-bit word at `at`, modulo 2^64. Resolves to the old value. */
  fetchAndAdd(at: number, delta: bigint): Promise<bigint> {
    return this.#path.fetchAndAdd(at, delta);
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

  /**
   * When it resolves, everything that this client has written to these bytes before, and was told
   * as done, survives the end of every process and machine. Of a space of the kind `persistent`;
   * `Unsupported` of another one. What is not flushed may survive, too, in words of 8 bytes.
   *
   * `DataLost`: a node has come back without some of what was written since the last flush. That is
   * told once: what is there can be read, written again, and flushed.
   */
  flush(at: number, bytes: number): Promise<void> {
    const wrong = badAddress('at', at) ?? badLength('bytes', bytes) ?? badRange(at, bytes);
    if (wrong !== undefined) return this.#barriers.refuse(wrong);
    const flushes = this.#flushes;
    if (flushes === undefined) {
      const why = `the memory of the space ${this.name} ends with its nodes`;
      return this.#barriers.refuse(unsupported('flush', why));
    }
    return this.#call(`flush of ${bytes} bytes at ${at}`, () => {
      const pages = pageRange(at, bytes, this.pageBytes);
      const run = (): Promise<void> => {
        const deadline = this.#runtime.clock.now() + this.#timeoutMs;
        return flushes.flush(at, bytes, deadline);
      };
      return inOrder(this.#submission, pages, `the space ${this.name}`, run, false);
    });
  }

  /**
   * The lock at `at`, 8 aligned bytes that start as zeros and that nothing but locks writes: the
   * same for everybody who names that address. Advisory: it keeps nobody from reading or writing.
   * Throws `Invalid` for an address that cannot be one.
   */
  lock(at: number): Lock {
    const wrong = badWordAddress(at);
    if (wrong !== undefined) throw wrong;
    return this.#locks.at(at);
  }

  /**
   * Opens a window: the right to read, or to read and write, these bytes, which can be handed to
   * another process (`token`), narrowed, and revoked. It stays when this process ends.
   */
  window(at: number, bytes: number, rights: WindowRights): Promise<RangeWindow> {
    const wrong = badWindow(at, bytes, rights);
    if (wrong !== undefined) return this.#barriers.refuse(wrong);
    return this.#call(`window over ${bytes} bytes at ${at}`, async (deadline) => {
      const facts = await this.#windows.open(at, bytes, rights, deadline);
      return new RangeWindow(facts, this.#shared, this.#windows);
    });
  }

  /** For `rack.window`: one that was opened elsewhere. */
  windowOf(facts: WindowFacts): RangeWindow {
    return new RangeWindow(facts, this.#shared, this.#windows);
  }

  /**
   * Lets one other thread of this process use this space without an event loop, by
   * `joinBlocking(start)` there. This thread serves it, and must itself not block for long. Tell
   * `ended` of what is returned when the thread has ended.
   */
  blocking(options: BlockingOptions = {}): BlockingService {
    const bytes = bytesOfPort(options);
    if (bytes instanceof MemrackError) throw bytes;
    if (this.#life.isClosed) throw closed(`the space ${this.name} is closed`);
    if (this.#flushes !== undefined) {
      throw unsupported(
        'blocking',
        'threads that block cannot flush, and this space is persistent',
      );
    }
    const { name, id, pageBytes } = this;
    const runtime = this.#runtime;
    const regions = this.#regions;
    const timeoutMs = this.#timeoutMs;
    const shared = { ...this.#shared, barriers: new Barriers() };
    const path = new DataPath(shared, regions, new Failures(runtime, regions, shared, true));
    const service: BlockingService = new BlockingService({
      runtime,
      path,
      regions,
      sharing: this.#sharing,
      ...{ name, id, pageBytes, timeoutMs, bytes },
      left: () => this.#blocking.delete(service),
    });
    this.#blocking.add(service);
    return service;
  }

  /** For `rack.close`: threads that block are served no more, and their slots are given back. */
  async closeBlocking(): Promise<void> {
    await Promise.all([...this.#blocking].map((service) => service.close()));
  }

  /** Whether a read, write or atomic is under way. */
  get isBusy(): boolean {
    return this.#path.isBusy;
  }

  /** For `rack.close`: ends of what is given back because nobody knows whether it was allocated. */
  get abandoned(): readonly Promise<void>[] {
    return this.#allocation.abandoned;
  }

  /** For `rack.close`: ends everything that waits; what is under way ends with its links. */
  close(): void {
    this.#life.isClosed = true;
    this.#locks.close();
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
      return invalid(`${show(rights)} is no permission`, "pass 'none', 'r' or 'rw'");
    }
    if (at % this.pageBytes === 0) return undefined;
    const remedy = `pass a multiple of the page size, ${this.pageBytes}`;
    return invalid(`the address ${at} is not the start of a page`, remedy);
  }

  async #barrier(): Promise<void> {
    const failure = await this.#barriers.wait();
    if (failure !== undefined) throw failure;
  }

  /** A call that changes pages: `free`, `protect`. */
  #ordered(at: number, bytes: number, run: (call: OrderedCall) => Promise<void>): Promise<void> {
    const pages = pageRange(at, bytes, this.pageBytes);
    return inOrder(this.#submission, pages, `the space ${this.name}`, run);
  }

  /** Counts a call for the barriers, and keeps its failure from ending the process. */
  #call<T>(what: string, run: (deadline: number) => Promise<T>): Promise<T> {
    if (this.#life.isClosed)
      return this.#barriers.refuse(closed(`${what}: the space ${this.name} is closed`));
    const promise = run(this.#runtime.clock.now() + this.#timeoutMs).catch((cause: unknown) => {
      throw cause instanceof MemrackError ? named(cause, what, this.name) : cause;
    });
    return this.#barriers.follow(promise);
  }
}

function notAsLarge(at: number, bytes: number, most: number): MemrackError {
  const remedy = 'free it by what was allocated, not by a part of it';
  const what = `the allocation at ${at} has ${bytes} bytes, and not ${most}`;
  return new MemrackError('NotAllocated', what, { remedy });
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
