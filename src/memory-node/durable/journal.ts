/**
 * Makes what is stored in a table file durable. Every store goes through `store`, which notes the
 * unit of 16 bytes; a *commit* writes the units that were noted, as they are when it begins, as one
 * batch of the log, or the whole table as a checkpoint where that is shorter. It begins between two
 * turns of the thread that stores, so a batch ends at a state that the table had between two turns:
 * what a new process copes with.
 *
 * Commits are made one after the other. Whoever has to know waits for the next one; what nobody
 * waits for is committed after a while. See docs/internals/persistence.md.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { grown } from '../../base/columns.js';
import { Histogram } from '../../base/histogram.js';
import { writeImage } from '../../disk/durable-image.js';
import {
  type Checkpoint,
  durablePlaces,
  type DurableSizes,
  writeSuperblock,
} from '../../disk/durable-layout.js';
import { LogWriter, UNIT_BYTES, UNIT_WORDS } from '../../disk/durable-log.js';
import { type StoreWord, storeWord } from '../../disk/layout.js';
import { ENTRY_FLAGS, ENTRY_FRAME } from '../../disk/page-table.js';
import type { Clock, Timer, Timers } from '../../runtime/clock.js';
import type { DurableFile, FileRange } from '../../runtime/durable.js';
import type { Mapping } from '../../runtime/memory.js';
import type { Checksum, Entropy } from '../../runtime/runtime.js';
import { durableFaults } from './planted.js';
import { merged } from './ranges.js';

/** What nobody waits for is committed so much later. */
const LAZY_MS = 100;
/** What is timed: from 64 microseconds to two minutes, in seconds. */
const LEAST_S = 64e-6;
const BUCKETS = 21;
const RECORD_WORDS = 1 + UNIT_WORDS;
const UNITS_AT_FIRST = 256;

/** The page table within the table file. */
export interface PagePlace {
  /** Units of the table file: entries of the page table. */
  readonly first: number;
  readonly entries: number;
  readonly pageBytes: number;
  readonly frames: number;
}

export interface JournalParts {
  readonly file: DurableFile;
  readonly sizes: DurableSizes;
  /** Shows the file from the end of its frames on. */
  readonly shown: Mapping;
  /** The table file, as it is now. */
  readonly table: Mapping;
  readonly pages: PagePlace;
  /** Of the checkpoint that counts. */
  readonly before: Checkpoint;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly checksum: Checksum;
  /** Writing failed: this process must end, and answer nobody. */
  readonly failed: (error: unknown) => void;
}

export class Journal {
  commits = 0;
  checkpoints = 0;
  readonly #flushSeconds = new Histogram(LEAST_S, BUCKETS);
  readonly #commitSeconds = new Histogram(LEAST_S, BUCKETS);
  /** In place of `storeWord`, for the table file alone. */
  readonly store: StoreWord;
  readonly #parts: JournalParts;
  readonly #log: LogWriter;
  /** The units that were noted since the last commit began, each once. */
  #noted = new Int32Array(UNITS_AT_FIRST);
  #count = 0;
  readonly #isNoted: Uint8Array;
  #records = new Int32Array(UNITS_AT_FIRST * RECORD_WORDS);
  /** Frames whose content was durable when their page got them, or is not needed. */
  readonly #isDurable: Uint8Array;
  /** Frames that are being flushed and that no page has, as far as they were not filled again. */
  readonly #filled = new Set<Set<FrameIndex>>();
  #last: Checkpoint;
  /** The commit that runs, and the one after it. */
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #lazy: Timer | undefined;
  #isStopped = false;
  /** Commits that have begun and not ended. */
  #underWay = 0;

  constructor(parts: JournalParts) {
    const { table, pages, sizes, shown, file, checksum } = parts;
    this.#parts = parts;
    this.#last = parts.before;
    this.#isNoted = new Uint8Array(table.bytes.length / UNIT_BYTES);
    this.#isDurable = new Uint8Array(pages.frames);
    const { log } = durablePlaces(sizes);
    const start = log - sizes.frameBytes;
    const bytes = shown.bytes.subarray(start, start + sizes.logBytes);
    const words = shown.words.subarray(start / 4, (start + sizes.logBytes) / 4);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#log = new LogWriter({ bytes, words, view }, log, checksum);
    assert(shown.bytes.length === file.bytes - sizes.frameBytes, 'all behind the frames is shown');
    const base = table.words.byteOffset;
    this.store = (words, at, value) => {
      storeWord(words, at, value);
      this.#note((words.byteOffset - base + 4 * at) >>> 4);
    };
  }

  #note(unit: number): void {
    if (this.#isNoted[unit] !== 0) return;
    this.#isNoted[unit] = 1;
    if (this.#count === this.#noted.length) {
      this.#noted = grown(this.#noted, new Int32Array(2 * this.#count));
    }
    this.#noted[this.#count++] = unit;
    if (this.#count === 1) this.#commitLater();
  }

  #commitLater(): void {
    this.#lazy ??= this.#parts.timers.after(LAZY_MS, () => {
      this.#lazy = undefined;
      void this.commit();
    });
  }

  /** Of this opening of the file. */
  get opening(): number {
    return this.#last.opening;
  }

  /** Whether all that was stored is durable. */
  get isClean(): boolean {
    return this.#count === 0 && this.#underWay === 0;
  }

  /** Gives the answer when what it rests upon is durable; as it is where that is so already. */
  whenDurable<T>(answer: T): T | Promise<T> {
    if (this.isClean || durableFaults.answeredBeforeCommit) return answer;
    return this.commit().then(() => answer);
  }

  /**
   * Resolves when what was stored in these ranges of the frames before survives the machine, and
   * which pages have them; never, where that fails.
   */
  async flush(ranges: readonly FileRange[]): Promise<void> {
    const begunMs = this.#parts.clock.now();
    if (ranges.length > 0 && !durableFaults.rangeNotFlushed) await this.#flush(ranges);
    await this.commit();
    this.#flushSeconds.add((this.#parts.clock.now() - begunMs) / 1000);
  }

  /** A page has lost the frame, or it is filled for one: its content is another one. */
  lost(frame: FrameIndex): void {
    this.#isDurable[frame] = 0;
    for (const frames of this.#filled) frames.delete(frame);
  }

  /**
   * Resolves when what is in these frames, which no page has yet, is durable. The commit that gives
   * them to pages does not flush them again, unless they were said to be `lost` since.
   */
  async flushFrames(frames: readonly FrameIndex[]): Promise<void> {
    const { pageBytes } = this.#parts.pages;
    const flushed = new Set(frames);
    if (!durableFaults.copiesNotFlushed && frames.length > 0) {
      this.#filled.add(flushed);
      const ranges = frames.map((frame) => ({ offset: frame * pageBytes, bytes: pageBytes }));
      await this.#flush(merged(ranges));
      this.#filled.delete(flushed);
    }
    for (const frame of flushed) this.#isDurable[frame] = 1;
  }

  /** Resolves when what was stored before is durable; never, where that fails. */
  commit(): Promise<void> {
    if (this.#count === 0) return this.#next ?? this.#running ?? Promise.resolve();
    this.#next ??= (this.#running ?? Promise.resolve()).then(() => this.#begin());
    return this.#next;
  }

  #begin(): Promise<void> {
    const run = this.#commit('batch');
    this.#running = run;
    this.#next = undefined;
    return run;
  }

  /** The first thing that a process does with a table: resolves when all of it is durable. */
  start(): Promise<void> {
    assert(this.#running === undefined && this.commits === 0, 'a journal is started once');
    this.#running = this.#commit('whole');
    return this.#running;
  }

  /**
   * The last thing that a process does with a table: resolves when the file says of itself that
   * nobody has it open, and can be copied.
   */
  async close(): Promise<void> {
    this.#lazy?.cancel();
    this.#lazy = undefined;
    while (!this.isClean) await this.commit();
    this.#running = this.#commit('last');
    await this.#running;
    this.stop();
  }

  async #commit(kind: 'batch' | 'whole' | 'last'): Promise<void> {
    this.#underWay += 1;
    const begunMs = this.#parts.clock.now();
    const isBatch = kind === 'batch' && this.#log.hasRoom(this.#count);
    await (isBatch ? this.#append() : this.#checkpoint(kind));
    this.#underWay -= 1;
    this.commits += 1;
    this.#commitSeconds.add((this.#parts.clock.now() - begunMs) / 1000);
  }

  /** After a failure this process must end: nobody is told anything any more. */
  async #flush(ranges: readonly FileRange[]): Promise<void> {
    try {
      await this.#parts.file.flush(ranges);
    } catch (error) {
      if (durableFaults.failureIgnored) return;
      if (!this.#isStopped) this.#parts.failed(error);
      this.#isStopped = true;
    }
    if (this.#isStopped) await new Promise<void>(() => undefined);
  }

  async #append(): Promise<void> {
    const count = this.#count;
    const frames = this.#framesOfNoted();
    const records = this.#takeRecords();
    if (frames.length > 0 && !durableFaults.framesNotFlushed) await this.#flush(frames);
    const batch = this.#log.append({ count, records });
    if (!durableFaults.batchNotFlushed) await this.#flush([batch]);
  }

  /** The noted units as they are now; nothing is noted any more. */
  #takeRecords(): Int32Array {
    const { words } = this.#parts.table;
    if (this.#records.length < this.#count * RECORD_WORDS) {
      this.#records = new Int32Array(this.#noted.length * RECORD_WORDS);
    }
    const records = this.#records;
    for (let i = 0; i < this.#count; i++) {
      const unit = this.#noted[i] as number;
      records[i * RECORD_WORDS] = unit;
      for (let word = 0; word < UNIT_WORDS; word++) {
        records[i * RECORD_WORDS + 1 + word] = words[unit * UNIT_WORDS + word] as number;
      }
      this.#isNoted[unit] = 0;
    }
    this.#count = 0;
    return records;
  }

  /** What pages of noted entries hold that got their frames since the last commit. */
  #framesOfNoted(): FileRange[] {
    const ranges: FileRange[] = [];
    for (let i = 0; i < this.#count; i++) this.#addFrame(this.#noted[i] as number, ranges);
    return merged(ranges);
  }

  #addFrame(unit: number, ranges: FileRange[]): void {
    const { pages, table } = this.#parts;
    if (unit < pages.first || unit >= pages.first + pages.entries) return;
    const entry = unit * UNIT_WORDS;
    const frame = (table.words[entry + ENTRY_FRAME] as number) - 1;
    if (table.words[entry + ENTRY_FLAGS] === 0 || frame < 0) return;
    if (this.#isDurable[frame] !== 0) return;
    // Before the flush: a page that loses the frame meanwhile takes it back.
    this.#isDurable[frame] = 1;
    ranges.push({ offset: frame * pages.pageBytes, bytes: pages.pageBytes });
  }

  async #checkpoint(kind: 'batch' | 'whole' | 'last'): Promise<void> {
    const { shown, sizes, table, pages, entropy, checksum } = this.#parts;
    const ranges: FileRange[] = [];
    if (kind === 'whole') {
      for (let i = 0; i < pages.entries; i++) this.#addFrame(pages.first + i, ranges);
    } else {
      ranges.push(...this.#framesOfNoted());
    }
    const of = { generation: this.#last.generation + 1, salt: entropy.u32() };
    const image = writeImage(shown, sizes.frameBytes, sizes, of, table.words, checksum);
    this.#takeRecords();
    const parts = [
      ...(durableFaults.framesNotFlushed ? [] : ranges),
      ...(durableFaults.imageNotFlushed ? [] : [image.range]),
    ];
    if (parts.length > 0) await this.#flush(parts);
    this.#last = { ...this.#last, ...of, image: image.checksum, isClosed: kind === 'last' };
    const superblock = writeSuperblock(shown, sizes.frameBytes, sizes, this.#last);
    if (!durableFaults.superblockNotFlushed) await this.#flush([superblock]);
    this.#log.begin(of);
    // So that it is seen when the superblock gets lost.
    await this.#flush([this.#log.append({ count: 0, records: this.#records })]);
    this.checkpoints += 1;
  }

  /** For the counters. */
  counts(): Record<string, unknown> {
    const { commits, checkpoints } = this;
    return {
      ...{ commits, checkpoints, logBytesUsed: this.#log.bytesUsed, unitsNoted: this.#count },
      flushSeconds: this.#flushSeconds.counts(),
      commitSeconds: this.#commitSeconds.counts(),
    };
  }

  /** Commits nothing by itself any more. */
  stop(): void {
    this.#lazy?.cancel();
    this.#lazy = undefined;
    this.#isStopped = true;
  }
}
