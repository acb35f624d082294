/**
 * A block device in an array, with holes, for tests: it can be late, out of order, or fail, and it
 * spoils what nobody may look at.
 */

import { assert } from '../../base/assert.js';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import type { Timers } from '../../runtime/clock.js';
import {
  Change,
  Extent,
  extentOf,
  type BlockBackend,
  type Exports,
  type BlockSink,
  NOT_NOW,
  PIECE_BYTES,
} from '../backend.js';

/** What holes are made of; smaller pieces of a hole that is written to are zeros with room. */
export const HOLE_BLOCK_BYTES = 4096;
const SPOILT = 0xee;

export type Verb = 'read' | 'write' | 'flush' | 'trim' | 'writeZeroes' | 'cache';

export interface MemoryBackendOptions {
  readonly name?: string;
  readonly description?: string;
  readonly bytes: number;
  readonly blockMin?: number;
  readonly isReadOnly?: boolean;
  readonly isSparse?: boolean;
  readonly seed?: number;
  /** Of one that another process had before; missing: it is empty. */
  readonly content?: Uint8Array;
}

export class MemoryBackend implements BlockBackend {
  readonly name: string;
  readonly description: string;
  readonly bytes: number;
  readonly blockMin: number;
  readonly blockPreferred = 4096;
  readonly isReadOnly: boolean;
  readonly isSparse: boolean;
  /** What is in it now. */
  readonly content: Uint8Array;
  /** Milliseconds after which a queued operation is told; undefined: all is done at once. */
  lateMs: ((verb: Verb, offset: number) => number) | undefined;
  /** Whether it is done at once although others are late; undefined: sometimes. */
  isNow: ((verb: Verb, offset: number, bytes: number) => boolean) | undefined;
  /** How an operation ends instead, without effect. */
  failure: ((verb: Verb, offset: number, bytes: number) => Status) | undefined;
  /** Fast zeroes are refused. */
  isSlowAtZeroes = false;
  /** Operations that were queued and not told. */
  underWay = 0;
  readonly calls: Record<Verb, number>;
  readonly #timers: Timers;
  readonly #prng: Prng;
  /** 1: takes room. */
  readonly #hasRoom: Uint8Array;
  /** When each block was changed last, and up to when its changes are safe. */
  readonly #changedAt: Float64Array;
  readonly #safeAt: Float64Array;
  #changes = 0;

  constructor(timers: Timers, options: MemoryBackendOptions) {
    this.#timers = timers;
    this.name = options.name ?? 'memory';
    this.description = options.description ?? '';
    this.bytes = options.bytes;
    this.blockMin = options.blockMin ?? 1;
    this.isReadOnly = options.isReadOnly ?? false;
    this.isSparse = options.isSparse ?? true;
    this.#prng = new Prng(options.seed ?? 1);
    this.content = options.content ?? new Uint8Array(options.bytes);
    const blocks = Math.ceil(options.bytes / HOLE_BLOCK_BYTES);
    this.#hasRoom = new Uint8Array(blocks);
    this.#changedAt = new Float64Array(blocks);
    this.#safeAt = new Float64Array(blocks);
    this.calls = { read: 0, write: 0, flush: 0, trim: 0, writeZeroes: 0, cache: 0 };
  }

  /** Whether every change of these bytes that was told is safe. */
  isSafe(offset: number, bytes: number): boolean {
    return this.#blocksOf(offset, bytes).every(
      (block) => (this.#safeAt[block] as number) >= (this.#changedAt[block] as number),
    );
  }

  /** Fills it with `bytes` from `offset` on, as if they had been written. */
  fill(offset: number, bytes: Uint8Array): void {
    this.#put(offset, bytes, 0, bytes.length, 0);
  }

  readNow(offset: number, into: Uint8Array, start: number, bytes: number): number {
    this.#checkPiece(offset, bytes, into, start);
    const status = this.#now('read', offset, bytes);
    if (status === Status.Ok) into.set(this.content.subarray(offset, offset + bytes), start);
    else into.fill(SPOILT, start, start + bytes);
    return status;
  }

  writeNow(offset: number, from: Uint8Array, start: number, bytes: number, change: number): number {
    this.#checkPiece(offset, bytes, from, start);
    assert(!this.isReadOnly && (change & ~Change.DURABLE) === 0, 'a write that is none');
    const status = this.#now('write', offset, bytes);
    if (status === Status.Ok) this.#put(offset, from, start, bytes, change);
    return status;
  }

  read(
    offset: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: BlockSink,
    token: number,
  ): void {
    this.#checkPiece(offset, bytes, into, start);
    into.fill(SPOILT, start, start + bytes);
    this.#later('read', offset, bytes, sink, token, (status) => {
      if (status === Status.Ok) into.set(this.content.subarray(offset, offset + bytes), start);
    });
  }

  write(
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    change: number,
    sink: BlockSink,
    token: number,
  ): void {
    this.#checkPiece(offset, bytes, from, start);
    assert(!this.isReadOnly, 'a write to what is read-only');
    this.#later('write', offset, bytes, sink, token, (status) => {
      if (status === Status.Ok) this.#put(offset, from, start, bytes, change);
      from.fill(SPOILT, start, start + bytes);
    });
  }

  flush(sink: BlockSink, token: number): void {
    const upTo = this.#changes;
    this.#later('flush', 0, 0, sink, token, (status) => {
      if (status !== Status.Ok) return;
      for (let i = 0; i < this.#safeAt.length; i++) {
        this.#safeAt[i] = Math.max(this.#safeAt[i] as number, upTo);
      }
    });
  }

  trim(offset: number, bytes: number, change: number, sink: BlockSink, token: number): void {
    this.#checkRange(offset, bytes);
    assert(!this.isReadOnly, 'a trim of what is read-only');
    this.#later('trim', offset, bytes, sink, token, (status) => {
      if (status === Status.Ok) this.#clear(offset, bytes, change);
    });
  }

  writeZeroes(offset: number, bytes: number, change: number, sink: BlockSink, token: number): void {
    this.#checkRange(offset, bytes);
    assert(!this.isReadOnly, 'zeroes to what is read-only');
    const isRefused = this.isSlowAtZeroes && (change & Change.FAST) !== 0;
    this.#later(
      'writeZeroes',
      offset,
      bytes,
      sink,
      token,
      (status) => {
        if (status === Status.Ok) this.#clear(offset, bytes, change);
      },
      isRefused ? Status.Unsupported : undefined,
    );
  }

  cache(offset: number, bytes: number, sink: BlockSink, token: number): void {
    this.#checkRange(offset, bytes);
    this.#later('cache', offset, bytes, sink, token, () => undefined);
  }

  readonly watchers = new Set<() => void>();

  whenOthersWrote(changed: () => void): () => void {
    this.watchers.add(changed);
    return () => this.watchers.delete(changed);
  }

  extent(offset: number, bytes: number): number {
    this.#checkRange(offset, bytes);
    const first = this.#stateOf(Math.floor(offset / HOLE_BLOCK_BYTES));
    let end = offset - (offset % HOLE_BLOCK_BYTES) + HOLE_BLOCK_BYTES;
    while (end < offset + bytes && this.#stateOf(end / HOLE_BLOCK_BYTES) === first) {
      end += HOLE_BLOCK_BYTES;
    }
    return extentOf(Math.min(bytes, end - offset), first);
  }

  #stateOf(block: number): number {
    return this.#hasRoom[block] === 1 ? 0 : Extent.HOLE | Extent.ZERO;
  }

  #checkRange(offset: number, bytes: number): void {
    const isWithin = offset >= 0 && bytes > 0 && offset + bytes <= this.bytes;
    assert(isWithin && Number.isInteger(offset), 'a range that is not within the export');
    const isAligned = offset % this.blockMin === 0 && bytes % this.blockMin === 0;
    assert(isAligned, 'a range that is not aligned');
  }

  #checkPiece(offset: number, bytes: number, buffer: Uint8Array, start: number): void {
    this.#checkRange(offset, bytes);
    const last = offset + bytes - 1;
    const isOne = Math.floor(offset / PIECE_BYTES) === Math.floor(last / PIECE_BYTES);
    assert(isOne && start >= 0 && start + bytes <= buffer.length, 'a piece that is none');
  }

  #now(verb: Verb, offset: number, bytes: number): number {
    const isNow = this.isNow?.(verb, offset, bytes) ?? this.#prng.below(4) === 0;
    if (this.lateMs !== undefined && !isNow) return NOT_NOW;
    this.calls[verb]++;
    return this.failure?.(verb, offset, bytes) ?? Status.Ok;
  }

  #later(
    verb: Verb,
    offset: number,
    bytes: number,
    sink: BlockSink,
    token: number,
    effect: (status: Status) => void,
    refusal?: Status,
  ): void {
    this.calls[verb]++;
    this.underWay++;
    const tell = (): void => {
      this.underWay--;
      const status = refusal ?? this.failure?.(verb, offset, bytes) ?? Status.Ok;
      effect(status);
      sink.completed(token, status);
    };
    const lateMs = this.lateMs?.(verb, offset) ?? 0;
    if (lateMs > 0) this.#timers.after(lateMs, tell);
    else this.#timers.soon(tell);
  }

  #blocksOf(offset: number, bytes: number): number[] {
    const first = Math.floor(offset / HOLE_BLOCK_BYTES);
    const last = Math.floor((offset + bytes - 1) / HOLE_BLOCK_BYTES);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }

  #put(offset: number, from: Uint8Array, start: number, bytes: number, change: number): void {
    this.content.set(from.subarray(start, start + bytes), offset);
    this.#changed(offset, bytes, change);
    for (const block of this.#blocksOf(offset, bytes)) this.#hasRoom[block] = 1;
  }

  #changed(offset: number, bytes: number, change: number): void {
    this.#changes++;
    for (const block of this.#blocksOf(offset, bytes)) {
      this.#changedAt[block] = this.#changes;
      if ((change & Change.DURABLE) !== 0) this.#safeAt[block] = this.#changes;
    }
  }

  #clear(offset: number, bytes: number, change: number): void {
    this.content.fill(0, offset, offset + bytes);
    this.#changed(offset, bytes, change);
    for (const block of this.#blocksOf(offset, bytes)) {
      const isWhole =
        block * HOLE_BLOCK_BYTES >= offset && (block + 1) * HOLE_BLOCK_BYTES <= offset + bytes;
      if ((change & Change.NO_HOLE) !== 0) this.#hasRoom[block] = 1;
      else if (isWhole) this.#hasRoom[block] = 0;
    }
  }
}

/** Some exports; the first is the default one. Counts who uses them. */
export class MemoryExports implements Exports {
  users = 0;
  lists = 0;
  /** Names are looked up late. */
  waitFor: Promise<void> | undefined;
  readonly #backends: readonly BlockBackend[];

  constructor(...backends: readonly BlockBackend[]) {
    this.#backends = backends;
  }

  async find(name: string): Promise<BlockBackend | undefined> {
    await this.waitFor;
    const found =
      name === '' ? this.#backends[0] : this.#backends.find((backend) => backend.name === name);
    if (found !== undefined) this.users++;
    return found;
  }

  list(): Promise<readonly BlockBackend[]> {
    this.lists++;
    return Promise.resolve(this.#backends);
  }

  release(): void {
    this.users--;
    assert(this.users >= 0, 'released more often than found');
  }
}
