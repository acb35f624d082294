/**
 * An address space for a thread that blocks: every verb is done, or has failed, when it returns.
 *
 *   verb -- memory of this machine --> a step of this thread's own, in its own slot
 *        `- everything else ---------> the I/O thread, this one blocked meanwhile
 *
 * The operations of one such thread take effect one after the other. Those that the I/O thread, or
 * another thread, starts keep no order with them unless one was awaited before the other began.
 */

import { Status } from '../../base/status.js';
import { NOT_NOW } from '../../fabric/link.js';
import type { OneSided } from '../../fabric/shm/one-sided.js';
import { SURE } from '../../fabric/shm/step.js';
import type { Memory } from '../../runtime/memory.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType } from '../../wire/messages.js';
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
} from '../arguments.js';
import type { ReadItem, WriteItem } from '../data-path.js';
import { closed, invalid, MemrackError } from '../error.js';
import { isOnePiece, pieceBytes } from '../pieces.js';
import { Batches, type Part, type TransferKind } from './batches.js';
import { Channel } from './channel.js';
import { Ask, type BlockingStart, BUSY, highOf, lowOf, PRESENCE, Presence } from './port.js';
import { ThreadRoutes } from './thread-routes.js';

const WORD_BYTES = 8;
const NO_BYTES = new Uint8Array(0);

type Quarters = readonly [number, number, number, number];

const intoOf = (item: ReadItem): Uint8Array => item.into;
const fromOf = (item: WriteItem): Uint8Array => item.from;

export class BlockingSpace {
  readonly name: string;
  /** Unit of allocation, translation and protection, in bytes. */
  readonly pageBytes: number;
  /** Operations, or pieces of them, that this thread has done in memory by itself. */
  doneAlone = 0;
  readonly #memory: Memory;
  readonly #channel: Channel;
  readonly #words: Int32Array;
  readonly #routes: ThreadRoutes;
  readonly #batches: Batches;
  readonly #word = new BigUint64Array(2);
  readonly #halves = new Uint32Array(this.#word.buffer);
  /** A request was given up: while it is under way nothing may overtake it. */
  #isBehind = false;
  /** An operation ended as unknown, and it is not known yet that it is over. */
  #isDoubtful = false;
  #isClosed = false;

  /** For `joinBlocking`. */
  constructor(runtime: Runtime, start: BlockingStart) {
    const { memory, threads, clock } = runtime;
    this.name = start.space;
    this.pageBytes = start.pageBytes;
    this.#memory = memory;
    this.#channel = new Channel(threads, clock, start);
    this.#words = this.#channel.words;
    this.#routes = new ThreadRoutes(runtime, this.#channel, start.spaceId);
    this.#batches = new Batches(this.#channel, memory);
    const { Awaited, Joined } = Presence;
    if (Atomics.compareExchange(this.#words, PRESENCE, Awaited, Joined) !== Awaited) {
      throw invalid('the start was used by another thread', 'make one for each thread');
    }
  }

  /** Requests to the I/O thread so far. */
  get asked(): number {
    return this.#channel.asked;
  }

  /**
   * Reads bytes at any address: as many as are asked for, into a new array, or as many as `target`
   * is long, into it. After a failure `target` is undefined. Never-written memory reads as zeros.
   */
  read(at: number, lengthOrTarget: number | Uint8Array): Uint8Array {
    const isLength = typeof lengthOrTarget === 'number';
    const wrong =
      badAddress('at', at) ??
      (isLength ? badLength('length', lengthOrTarget) : badBytes('target', lengthOrTarget));
    if (wrong !== undefined) throw wrong;
    const into = isLength ? newBytes(lengthOrTarget) : lengthOrTarget;
    if (into instanceof MemrackError) throw into;
    const outside = badRange(at, into.length);
    if (outside !== undefined) throw outside;
    this.#readPieces(at, into);
    return into;
  }

  #readPieces(at: number, into: Uint8Array): void {
    const { length } = into;
    for (let done = 0; done < length; ) {
      const bytes = pieceBytes(at + done, length - done, this.pageBytes);
      if (this.#now(MessageType.Read, at + done, into, done, bytes) !== Status.Ok) {
        const rest: Part = { at: at + done, buffer: into, start: done, bytes: length - done };
        this.#ask(Ask.Read, [rest], false);
        return;
      }
      done += bytes;
    }
  }

  /**
   * Writes bytes at any address. As `write` of a space: `NoSpace` means that nothing was written,
   * except of more bytes than the port has (`blocking({ bytes })`), which are written in parts.
   */
  write(at: number, bytes: Uint8Array): void {
    const wrong = badAddress('at', at) ?? badBytes('bytes', bytes) ?? badRange(at, bytes.length);
    if (wrong !== undefined) throw wrong;
    if (this.#writeNow(at, bytes) === Status.Ok) return;
    this.#ask(Ask.Write, [{ at, buffer: bytes, start: 0, bytes: bytes.length }], false);
  }

  /** What is cut into pieces first has to be promised the frames for all of them. */
  #writeNow(at: number, bytes: Uint8Array): number {
    const { length } = bytes;
    if (!isOnePiece(at, length, this.pageBytes)) return NOT_NOW;
    const status = this.#now(MessageType.Write, at, bytes, 0, length);
    if (status === Status.OutcomeUnknown) throw this.#unknown(`write of ${length} bytes at ${at}`);
    return status;
  }

  /** After a failure all targets are undefined. */
  readMany(reads: readonly ReadItem[]): void {
    const wrong = badMoves('read', 'into', reads, intoOf);
    if (wrong !== undefined) throw wrong;
    const rest: Part[] = [];
    for (const { at, into } of reads) {
      const isOne = isOnePiece(at, into.length, this.pageBytes);
      const isNow = isOne && this.#now(MessageType.Read, at, into, 0, into.length) === Status.Ok;
      if (!isNow) rest.push({ at, buffer: into, start: 0, bytes: into.length });
    }
    if (rest.length > 0) this.#ask(Ask.Read, rest, false);
  }

  /** In their order. When one fails those before it may have been made: `outcome` says so. */
  writeMany(writes: readonly WriteItem[]): void {
    const wrong = badMoves('write', 'from', writes, fromOf);
    if (wrong !== undefined) throw wrong;
    let next = 0;
    try {
      for (; next < writes.length; next++) {
        const { at, from } = writes[next] as WriteItem;
        if (this.#writeNow(at, from) !== Status.Ok) break;
      }
    } catch (error) {
      if (next === 0 || !(error instanceof MemrackError)) throw error;
      throw partial(error, `write of ${writes.length} items`);
    }
    // None overtakes one that cannot be made at once.
    const rest = writes
      .slice(next)
      .map(({ at, from }): Part => ({ at, buffer: from, start: 0, bytes: from.length }));
    if (rest.length > 0) this.#ask(Ask.Write, rest, next > 0);
  }

  /** Replaces the aligned word at `at` by `desired` if it is `expected`; gives the old value. */
  compareAndSwap(at: number, expected: bigint, desired: bigint): bigint {
    const wrong =
      badWordAddress(at) ?? badWord('expected', expected) ?? badWord('desired', desired);
    if (wrong !== undefined) throw wrong;
    this.#word[0] = expected;
    this.#word[1] = desired;
    return this.#atomic(MessageType.CompareAndSwap, Ask.CompareAndSwap, at);
  }

  /** Adds to the aligned 64-bit word at `at`, modulo 2^64; gives the old value. */
  fetchAndAdd(at: number, delta: bigint): bigint {
    const wrong = badWordAddress(at) ?? badDelta(delta);
    if (wrong !== undefined) throw wrong;
    this.#word[0] = BigInt.asUintN(64, delta);
    return this.#atomic(MessageType.FetchAndAdd, Ask.FetchAndAdd, at);
  }

  /**
   * Returns when everything that this thread has done before is applied: at once, because each verb
   * is done when it returns, unless one ended as `OutcomeUnknown`; then when that is over, too.
   */
  fence(): void {
    const what = 'fence of a thread that blocks';
    if (!this.#isDoubtful && !this.#isBehind) {
      if (this.#isClosed) throw this.#closed(what);
      return;
    }
    this.#prepare(what);
    if (!this.#channel.ask(Ask.Settle)) throw this.#unanswered(what, false);
    const failure = this.#channel.failure(what);
    if (failure !== undefined) throw failure;
    this.#isDoubtful = false;
  }

  /** Gives back what this thread holds of the nodes' memory. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#routes.close();
    Atomics.store(this.#words, PRESENCE, Presence.Left);
    if (this.#channel.isClear) this.#channel.send(Ask.Leave);
  }

  // --------------------------------------------------------------------- by this thread alone

  /** Of one piece: a status, or `NOT_NOW` where nothing was done. */
  #now(type: number, at: number, buffer: Uint8Array, start: number, bytes: number): number {
    const status = this.#try(type, at, buffer, start, bytes);
    if (status !== NOT_NOW || !this.#mayTryAgain(at)) return status;
    return this.#try(type, at, buffer, start, bytes);
  }

  #try(type: number, at: number, buffer: Uint8Array, start: number, bytes: number): number {
    const steps = this.#enter(at);
    if (steps === undefined) return NOT_NOW;
    if (type === MessageType.Read || type === MessageType.Write) {
      steps.one(type, this.#routes.last.window, at, bytes, buffer, start);
    } else {
      const h = this.#halves as unknown as Quarters;
      steps.oneAtomic(type, this.#routes.last.window, at, h[0], h[1], h[2], h[3]);
    }
    this.#memory.runNow(steps);
    Atomics.store(this.#words, BUSY, 0);
    if (steps.done === 0) return NOT_NOW;
    if (steps.certainty[0] === SURE) {
      this.doneAlone += 1;
      return Status.Ok;
    }
    return type === MessageType.Read ? NOT_NOW : Status.OutcomeUnknown;
  }

  /**
   * The steps to make at the address, if they may be made. Said to be busy first: who closes the
   * port looks at that after it has changed the version.
   */
  #enter(at: number): OneSided | undefined {
    const route = this.#routes.to(at);
    const { steps } = route;
    if (steps === undefined || (this.#isBehind && !this.#hasCaughtUp())) return undefined;
    Atomics.store(this.#words, BUSY, 1);
    if (route.version === this.#channel.version) return steps;
    Atomics.store(this.#words, BUSY, 0);
    return undefined;
  }

  #hasCaughtUp(): boolean {
    this.#isBehind = !this.#channel.isClear;
    return !this.#isBehind;
  }

  #mayTryAgain(at: number): boolean {
    this.#prepare(`operation at ${at}`);
    return this.#routes.isRenewed(this.#routes.to(at));
  }

  #atomic(
    type: number,
    kind: typeof Ask.CompareAndSwap | typeof Ask.FetchAndAdd,
    at: number,
  ): bigint {
    const status = this.#now(type, at, NO_BYTES, 0, WORD_BYTES);
    if (status === Status.Ok) return this.#oldValue();
    const what = `${kind === Ask.FetchAndAdd ? 'fetchAndAdd' : 'compareAndSwap'} at ${at}`;
    if (status === Status.OutcomeUnknown) throw this.#unknown(what);
    this.#prepare(what);
    const [a, b, c, d] = this.#halves as unknown as Quarters;
    const channel = this.#channel;
    if (!channel.ask(kind, lowOf(at), highOf(at), a, b, c, d)) throw this.#unanswered(what, true);
    const failure = channel.failure(what);
    if (failure !== undefined) throw this.#noted(failure);
    return channel.oldValue;
  }

  /** What the atomic found that was just done. */
  #oldValue(): bigint {
    const steps = this.#routes.last.steps as OneSided;
    const high = steps.oldHigh[0] as number;
    const low = steps.oldLow[0] as number;
    return high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low);
  }

  // -------------------------------------------------------------------- by the I/O thread

  #prepare(what: string): void {
    if (this.#isClosed) throw this.#closed(what);
    this.#channel.prepare(what);
  }

  /** `isBegun`: a part of it is done already. */
  #ask(kind: TransferKind, parts: readonly Part[], isBegun: boolean): void {
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    const verb = kind === Ask.Read ? 'read' : 'write';
    const what = `${verb} of ${bytes} bytes at ${parts[0]?.at ?? 0}`;
    const changes = kind === Ask.Write;
    const failure = this.#moved(kind, parts, what);
    if (failure === undefined) return;
    const isPartial = changes && (isBegun || this.#batches.done > 0);
    this.#isBehind = !this.#channel.isClear;
    throw this.#noted(isPartial ? partial(failure, what) : failure);
  }

  #moved(kind: TransferKind, parts: readonly Part[], what: string): MemrackError | undefined {
    this.#batches.done = 0;
    try {
      this.#prepare(what);
    } catch (error) {
      return error as MemrackError;
    }
    return this.#batches.move(kind, parts, what);
  }

  #unanswered(what: string, changes: boolean): MemrackError {
    this.#isBehind = true;
    return this.#noted(this.#channel.unanswered(what, changes));
  }

  /** A step of this thread ended so: it is over, whatever it did. */
  #unknown(what: string): MemrackError {
    const remedy = 'memory was moved under it, or its node restarted: read to see what is there';
    return new MemrackError('OutcomeUnknown', `${what} in space ${this.name}`, { remedy });
  }

  #noted(failure: MemrackError): MemrackError {
    if (failure.outcome === 'unknown') this.#isDoubtful = true;
    return failure;
  }

  #closed(what: string): MemrackError {
    return closed(`${what} in space ${this.name}: this thread's end of it is closed`);
  }
}

/** The failure of what comes after a part that was written. */
function partial(cause: MemrackError, what: string): MemrackError {
  const { code } = cause;
  const isFinal = code === 'DataLost' || code === 'NotAllocated' || code === 'Denied';
  if (isFinal || code === 'OutcomeUnknown') {
    return new MemrackError(code, cause.message, { outcome: 'unknown', remedy: '', cause });
  }
  const remedy = 'write the range again, or read it to see what is there';
  const mixed = `${what} with ${code} after a part of it was written`;
  return new MemrackError('OutcomeUnknown', mixed, { remedy, cause });
}
