/**
 * What of a memory node is for threads of other processes, which read and write without the node:
 * their slots, what those say, and the names under which the memory files are opened.
 */

import type { FrameIndex } from '../base/brands.js';
import { ENTRY_WORDS } from '../disk/page-table.js';
import { MARKS_OFFSET, OWN_ENTRY, slotFileBytes } from '../disk/slots.js';
import type { TableFile } from '../disk/table-file.js';
import type { MemoryHandle } from '../runtime/memory.js';
import type { Address } from '../runtime/network.js';
import type { Runtime } from '../runtime/runtime.js';
import type { MemoryNames } from './network/slot-calls.js';
import type { FramePool } from './store/frame-pool.js';
import { Quiescence } from './store/quiescence.js';
import { Slots } from './store/slots.js';

/** Frames that are kept: so many at most, and of the node's this part. */
const KEPT_MAX = 16;
const KEPT_SHARE = 32;

/** The files that a supervisor makes, and hands from each process to the next. */
export interface NodeFiles {
  readonly tableMemory: MemoryHandle;
  readonly frameMemory: MemoryHandle;
  readonly slotMemory: MemoryHandle;
}

export class Sharing {
  readonly slots: Slots;
  readonly quiescence: Quiescence;
  /** A byte per frame: see disk/slots.ts. */
  readonly marks: Uint8Array;
  /** The page that this process is changing; the next one sees it (disk/slots.ts). */
  readonly ownEntry: Int32Array;
  readonly memoryNames: MemoryNames;
  /** Where this process listens for those threads alone; empty: nowhere. */
  ring: Address = '';
  readonly #table: TableFile;
  #pool: FramePool | undefined;
  /** A thread has ended while it changed the page of this entry. */
  interrupted: (entry: number) => void = () => undefined;

  constructor(runtime: Runtime, table: TableFile, files: NodeFiles) {
    const { timers, clock, memory, processes } = runtime;
    const { frames } = table.facts;
    const { words, bytes } = memory.adopt(files.slotMemory).map(0, slotFileBytes(frames));
    this.ownEntry = words.subarray(OWN_ENTRY, OWN_ENTRY + 1);
    this.marks = bytes.subarray(MARKS_OFFSET, MARKS_OFFSET + frames);
    this.#table = table;
    const changed = (): void => this.#keep();
    this.slots = new Slots({
      ...{ owners: table.owners, words, processes, clock, timers, changed },
      interrupted: (entry, frame) => this.#noteInterrupted(entry - 1, frame - 1),
    });
    this.quiescence = new Quiescence({ table, slots: this.slots, clock, timers, memory });
    this.memoryNames = {
      table: memory.nameOf(files.tableMemory),
      frames: memory.nameOf(files.frameMemory),
      slots: memory.nameOf(files.slotMemory),
    };
  }

  /** Which page the process before was changing when it ended; once it can be told. */
  lookBack(): void {
    const { pages } = this.#table;
    const entry = (this.ownEntry[0] as number) - 1;
    const isThere = entry >= 0 && entry < pages.entries;
    if (isThere && pages.flagsOf(entry * ENTRY_WORDS) !== 0) this.interrupted(entry * ENTRY_WORDS);
    this.ownEntry[0] = 0;
  }

  /** Whatever the slot says; of a frame that is in no page nobody reads. */
  #noteInterrupted(entry: number, frame: number): void {
    const { pages } = this.#table;
    if (entry < 0 || entry >= pages.entries || frame < 0) return;
    const at = entry * ENTRY_WORDS;
    if (pages.holds(at, frame as FrameIndex)) return this.interrupted(at);
    // It was on its way from one page to the next: what counts is the frame.
    for (let one = pages.next(0); one >= 0; one = pages.next(one + ENTRY_WORDS)) {
      if (pages.holds(one, frame as FrameIndex)) return this.interrupted(one);
    }
  }

  /** The pool then keeps frames for pages that are copied away from threads that are stopped. */
  keepFramesOf(pool: FramePool): void {
    this.#pool = pool;
    this.#keep();
  }

  /** Each slot holds one frame at most. A small node is not made smaller for it. */
  #keep(): void {
    if (this.#pool === undefined) return;
    const most = Math.floor(this.#pool.frames / KEPT_SHARE);
    this.#pool.kept = Math.min(this.slots.taken.length, KEPT_MAX, most);
  }

  /** From now on threads that have a slot may read and write. */
  begin(): void {
    this.#table.alive = this.#table.incarnation;
  }

  /** They begin nothing more; what is under way is done for them by the next process. */
  end(): void {
    this.#table.alive = 0;
  }

  counts(): Record<string, number> {
    const { slotsAttached, slotsHeldBack } = this.quiescence;
    return { slotsAttached, slotsHeldBack, processesAttached: this.slots.processes };
  }

  /** Lets go of all timers: the node ends. */
  stop(): void {
    this.end();
    this.quiescence.stop();
    this.slots.stop();
  }
}
