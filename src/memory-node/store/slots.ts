/**
 * The slots of a memory node as it gives them to threads of other processes, and takes them back:
 * when the thread says that it needs its slot no more, or when its process is proved to have ended.
 * A process that is silent, or stopped, keeps its slots, for however long.
 */

import { Status } from '../../base/status.js';
import {
  IDENTITY_BYTES_MAX,
  SLOT_CHANGES,
  SLOT_ENTRY,
  SLOT_FRAME,
  SLOT_GENERATION,
  SLOT_IDLE,
  type SlotOwner,
  type SlotOwners,
  slotWord,
} from '../../disk/slots.js';
import type { Clock, Timer, Timers } from '../../runtime/clock.js';
import type { Processes } from '../../runtime/processes.js';
import { memoryNodeFaults } from '../planted.js';

/** How often it is asked whether owners that nobody waits for have ended. */
const SWEEP_MS = 5_000;
/** To ask costs some 0.1 ms: at most so many processes at once ... */
const ASKED_AT_ONCE_MAX = 8;
/** ... and not again before this time. */
const ASK_AGAIN_MS = 20;

export interface SlotsParts {
  readonly owners: SlotOwners;
  /** Of the slot file. */
  readonly words: Int32Array;
  readonly processes: Pick<Processes, 'canTell' | 'hasEnded'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  /** Another number of slots is taken. */
  readonly changed?: (taken: number) => void;
  /** A slot is free whose thread ended in a change; the numbers that it had published, plus 1. */
  readonly interrupted?: (entry: number, frame: number) => void;
}

export interface SlotRefusal {
  readonly status: Exclude<Status, typeof Status.Ok>;
  readonly reason: string;
}

export class Slots {
  /** Of the slot file: written by the threads, so nothing in it is to be believed. */
  readonly words: Int32Array;
  readonly #owners: SlotOwners;
  readonly #processes: SlotsParts['processes'];
  readonly #clock: SlotsParts['clock'];
  readonly #timers: Timers;
  readonly #tell: ((taken: number) => void) | undefined;
  readonly #interrupted: SlotsParts['interrupted'];
  /** Taken ones, in order; remade when it changes. */
  #taken: readonly number[];
  #sweep: Timer | undefined;
  /** Which of the slots that are to be asked about is the next one. */
  #askFrom = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SlotsParts) {
    this.words = parts.words;
    this.#owners = parts.owners;
    this.#processes = parts.processes;
    this.#clock = parts.clock;
    this.#timers = parts.timers;
    this.#tell = parts.changed;
    this.#interrupted = parts.interrupted;
    this.#taken = parts.owners.taken();
    this.#sweepLater();
  }

  get taken(): readonly number[] {
    return this.#taken;
  }

  /** How many processes have slots. */
  get processes(): number {
    return new Set(this.#taken.map((slot) => this.#owners.owner(slot)?.identity)).size;
  }

  /** Of the process that has the slot; empty: nobody. */
  identityOf(slot: number): string {
    return this.#owners.owner(slot)?.identity ?? '';
  }

  /** The same slot again for a thread that has one. */
  give(owner: SlotOwner): number | SlotRefusal {
    const { identity } = owner;
    const isGood = identity !== '' && identity.length <= IDENTITY_BYTES_MAX;
    if (!isGood || !this.#processes.canTell(identity) || this.#processes.hasEnded(identity)) {
      const reason =
        'whether the process has ended cannot be told here: only processes of the same machine, ' +
        'boot and pid namespace reach the memory themselves';
      return { status: Status.Unsupported, reason };
    }
    const known = this.#find(owner);
    if (known >= 0) return known;
    if (this.#owners.firstFree() < 0) this.ask(this.#taken);
    const slot = this.#owners.firstFree();
    if (slot < 0) return { status: Status.Busy, reason: 'all slots are taken' };
    this.#clear(slot);
    this.#owners.take(slot, owner);
    this.#changed();
    return slot;
  }

  #find({ identity, token }: SlotOwner): number {
    for (const slot of this.#taken) {
      const owner = this.#owners.owner(slot);
      if (owner?.token === token && owner.identity === identity) return slot;
    }
    return -1;
  }

  /** The thread needs it no more. False: it is not the slot of who knows this token. */
  takeBack(slot: number, token: number): boolean {
    if (!this.#taken.includes(slot)) return false;
    if (this.#owners.owner(slot)?.token !== token) return false;
    this.#free(slot);
    return true;
  }

  #free(slot: number): void {
    const at = slotWord(slot);
    const isInStep = Atomics.load(this.words, at + SLOT_GENERATION) !== SLOT_IDLE;
    if (isInStep && Atomics.load(this.words, at + SLOT_CHANGES) !== 0) {
      const entry = Atomics.load(this.words, at + SLOT_ENTRY);
      // Before it is free: whoever is killed in between is told of it again.
      this.#interrupted?.(entry, Atomics.load(this.words, at + SLOT_FRAME));
    }
    this.#owners.free(slot);
    this.#clear(slot);
    this.#changed();
  }

  #clear(slot: number): void {
    const at = slotWord(slot);
    Atomics.store(this.words, at + SLOT_GENERATION, SLOT_IDLE);
    Atomics.store(this.words, at + SLOT_ENTRY, 0);
    Atomics.store(this.words, at + SLOT_FRAME, 0);
    Atomics.store(this.words, at + SLOT_CHANGES, 0);
  }

  #changed(): void {
    this.#taken = this.#owners.taken();
    this.#sweepLater();
    this.#tell?.(this.#taken.length);
  }

  /**
   * Asks the system about owners of these slots, as many as it may now, and frees what belonged to
   * a process that has ended. For slots that somebody waits for; the others come by themselves.
   */
  ask(slots: readonly number[]): void {
    if (slots.length === 0) return;
    const nowMs = this.#clock.now();
    if (nowMs - this.#askedAtMs < ASK_AGAIN_MS) return;
    this.#askedAtMs = nowMs;
    const ended = new Map<string, boolean>();
    const first = this.#askFrom % slots.length;
    for (let i = 0; i < slots.length; i++) {
      this.#askFrom = first + i;
      const slot = slots[this.#askFrom % slots.length] as number;
      const identity = this.#owners.owner(slot)?.identity;
      if (identity === undefined) continue;
      if (!ended.has(identity)) {
        if (ended.size === ASKED_AT_ONCE_MAX) return;
        ended.set(identity, this.#hasEnded(identity));
      }
      if (ended.get(identity) === true) this.#free(slot);
    }
  }

  #hasEnded(identity: string): boolean {
    return memoryNodeFaults.stoppedSlotCleared || this.#processes.hasEnded(identity);
  }

  /** As long as a slot is taken. */
  #sweepLater(): void {
    if (this.#sweep !== undefined || this.#taken.length === 0) return;
    this.#sweep = this.#timers.after(SWEEP_MS, () => {
      this.#sweep = undefined;
      this.ask(this.#taken);
      this.#sweepLater();
    });
  }

  /** Lets go of the timer: the node ends. */
  stop(): void {
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }
}
