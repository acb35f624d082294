/**
 * The parts of a memory node that threads without it meet, over plain buffers: a test lets threads
 * run between any two of its stores, and lets it die there and begin anew with the same memory.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { Prng } from '../../base/prng.js';
import { NO_FRAME, RIGHTS_MASK } from '../../disk/page-table.js';
import { SLOT_FILE_BYTES } from '../../disk/slots.js';
import { type StoreWord, storeWord } from '../../disk/layout.js';
import {
  allocatePages,
  freePages,
  protectPages,
  recover,
  verify,
} from '../../disk/table-changes.js';
import {
  formatTableFile,
  TableFile,
  tableFileBytes,
  type TableFacts,
} from '../../disk/table-file.js';
import { mappingOf } from '../../disk/testing/mapping.js';
import type { MemoryFile } from '../../runtime/memory.js';
import type { RingConsumer, RingProducer } from '../../runtime/threads.js';
import { FramePool } from '../store/frame-pool.js';
import { Frames } from '../store/frames.js';
import { PageMover } from '../store/page-mover.js';
import { Quiescence } from '../store/quiescence.js';
import { Relocation } from '../store/relocation.js';
import { Revocation } from '../store/revocation.js';
import { Slots } from '../store/slots.js';
import { Windows } from '../translate/windows.js';
import { FakeProcesses, FakeTime } from './fake-slots.js';
import type { NodeFiles } from './one-sided-thread.js';

export const PAGE_BYTES = 65536;
export const REVOKE_MS = 100;
const SPACE = 7;

/** The memory files: what outlives the process. */
export class NodeMemory {
  readonly facts: TableFacts;
  readonly table = mappingOf(new SharedArrayBuffer(0));
  readonly slots = mappingOf(new SharedArrayBuffer(SLOT_FILE_BYTES));
  readonly frames: MemoryFile;
  readonly time = new FakeTime();
  readonly processes = new FakeProcesses();
  readonly #bytes: BigUint64Array;

  constructor(frames: number) {
    this.facts = {
      nodeId: 'node-1',
      memoryId: 1,
      pageBytes: PAGE_BYTES,
      frames,
      tableEntries: 64,
      regionEntries: 16,
      windowEntries: 256,
      regionBytes: 2 ** 30,
    };
    this.table = mappingOf(new SharedArrayBuffer(tableFileBytes(this.facts)));
    formatTableFile(this.table, this.facts);
    const whole = mappingOf(new SharedArrayBuffer(frames * PAGE_BYTES));
    this.#bytes = whole.wide;
    this.frames = {
      name: 'memrack',
      bytes: frames * PAGE_BYTES,
      handle: 1,
      map: () => whole,
      discard: () => {},
      populate: () => {},
      heldBytes: () => 0,
      release: () => {},
    };
  }

  wordsOf(frame: number): BigUint64Array {
    const words = PAGE_BYTES / 8;
    return this.#bytes.subarray(frame * words, (frame + 1) * words);
  }
}

class ArrayRing {
  readonly #frames: number[] = [];

  submit(record: Int32Array): boolean {
    this.#frames.push(record[0] as number);
    return true;
  }

  take(into: Int32Array): boolean {
    const frame = this.#frames.shift();
    if (frame !== undefined) into[0] = frame;
    return frame !== undefined;
  }

  waiting(): number {
    return this.#frames.length;
  }
}

export interface NodeHooks {
  /** Called between any two accesses of shared memory that the node makes. */
  readonly meanwhile: () => void;
  /** Throws where the process is to die. */
  readonly beforeStore: () => void;
}

export class OneSidedNode {
  readonly table: TableFile;
  readonly windows: Windows;
  readonly quiescence: Quiescence;
  readonly revocation: Revocation;
  readonly relocation: Relocation;
  readonly slots: Slots;
  readonly pool: FramePool;
  readonly mover: PageMover;
  /** A message waits for a paused page. */
  resumed = 0;
  readonly #memory: NodeMemory;
  #isStopped = false;
  readonly #zeroed = new ArrayRing();
  readonly #retired = new ArrayRing();

  constructor(memory: NodeMemory, hooks: NodeHooks, random: Prng) {
    const store: StoreWord = (words, at, value) => {
      hooks.meanwhile();
      hooks.beforeStore();
      storeWord(words, at, value);
      hooks.meanwhile();
    };
    const table = TableFile.open(memory.table, store);
    assert(typeof table !== 'string', 'the table is good');
    this.#memory = memory;
    this.table = table;
    const isFresh = table.incarnation === 0;
    const used = this.#adopt();
    const { time: timers, time: clock, processes } = memory;
    this.slots = new Slots({
      owners: table.owners,
      words: memory.slots.words,
      processes,
      clock,
      timers,
    });
    const { slots } = this;
    this.quiescence = new Quiescence({ table, slots, clock, timers, memory: hooks });
    const entropy = { u32: () => random.u32(), u53: () => random.u53(), fraction: () => 0 };
    this.windows = new Windows({ table: table.windows, incarnation: table.incarnation, entropy });
    const frames = new Frames(memory.frames, PAGE_BYTES, memory.facts.frames);
    this.quiescence.raise();
    const held = this.quiescence.heldFrames();
    const unused = [...used.keys()].filter((frame) => used[frame] === 0) as FrameIndex[];
    this.pool = new FramePool({
      frames: memory.facts.frames,
      mapped: used.length - unused.length,
      resting: unused.filter((frame) => held.has(frame)),
      rest: (resting, done) => this.quiescence.rest(resting, done),
      zeroed: this.#zeroed as unknown as RingConsumer,
      retired: this.#retired as unknown as RingProducer,
      refillBelow: 0,
      refill: () => {},
    });
    const copying = { copy: tearing(hooks.meanwhile), meanwhile: hooks.meanwhile };
    const { pages } = table;
    this.mover = new PageMover({ pages, frames, pool: this.pool, memory: copying });
    const awaitFrames = (): void => this.clean();
    const { mover, quiescence } = this;
    const parts = { table, quiescence, mover, clock, timers, awaitFrames };
    const ofRevocation = { revokeMs: REVOKE_MS, mayCopyAway: () => true, interrupted: () => {} };
    this.revocation = new Revocation({ ...parts, ...ofRevocation });
    const resumed = (): void => {
      this.resumed += 1;
    };
    this.relocation = new Relocation({ ...parts, stuckMs: REVOKE_MS, resumed });
    for (const frame of unused) if (!held.has(frame)) this.#retired.submit(Int32Array.of(frame));
    this.clean();
    if (isFresh) table.regions.put({ space: SPACE, region: 1, epoch: 1 });
    table.alive = table.incarnation;
  }

  /** What a new process does with the tables, as far as it matters here. */
  #adopt(): Uint8Array {
    const { table } = this;
    table.alive = 0;
    table.raiseIncarnation();
    const reason = recover(table);
    assert(reason === undefined, reason);
    const used = verify(table);
    assert(typeof used !== 'string', String(used));
    return used;
  }

  /** Frames that nobody holds become zeroed ones. */
  clean(): void {
    if (this.#isStopped) return;
    const record = new Int32Array(1);
    while (this.#retired.take(record)) {
      this.#memory.wordsOf(record[0] as number).fill(0n);
      this.#zeroed.submit(record);
    }
  }

  get files(): NodeFiles {
    const { table, slots } = this.#memory;
    const { pages, windows } = this.table;
    return {
      words: table.words,
      pages,
      windows,
      slots: slots.words,
      frame: (frame) => this.#memory.wordsOf(frame),
    };
  }

  allocate(page: number): void {
    allocatePages(this.table, { space: SPACE, firstPage: page, pages: 1 }, RIGHTS_MASK, 0);
  }

  free(page: number): void {
    const retired: FrameIndex[] = [];
    freePages(this.table, { space: SPACE, firstPage: page, pages: 1 }, (frame) =>
      retired.push(frame),
    );
    this.pool.retireAll(retired);
  }

  protect(page: number, rights: number): Promise<boolean> {
    protectPages(this.table, { space: SPACE, firstPage: page, pages: 1 }, rights);
    return this.revocation.settled();
  }

  /** The words of a page as a message would find them; undefined: it has none. */
  page(page: number): BigUint64Array | undefined {
    const frame = this.frameOf(page);
    return frame === NO_FRAME ? undefined : this.#memory.wordsOf(frame);
  }

  frameOf(page: number): FrameIndex | typeof NO_FRAME {
    const at = this.table.pages.find(SPACE, page);
    return at < 0 ? NO_FRAME : this.table.pages.frameOf(at);
  }

  flagsOf(page: number): number {
    const at = this.table.pages.find(SPACE, page);
    return at < 0 ? 0 : this.table.pages.flagsOf(at);
  }

  /** What the first write by a message does; false: there is no frame. */
  touch(page: number): boolean {
    const frame = this.pool.take(0, 0);
    if (frame < 0) return false;
    this.table.pages.setFrame(this.table.pages.find(SPACE, page), frame as FrameIndex);
    return true;
  }

  stop(): void {
    this.#isStopped = true;
    this.quiescence.stop();
    this.slots.stop();
  }
}

/** A copy that leaves every word half copied for a moment. */
function tearing(meanwhile: () => void) {
  return (to: Uint8Array, toAt: number, from: Uint8Array, fromAt: number, bytes: number): void => {
    const half = (part: number): void => {
      for (let at = 0; at < bytes; at++) {
        if ((at & 7) >> 2 === part) to[toAt + at] = from[fromAt + at] as number;
      }
    };
    half(0);
    meanwhile();
    half(1);
    meanwhile();
  };
}
