/**
 * What threads of other processes may be doing with the node's memory just now, read from their
 * slots (docs/internals/one-sided.md). It answers two questions: whether all steps that began
 * before a change are over, and whether anybody works on a frame.
 *
 * Nothing here lasts longer while no thread is in a step: callbacks are called at once then. Where
 * somebody has to wait, the slots are looked at again and again; a thread that is stopped in a step
 * holds back what it holds back until it goes on, or until its process has ended.
 */

import type { FrameIndex } from '../../base/brands.js';
import {
  hasPassed,
  SLOT_CHANGES,
  SLOT_ENTRY,
  SLOT_FRAME,
  SLOT_GENERATION,
  SLOT_IDLE,
  slotWord,
} from '../../disk/slots.js';
import type { TableFile } from '../../disk/table-file.js';
import type { Clock, Timer, Timers } from '../../runtime/clock.js';
import type { Memory } from '../../runtime/memory.js';
import { memoryNodeFaults } from '../planted.js';
import type { Slots } from './slots.js';

/** Between two looks at the slots: more and more, while the same ones hold on. */
const LOOK_MS_MIN = 1;
const LOOK_MS_MAX = 100;
/** A look that comes so much too late says that this process stood still. */
const LATE_MS = 20;
/** A slot that is so many generations old is old whatever the generation comes round to. */
const GENERATIONS_MAX = 2 ** 30;

export interface QuiescenceParts {
  readonly table: Pick<TableFile, 'generation' | 'raiseGeneration' | 'pages' | 'facts'>;
  readonly slots: Slots;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly memory: Pick<Memory, 'meanwhile'>;
}

/** What the thread of a slot says, read word by word; whoever is in a step may have moved on. */
export interface Published {
  /** Number of a page-table entry (its words begin at that times `ENTRY_WORDS`); -1: none. */
  readonly entry: number;
  /** Number of a frame; -1: none. */
  readonly frame: number;
  /** What it does there changes it. */
  readonly isChange: boolean;
}

interface Waiter {
  readonly generation: number;
  readonly untilMs: number;
  /** The time came, but too late to say that it was used for waiting. */
  isLate: boolean;
  readonly done: (passed: boolean) => void;
}

type FrameDone = (frame: FrameIndex) => void;

export class Quiescence {
  readonly #table: QuiescenceParts['table'];
  readonly #slots: Slots;
  readonly #clock: QuiescenceParts['clock'];
  readonly #timers: Timers;
  readonly #memory: QuiescenceParts['memory'];
  /** What slots say that are old for good, until they say something else. */
  readonly #oldForGood = new Map<number, number>();
  readonly #waiters = new Set<Waiter>();
  readonly #resting = new Map<FrameIndex, FrameDone>();
  #timer: Timer | undefined;
  #lookMs = LOOK_MS_MIN;
  #dueMs = 0;

  constructor(parts: QuiescenceParts) {
    this.#table = parts.table;
    this.#slots = parts.slots;
    this.#clock = parts.clock;
    this.#timers = parts.timers;
    this.#memory = parts.memory;
  }

  /** Frames without a page that a thread may still be touching. */
  get framesResting(): number {
    return this.#resting.size;
  }

  get slotsAttached(): number {
    return this.#slots.taken.length;
  }

  /** Slots that somebody, or a frame, waits for just now. */
  get slotsHeldBack(): number {
    return this.#awaited().length;
  }

  /** After a change of the table. Steps that do not know of the change began before this one. */
  raise(): number {
    this.#memory.meanwhile();
    const generation = this.#table.raiseGeneration();
    this.#memory.meanwhile();
    this.#noteOld(generation);
    return generation;
  }

  /** Nonsense in a slot, too, is of no generation that is still to come. */
  #noteOld(current: number): void {
    for (const slot of this.#slots.taken) {
      const seen = this.#generationOf(slot);
      const age = (current - seen) | 0;
      const isOld = seen !== SLOT_IDLE && (age < 0 || age >= GENERATIONS_MAX);
      if (isOld) this.#oldForGood.set(slot, seen);
      else if (this.#oldForGood.get(slot) !== seen) this.#oldForGood.delete(slot);
    }
  }

  #generationOf(slot: number): number {
    return Atomics.load(this.#slots.words, slotWord(slot) + SLOT_GENERATION);
  }

  /** Whether no step that began before this generation was raised can change a page any more. */
  hasPassed(generation: number): boolean {
    for (const slot of this.#slots.taken) {
      if (!this.#slotHasPassed(slot, generation)) return false;
    }
    return true;
  }

  #slotHasPassed(slot: number, generation: number): boolean {
    const seen = this.#generationOf(slot);
    const isOld = this.#oldForGood.get(slot) === seen;
    const isPast = !isOld && hasPassed(seen, generation, this.#table.generation);
    return isPast || this.#isCutOff(slot);
  }

  /**
   * It works on a frame that rests: nobody's, until it publishes another one. That one it looks at
   * again, and sees every change that was made before this was asked.
   */
  #isCutOff(slot: number): boolean {
    return this.#resting.has(this.#frameOf(slot) as FrameIndex);
  }

  /** The slots that have not passed. */
  stuck(generation: number): readonly number[] {
    return this.#slots.taken.filter((slot) => !this.#slotHasPassed(slot, generation));
  }

  /** The processes of these slots, each once. */
  ownersOf(slots: readonly number[]): string[] {
    return [...new Set(slots.map((slot) => this.#slots.identityOf(slot)))];
  }

  /** Undefined: the slot is idle, or nobody's. */
  published(slot: number): Published | undefined {
    if (!this.#slots.taken.includes(slot)) return undefined;
    if (this.#generationOf(slot) === SLOT_IDLE) return undefined;
    const { pages, facts } = this.#table;
    const at = slotWord(slot);
    const entry = Atomics.load(this.#slots.words, at + SLOT_ENTRY) - 1;
    const isEntry = entry >= 0 && entry < pages.entries;
    const frame = Atomics.load(this.#slots.words, at + SLOT_FRAME) - 1;
    const isFrame = frame >= 0 && frame < facts.frames;
    const isChange = Atomics.load(this.#slots.words, at + SLOT_CHANGES) !== 0;
    return { entry: isEntry ? entry : -1, frame: isFrame ? frame : -1, isChange };
  }

  /** What the slot says, in range or not; -1: it is idle, or says none. */
  #frameOf(slot: number): number {
    if (this.#generationOf(slot) === SLOT_IDLE) return -1;
    return Atomics.load(this.#slots.words, slotWord(slot) + SLOT_FRAME) - 1;
  }

  /** All frames that are held. */
  heldFrames(): Set<FrameIndex> {
    const held = new Set<FrameIndex>();
    for (const slot of this.#slots.taken) {
      const frame = this.#frameOf(slot);
      if (frame >= 0 && frame < this.#table.facts.frames) held.add(frame as FrameIndex);
    }
    return held;
  }

  /**
   * Calls `done` once: with true when the generation has passed, at once if it has; with false when
   * `timeoutMs` has passed before.
   */
  whenPassed(generation: number, timeoutMs: number, done: (passed: boolean) => void): void {
    this.#memory.meanwhile();
    if (this.hasPassed(generation)) {
      done(true);
      return;
    }
    const untilMs = this.#clock.now() + timeoutMs;
    this.#waiters.add({ generation, untilMs, isLate: false, done });
    this.#lookSoon();
  }

  /**
   * For frames that no page uses any more: `done` is called for each one when nobody holds it, at
   * once where that is so.
   */
  rest(frames: readonly FrameIndex[], done: FrameDone): void {
    this.#memory.meanwhile();
    const isQuiet = this.#slots.taken.length === 0 || memoryNodeFaults.noQuarantine;
    const held = isQuiet ? undefined : this.heldFrames();
    for (const frame of frames) {
      if (held?.has(frame) === true) this.#resting.set(frame, done);
      else done(frame);
    }
    if (this.#resting.size > 0) this.#lookSoon();
    this.#memory.meanwhile();
  }

  #lookSoon(): void {
    const dueMs = this.#clock.now() + LOOK_MS_MIN;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#lookMs = LOOK_MS_MIN;
    this.#lookLater();
  }

  #lookLater(): void {
    this.#dueMs = this.#clock.now() + this.#lookMs;
    this.#timer = this.#timers.after(this.#lookMs, () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  #look(): void {
    this.#slots.ask(this.#awaited());
    this.#endRests();
    this.#endWaits();
    // Somebody who was called back may have asked for a look already.
    if (this.#timer !== undefined) return;
    if (this.#waiters.size === 0 && this.#resting.size === 0) return;
    this.#lookMs = Math.min(2 * this.#lookMs, LOOK_MS_MAX, this.#untilDeadlineMs());
    this.#lookLater();
  }

  #untilDeadlineMs(): number {
    let untilMs = Number.POSITIVE_INFINITY;
    for (const waiter of this.#waiters) untilMs = Math.min(untilMs, waiter.untilMs);
    return Math.max(LOOK_MS_MIN, untilMs - this.#clock.now());
  }

  #endRests(): void {
    if (this.#resting.size === 0) return;
    const held = this.heldFrames();
    for (const [frame, done] of [...this.#resting]) {
      if (held.has(frame)) continue;
      this.#resting.delete(frame);
      done(frame);
    }
  }

  #endWaits(): void {
    const nowMs = this.#clock.now();
    for (const waiter of [...this.#waiters]) {
      const passed = this.hasPassed(waiter.generation);
      if (!passed && !this.#isOver(waiter, nowMs)) continue;
      this.#waiters.delete(waiter);
      waiter.done(passed);
    }
  }

  /** If this process itself stood still, the others get one more look before they are blamed. */
  #isOver(waiter: Waiter, nowMs: number): boolean {
    if (nowMs < waiter.untilMs) return false;
    const isLate = nowMs - this.#dueMs > LATE_MS;
    if (!isLate || waiter.isLate) return true;
    waiter.isLate = true;
    return false;
  }

  #awaited(): number[] {
    const { taken } = this.#slots;
    if (this.#waiters.size === 0 && this.#resting.size === 0) return [];
    return taken.filter((slot) => {
      if (this.#isCutOff(slot)) return true;
      for (const { generation } of this.#waiters) {
        if (!this.#slotHasPassed(slot, generation)) return true;
      }
      return false;
    });
  }

  /** Lets go of the timer: the node ends. Nobody is called back any more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiters.clear();
    this.#resting.clear();
  }
}
