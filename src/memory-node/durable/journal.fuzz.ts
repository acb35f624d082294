/**
 * A small node's table on a simulated disk: random stores, frames that come and go, flushes, and a
 * crash of the machine at any moment, or a kill alone. What is read back is a state that the table
 * had between two turns, not before the last one that was told to be durable; pages show nobody
 * else's bytes, and what was flushed. `MEMRACK_FUZZ` sets the number of runs, `MEMRACK_SEED` the
 * first.
 */

import { expect, test } from 'vitest';
import { crc32c } from '../../base/crc32c.js';
import { Prng } from '../../base/prng.js';
import type { FrameIndex } from '../../base/brands.js';
import { writeImage } from '../../disk/durable-image.js';
import { type Checkpoint, durablePlaces, writeSuperblock } from '../../disk/durable-layout.js';
import { batchBytes, UNIT_WORDS } from '../../disk/durable-log.js';
import { readStoredTable } from '../../disk/durable-table.js';
import { ENTRY_FLAGS, ENTRY_FRAME } from '../../disk/page-table.js';
import { sleep } from '../../runtime/clock.js';
import type { DurableFile } from '../../runtime/durable.js';
import type { Mapping } from '../../runtime/memory.js';
import type { Runtime } from '../../runtime/runtime.js';
import { FaultKind, SimulatedWorld } from '../../runtime/simulated/world.js';
import { Journal } from './journal.js';

const RUNS = Math.max(20, Math.floor(Number(process.env['MEMRACK_FUZZ'] ?? 20_000) / 400));
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);

const PAGE = 4096;
const FRAMES = 6;
/** Half of the table are entries, the other half words of other kinds. */
const UNITS = 256;
const ENTRIES = 16;
const LOG_BATCHES = 5;
const SIZES = {
  frameBytes: FRAMES * PAGE,
  tableBytes: UNITS * UNIT_WORDS * 4,
  logBytes: LOG_BATCHES * batchBytes(1),
};
const checksum = { crc32c };

/** Of an entry: which page is there, and what of it was flushed. */
interface Page {
  readonly stamp: number;
  readonly frame: number;
  /** What was written to all of it, in order. */
  readonly values: number[];
  /** Each word is of one of so many last ones: after a crash some may be of an older write. */
  last: number;
}

/** Each word of the page is of the write of this place, or of a later one. */
interface Flushed {
  readonly page: Page;
  readonly from: number;
}

class SmallNode {
  readonly table: Mapping;
  readonly frames: Mapping;
  readonly journal: Journal;
  readonly pages = new Map<number, Page>();
  readonly free = new Set<number>();
  /** After each turn. */
  readonly states: Int32Array[] = [];
  /** The number of states when the last answer was given that all of them are durable. */
  durable = 0;
  /** By stamp. */
  readonly flushed: Map<number, Flushed>;
  failed = false;
  readonly #prng: Prng;
  readonly #file: DurableFile;
  readonly #values: Map<number, number[]>;
  #nextStamp: number;

  constructor(runtime: Runtime, file: DurableFile, prng: Prng, left: Left) {
    this.#prng = prng;
    this.#file = file;
    this.#nextStamp = left.nextStamp;
    this.flushed = left.flushed;
    this.#values = left.values;
    const { before } = left;
    this.table = runtime.memory.create('memrack-table', SIZES.tableBytes).map(0, SIZES.tableBytes);
    this.table.words.set(left.table);
    this.frames = file.map(0, SIZES.frameBytes);
    const shown = file.map(SIZES.frameBytes, file.bytes - SIZES.frameBytes);
    const { clock, timers, entropy } = runtime;
    this.journal = new Journal({
      ...{ file, sizes: SIZES, shown, table: this.table, before },
      ...{ clock, timers, entropy, checksum },
      pages: { first: UNITS - ENTRIES, entries: ENTRIES, pageBytes: PAGE, frames: FRAMES },
      failed: () => {
        this.failed = true;
      },
    });
    this.states.push(this.table.words.slice());
    this.durable = 1;
  }

  /** Takes over the pages of the table; frames that no page has are zeroed. */
  async start(): Promise<void> {
    await this.journal.start();
    for (let frame = 0; frame < FRAMES; frame++) this.free.add(frame);
    for (const { entry, stamp, frame } of pagesOf(this.table.words)) {
      const values = this.#values.get(stamp) ?? [];
      const there = this.#valuesIn(frame);
      values.push(...there);
      this.pages.set(entry, { stamp, frame, values, last: there.length });
      this.free.delete(frame);
    }
    for (const frame of this.free) this.#zero(frame);
  }

  #valuesIn(frame: number): number[] {
    const words = this.frames.wide.subarray((frame * PAGE) / 8, ((frame + 1) * PAGE) / 8);
    return [...new Set(Array.from(words, (word) => Number(word) % 1000))];
  }

  #zero(frame: number): void {
    this.frames.wide.fill(0n, (frame * PAGE) / 8, ((frame + 1) * PAGE) / 8);
  }

  get nextStamp(): number {
    return this.#nextStamp;
  }

  turn(): void {
    const { words } = this.table;
    const stores = 1 + this.#prng.below(3);
    for (let i = 0; i < stores; i++) this.#change();
    expect(words.length).toBe(UNITS * UNIT_WORDS);
    this.states.push(words.slice());
  }

  #change(): void {
    const kind = this.#prng.below(6);
    const entry = UNITS - ENTRIES + this.#prng.below(ENTRIES);
    const page = this.pages.get(entry);
    if (kind === 0) this.#put(this.#prng.below((UNITS - ENTRIES) * UNIT_WORDS), this.#prng.u32());
    else if (kind === 1 && page === undefined) this.#insert(entry);
    else if (kind === 2 && page !== undefined) this.#remove(entry, page);
    else if (kind === 3 && page !== undefined) this.#relocate(entry, page);
    else if (page !== undefined) this.#write(page, this.#prng.below(1000));
  }

  #put(word: number, value: number): void {
    this.journal.store(this.table.words, word, value);
  }

  #insert(entry: number): void {
    const [frame] = this.free;
    if (frame === undefined) return;
    this.free.delete(frame);
    const page = { stamp: this.#nextStamp++, frame, values: [], last: 0 };
    this.#values.set(page.stamp, page.values);
    this.pages.set(entry, page);
    this.#put(entry * UNIT_WORDS, page.stamp);
    this.#put(entry * UNIT_WORDS + ENTRY_FRAME, frame + 1);
    this.#put(entry * UNIT_WORDS + ENTRY_FLAGS, 1);
    this.#write(page, 0);
  }

  /** Every word says whose it is, and which write of its page. */
  #write(page: Page, value: number): void {
    const { stamp, frame, values } = page;
    values.push(value);
    page.last = 1;
    const first = (frame * PAGE) / 8;
    this.frames.wide.fill(BigInt(stamp * 1000 + value), first, first + PAGE / 8);
  }

  #remove(entry: number, { frame }: Page): void {
    this.pages.delete(entry);
    this.#put(entry * UNIT_WORDS + ENTRY_FRAME, 0);
    this.#put(entry * UNIT_WORDS + ENTRY_FLAGS, 0);
    this.#retire(frame);
  }

  #relocate(entry: number, page: Page): void {
    const [frame] = this.free;
    if (frame === undefined) return;
    this.free.delete(frame);
    const from = (page.frame * PAGE) / 8;
    this.frames.wide.copyWithin((frame * PAGE) / 8, from, from + PAGE / 8);
    this.#put(entry * UNIT_WORDS + ENTRY_FRAME, frame + 1);
    this.pages.set(entry, { ...page, frame });
    this.#retire(page.frame);
  }

  /** Zeroed and free when its loss is durable. */
  #retire(frame: number): void {
    this.journal.lost(frame as FrameIndex);
    void this.journal.commit().then(() => {
      this.#zero(frame);
      this.free.add(frame);
    });
  }

  /** As who answers a call. */
  async commit(): Promise<void> {
    const turns = this.states.length;
    await this.journal.commit();
    this.#answered(turns);
  }

  #answered(turns: number): void {
    if (!this.failed) this.durable = Math.max(this.durable, turns);
  }

  async flush(): Promise<void> {
    const pages = [...this.pages.values()];
    const page = pages[this.#prng.below(pages.length + 1)];
    if (page === undefined) return;
    const from = page.values.length - page.last;
    const turns = this.states.length;
    try {
      await this.#file.flush([{ offset: page.frame * PAGE, bytes: PAGE }]);
    } catch {
      this.failed = true;
      return;
    }
    await this.journal.commit();
    this.#answered(turns);
    if (!this.failed) this.flushed.set(page.stamp, { page, from });
  }
}

/** What a life of the node leaves to the next one. */
interface Left {
  readonly table: Int32Array;
  readonly before: Checkpoint;
  readonly flushed: Map<number, Flushed>;
  readonly nextStamp: number;
  /** What was written to pages, by stamp. */
  readonly values: Map<number, number[]>;
}

function pagesOf(table: Int32Array): { entry: number; stamp: number; frame: number }[] {
  const pages: { entry: number; stamp: number; frame: number }[] = [];
  for (let entry = UNITS - ENTRIES; entry < UNITS; entry++) {
    const at = entry * UNIT_WORDS;
    const frame = (table[at + ENTRY_FRAME] as number) - 1;
    if (table[at + ENTRY_FLAGS] !== 0) pages.push({ entry, stamp: table[at] as number, frame });
  }
  return pages;
}

class Fuzz {
  readonly #world: SimulatedWorld;
  readonly #prng: Prng;
  commits = 0;
  checkpoints = 0;
  #left: Left = {
    table: new Int32Array(UNITS * UNIT_WORDS),
    before: NOTHING_BEFORE,
    flushed: new Map(),
    nextStamp: 1,
    values: new Map(),
  };

  constructor(seed: number) {
    this.#world = new SimulatedWorld({ seed, immediate: setImmediate });
    this.#prng = new Prng(seed);
  }

  async make(): Promise<void> {
    const { runtime } = this.#world.program(this.#world.machine('a'), 'maker');
    const make = async (): Promise<void> => {
      const file = await runtime.durables.create('/file', durablePlaces(SIZES).end);
      const shown = file.map(0, file.bytes);
      const { table } = this.#left;
      const of = NOTHING_BEFORE;
      const image = writeImage(shown, 0, SIZES, of, table, checksum);
      this.#left = { ...this.#left, before: { ...of, image: image.checksum } };
      writeSuperblock(shown, 0, SIZES, this.#left.before);
      await file.flush([{ offset: 0, bytes: file.bytes }]);
      await runtime.disk.flushDirectory('/');
    };
    await this.#world.drive(make());
  }

  /** A node works until its machine crashes, or it is killed; '' when all is well then. */
  async live(): Promise<string> {
    const world = this.#world;
    const machine = world.machine('a');
    const process = world.program(machine, 'node');
    const { runtime } = process;
    const begin = async (): Promise<SmallNode> => {
      const file = await runtime.durables.open('/file');
      const node = new SmallNode(runtime, file, this.#prng, this.#left);
      await node.start();
      return node;
    };
    const node = await world.drive(begin());
    if (this.#prng.below(4) === 0) world.faults.setRate(FaultKind.DiskFlushError, 30_000);
    await world.drive(this.#work(runtime, node));
    world.faults.setRate(FaultKind.DiskFlushError, 0);
    this.commits += node.journal.commits;
    this.checkpoints += node.journal.checkpoints - 1;
    if (this.#prng.below(3) === 0) world.kill(process);
    else {
      world.crash(machine);
      world.restart(machine);
    }
    return this.#look(node);
  }

  async #work(runtime: Runtime, node: SmallNode): Promise<void> {
    const prng = this.#prng;
    const turns = prng.below(200);
    for (let i = 0; i < turns && !node.failed; i++) {
      node.turn();
      const kind = prng.below(8);
      if (kind === 0) void node.commit();
      if (kind === 1) void node.flush();
      if (kind === 2) await Promise.race([node.commit(), sleep(runtime.timers, 20)]);
      if (prng.below(3) === 0) await sleep(runtime.timers, prng.below(4));
    }
  }

  async #look(node: SmallNode): Promise<string> {
    const { runtime } = this.#world.program(this.#world.machine('a'), 'reader');
    const file = await this.#world.drive(runtime.durables.open('/file'));
    // Otherwise a flush that failed could have left what is not on the disk.
    await this.#world.drive(file.settle());
    const stored = readStoredTable((at, bytes) => file.map(at, bytes), file.bytes, checksum);
    if (typeof stored === 'string') return stored;
    const { table, checkpoint } = stored;
    this.#left = { ...this.#left, table, before: checkpoint, nextStamp: node.nextStamp };
    const problem = judge(node, table, file.map(0, SIZES.frameBytes).wide);
    file.release();
    return problem;
  }
}

const NOTHING_BEFORE: Checkpoint = {
  generation: 1,
  salt: 1,
  image: 0,
  opening: 1,
  device: 1,
  inode: 1,
  isClosed: true,
};

function isEqual(one: Int32Array, other: Int32Array): boolean {
  return one.every((word, i) => word === other[i]);
}

/** What is wrong; empty when nothing is. */
function judge(node: SmallNode, table: Int32Array, wide: BigUint64Array): string {
  const from = node.durable - 1;
  const isState = node.states.some((one, i) => i >= from && isEqual(one, table));
  if (!isState) return `it is no state from ${from} on, of ${node.states.length}`;
  for (const { entry, stamp, frame } of pagesOf(table)) {
    const words = wide.slice((frame * PAGE) / 8, ((frame + 1) * PAGE) / 8);
    const owners = new Set(Array.from(words, (word) => Math.floor(Number(word) / 1000)));
    if (owners.size !== 1 || !owners.has(stamp)) {
      return `entry ${entry} of ${stamp} shows bytes of ${[...owners].join()}`;
    }
    const flushed = node.flushed.get(stamp);
    const later = new Set(flushed?.page.values.slice(flushed.from));
    const old = words.find((word) => !later.has(Number(word) % 1000));
    if (flushed !== undefined && old !== undefined) {
      return `entry ${entry} shows ${old}, and what was flushed is ${[...later].join()}`;
    }
  }
  return '';
}

const LIVES = 4;

test('what is read back was so between two turns', { timeout: 300_000 }, async () => {
  let commits = 0;
  let checkpoints = 0;
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    const fuzz = new Fuzz(seed);
    await fuzz.make();
    for (let life = 1; life <= LIVES; life++) {
      expect(await fuzz.live(), `seed ${seed}, life ${life}`).toBe('');
    }
    commits += fuzz.commits;
    checkpoints += fuzz.checkpoints;
  }
  expect(commits).toBeGreaterThan(10 * RUNS);
  expect(checkpoints).toBeGreaterThan(RUNS);
});
