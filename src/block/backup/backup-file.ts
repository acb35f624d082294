/**
 * The file behind a device: takes blocks at once, and writes them in the background, in its own
 * order (docs/internals/block-devices.md, "Backup").
 *
 *   write -> [area durably DIRTY] -> PendingBlocks -> told        RecordWriter: states of areas
 *                                        |                              ^
 *                                     drain: write, flush, areas that were closed: CLEAN
 */

import { Status } from '../../base/status.js';
import { OWNER_BLOCK_BYTES } from '../../disk/slab-owner.js';
import { AREA_BLOCKS, BLOCK_BYTES, layoutOf, type SlabLayout } from '../../replication/layout.js';
import { type Clock, sleep, type Timers } from '../../runtime/clock.js';
import { type Disk, DiskError, type File } from '../../runtime/disk.js';
import type { Checksum } from '../../runtime/runtime.js';
import { openBackup } from './backup-path.js';
import { BackupSlab } from './backup-slab.js';
import { FinalError, FlushedFile } from './flushed-file.js';
import { type FilePlan, filePlanOf } from './layout.js';
import { PendingBlocks } from './pending.js';
import { RecordWriter } from './record-writer.js';
import type { Behind, SlabFile } from './slab-file.js';

export interface BackupParts {
  readonly disk: Disk;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly checksum: Checksum;
  readonly path: string;
  readonly device: number;
  /** Of memory, for a copy of a slab. */
  readonly slabBytes: number;
  /** What may wait for the disk. */
  readonly bufferBytes: number;
  /** The disk has failed: the file takes nothing more; for ever, or until there is room again. */
  failed(reason: string, isFinal: boolean): void;
}

/** The most that is written at a time. */
const RUN_BLOCKS = 256;
/** As much is flushed at a time: a slow disk does it well within the time that it has. */
const FLUSH_BLOCKS = 2048;
/** What comes within this time goes to the disk together. */
const GATHER_MS = 5;
/** A disk that was full is tried again. */
const FULL_AGAIN_MS = 1_000;

type Tell = (status: Status) => void;

export class BackupFile implements SlabFile {
  readonly id: number;
  readonly layout: SlabLayout;
  readonly plan: FilePlan;
  readonly checksum: Checksum;
  readonly #parts: BackupParts;
  readonly records: RecordWriter;
  known: Behind | undefined;
  readonly pending: PendingBlocks;
  readonly #file: FlushedFile;
  readonly #slabs = new Map<number, BackupSlab>();
  readonly #half: number;
  readonly #scratch = new Uint8Array(RUN_BLOCKS * BLOCK_BYTES);
  /** Who waits for a flush, and who for what it wrote to be with the disk. */
  readonly #flushes: Tell[] = [];
  readonly #writes: Tell[] = [];
  /** Of these: what the round that is under way does. */
  readonly #roundFlushes: Tell[] = [];
  readonly #roundWrites: Tell[] = [];
  /** Written, and not flushed yet. */
  #unflushed: number[] = [];
  /** Areas that are clean as soon as nothing of them is pending. */
  readonly #closing = new Map<number, () => void>();
  #waiting: (() => void)[] = [];
  #isDraining = false;
  #failure: Status = Status.Ok;
  #isFinal = false;
  #isClosed = false;

  private constructor(parts: BackupParts, file: File, id: number) {
    this.#parts = parts;
    this.checksum = parts.checksum;
    this.id = id;
    this.layout = layoutOf(parts.slabBytes - OWNER_BLOCK_BYTES);
    this.plan = filePlanOf(this.layout);
    this.#file = new FlushedFile(file, parts.timers);
    this.#half = Math.floor(parts.bufferBytes / BLOCK_BYTES / 2);
    this.records = new RecordWriter(this.#file, (error) => this.fail(error));
    const areaOf = (block: number): number => Math.floor(block / AREA_BLOCKS);
    this.pending = new PendingBlocks(parts.bufferBytes, areaOf);
  }

  /** A text says why it cannot be used. Nobody else has it open. */
  static async open(parts: BackupParts): Promise<BackupFile | string> {
    const opened = await openBackup(parts, parts.path, parts);
    if (typeof opened === 'string') return opened;
    return new BackupFile(parts, opened.file, opened.facts.file);
  }

  get path(): string {
    return this.#parts.path;
  }

  get failure(): Status {
    return this.#failure;
  }

  slab(index: number): BackupSlab {
    const known = this.#slabs.get(index);
    if (known !== undefined) return known;
    const slab = new BackupSlab(this, index);
    this.#slabs.set(index, slab);
    return slab;
  }

  async read(at: number, into: Uint8Array): Promise<number> {
    if (this.#isClosed) throw new DiskError('io', 'the backup is closed');
    return this.#file.read(at, into);
  }

  // ------------------------------------------------------------------------------------ writing

  async room(blocks: number, deadline: number): Promise<Status> {
    const { clock, timers } = this.#parts;
    while (this.#failure === Status.Ok && !this.pending.hasRoom(blocks)) {
      const leftMs = deadline - clock.now();
      if (leftMs <= 0) return Status.Timeout;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        timers.after(leftMs, resolve);
      });
    }
    return this.#failure;
  }

  wake(): void {
    if (this.#isDraining || this.#failure !== Status.Ok || this.#isClosed) return;
    this.#isDraining = true;
    const isUrgent = this.#flushes.length > 0 || !this.pending.hasRoom(RUN_BLOCKS);
    this.#parts.timers.after(isUrgent ? 0 : GATHER_MS, () => void this.#drain());
  }

  close(area: number, clean: () => void): void {
    if (!this.pending.holdsArea(area)) {
      clean();
      return;
    }
    this.#closing.set(area, clean);
    this.wake();
  }

  keepOpen(area: number): void {
    this.#closing.delete(area);
  }

  isClosing(area: number): boolean {
    return this.#closing.has(area);
  }

  /** All that was taken before is on the disk. */
  flush(): Promise<Status> {
    return this.#told(this.#flushes);
  }

  written(): Promise<Status> {
    return this.#told(this.#writes);
  }

  #told(tells: Tell[]): Promise<Status> {
    const status = this.#isClosed ? Status.Closed : this.#failure;
    if (status !== Status.Ok) return Promise.resolve(status);
    return new Promise((tell) => {
      tells.push(tell);
      this.wake();
    });
  }

  async #drain(): Promise<void> {
    while (this.#isBusy()) {
      try {
        await this.#round();
      } catch (error) {
        this.fail(error);
      }
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
    this.#isDraining = false;
  }

  #isBusy(): boolean {
    if (this.#failure !== Status.Ok || this.#isClosed) return false;
    const isAwaited = this.#flushes.length > 0 || this.#writes.length > 0;
    return isAwaited || this.pending.queued > 0 || this.#unflushed.length > 0;
  }

  async #round(): Promise<void> {
    const blocks = this.pending.inOrder();
    // A failure in between tells them, and who asks after it waits for the next round.
    this.#roundWrites.push(...this.#writes.splice(0));
    this.#roundFlushes.push(...this.#flushes.splice(0));
    for (let from = 0; from < blocks.length; ) {
      let end = from + 1;
      while (end < blocks.length && end - from < RUN_BLOCKS && this.#follows(blocks, end)) end += 1;
      await this.#writeRun(blocks.slice(from, end));
      from = end;
      if (this.#unflushed.length >= FLUSH_BLOCKS) await this.#flush(false);
    }
    for (const tell of this.#roundWrites.splice(0)) tell(Status.Ok);
    const isAwaited = this.#roundFlushes.length > 0;
    const isDue = isAwaited || this.#closing.size > 0 || !this.pending.hasRoom(this.#half);
    // Else what comes meanwhile may share the flush.
    if (isDue || this.pending.queued === 0) await this.#flush(true);
  }

  async #flush(isAll: boolean): Promise<void> {
    const blocks = this.#unflushed;
    this.#unflushed = [];
    await this.#file.flush();
    this.pending.flushed(blocks);
    for (const tell of isAll ? this.#roundFlushes.splice(0) : []) tell(Status.Ok);
    this.#cleanClosed();
  }

  #follows(blocks: readonly number[], index: number): boolean {
    const block = blocks[index] as number;
    const isFirst = block % this.layout.blocks === 0;
    return !isFirst && block === (blocks[index - 1] as number) + 1;
  }

  async #writeRun(blocks: readonly number[]): Promise<void> {
    blocks.forEach((block, i) => this.pending.takeOut(block, this.#scratch, i * BLOCK_BYTES));
    const [first = 0] = blocks;
    const slab = Math.floor(first / this.layout.blocks);
    const at = this.plan.block(slab, first % this.layout.blocks);
    let isWritten = false;
    try {
      await this.#file.write(at, this.#scratch.subarray(0, blocks.length * BLOCK_BYTES));
      isWritten = true;
      for (const block of blocks) this.#unflushed.push(block);
    } finally {
      for (const block of blocks) this.pending.ended(block, isWritten);
    }
  }

  #cleanClosed(): void {
    for (const [area, clean] of [...this.#closing]) {
      if (this.pending.holdsArea(area)) continue;
      this.#closing.delete(area);
      clean();
    }
  }

  // ------------------------------------------------------------------------------------- ending

  /**
   * What is pending stays where it is, and is read from there. A disk that was full may have room
   * later; after every other error it is not written to again.
   */
  fail(error: unknown): void {
    const cause = error instanceof FinalError ? error.cause : error;
    if (!(cause instanceof DiskError)) throw error;
    const isFull = cause.kind === 'full';
    if (this.#failure === Status.Ok || error instanceof FinalError) {
      this.#isFinal ||= !isFull || error instanceof FinalError;
      this.#failure = isFull ? Status.NoSpace : Status.Unavailable;
      this.#parts.failed(cause.message, this.#isFinal);
      if (!this.#isFinal) this.#parts.timers.after(FULL_AGAIN_MS, () => this.#again());
    }
    this.#tellAll(this.#failure);
  }

  #again(): void {
    if (this.#isFinal) return;
    this.#failure = Status.Ok;
    this.wake();
  }

  #tellAll(status: Status): void {
    const lists = [this.#roundFlushes, this.#roundWrites, this.#flushes, this.#writes];
    for (const tell of lists.flatMap((list) => list.splice(0))) tell(status);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /**
   * What is pending is written first, if the disk lets it; resolves when it has ended all. False:
   * something may not have got there.
   */
  async end(): Promise<boolean> {
    const status = await this.flush();
    await this.records.end();
    this.#isClosed = true;
    this.#tellAll(Status.Closed);
    while (this.#isDraining) await sleep(this.#parts.timers, GATHER_MS);
    await this.#file.close();
    return status === Status.Ok && this.#failure === Status.Ok;
  }
}
