/** Slots, time and processes by hand: for tests of what reads slots. */

import type { FrameIndex } from '../../base/brands.js';
import { FACTS, freshTable } from '../../disk/testing/mapping.js';
import {
  SLOT_ENTRY,
  SLOT_FILE_BYTES,
  SLOT_FRAME,
  SLOT_GENERATION,
  SLOT_IDLE,
  slotWord,
} from '../../disk/slots.js';
import type { TableFacts, TableFile } from '../../disk/table-file.js';
import type { Timer, Timers } from '../../runtime/clock.js';
import { Quiescence } from '../store/quiescence.js';
import { Slots } from '../store/slots.js';

interface Due {
  readonly atMs: number;
  readonly run: () => void;
}

export class FakeTime implements Timers {
  nowMs = 1_000;
  readonly #due = new Set<Due>();

  now(): number {
    return this.nowMs;
  }

  after(ms: number, callback: () => void): Timer {
    const due = { atMs: this.nowMs + ms, run: callback };
    this.#due.add(due);
    return { cancel: () => this.#due.delete(due) };
  }

  soon(callback: () => void): void {
    callback();
  }

  get timers(): number {
    return this.#due.size;
  }

  /** `lateMs`: this process stands still for so long before it looks at what was due. */
  pass(ms: number, lateMs = 0): void {
    const untilMs = this.nowMs + ms;
    this.nowMs += lateMs;
    for (;;) {
      const [next] = [...this.#due].sort((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > untilMs) break;
      this.#due.delete(next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }
}

/** Processes are called `here/NAME`; others are not of this machine. */
export class FakeProcesses {
  readonly ended = new Set<string>();
  asked = 0;

  canTell(identity: string): boolean {
    return identity.startsWith('here/');
  }

  hasEnded(identity: string): boolean {
    this.asked += 1;
    return this.ended.has(identity);
  }
}

/** A node's slots with a table of their own. */
export class FakeSlots {
  readonly time = new FakeTime();
  readonly processes = new FakeProcesses();
  readonly words = new Int32Array(new SharedArrayBuffer(SLOT_FILE_BYTES));
  readonly table: TableFile;
  slots: Slots;
  quiescence: Quiescence;
  #nextToken = 1;

  constructor(facts: Partial<TableFacts> = {}, table?: TableFile) {
    this.table = table ?? freshTable({ ...FACTS, ...facts }).table;
    [this.slots, this.quiescence] = this.#read();
  }

  #read(): [Slots, Quiescence] {
    const { time, words, processes, table } = this;
    // As every new process does: 0 would be idle.
    table.raiseGeneration();
    const timers = time;
    const slots = new Slots({ owners: table.owners, words, processes, clock: time, timers });
    const memory = { meanwhile: (): void => {} };
    return [slots, new Quiescence({ table, slots, clock: time, timers, memory })];
  }

  /** A new process of the node, with the same files. */
  restart(): void {
    this.slots.stop();
    this.quiescence.stop();
    [this.slots, this.quiescence] = this.#read();
  }

  /** A thread of that process attaches. */
  attach(name: string, token = this.#nextToken++): number {
    const given = this.slots.give({ client: 1, token, identity: `here/${name}` });
    if (typeof given !== 'number') throw new Error(given.reason);
    return given;
  }

  /** The thread begins a step, in the generation that is now unless it is said. */
  begin(slot: number, generation = this.table.generation): void {
    Atomics.store(this.words, slotWord(slot) + SLOT_GENERATION, generation);
  }

  publish(slot: number, frame: number, entry = 0): void {
    Atomics.store(this.words, slotWord(slot) + SLOT_ENTRY, entry + 1);
    Atomics.store(this.words, slotWord(slot) + SLOT_FRAME, (frame as FrameIndex) + 1);
  }

  end(slot: number): void {
    Atomics.store(this.words, slotWord(slot) + SLOT_GENERATION, SLOT_IDLE);
  }
}
