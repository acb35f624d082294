/**
 * Slots: one per thread that reads and writes a node's memory without the node. The thread says in
 * its line of the slot file in which generation its step began and which frame it works on; the
 * node looks there before it uses a frame again (docs/internals/one-sided.md).
 *
 *   slot file     slot 0 | slot 1 | ...            64 bytes each, a cache line of its own
 *     word 0      generation in which the step began; 0: idle          written by the thread
 *     word 1      number of the page-table entry it works on, plus 1   written by the thread
 *     word 2      number of the frame it works on, plus 1              written by the thread
 *     word 3      operations that it has done, modulo 2^32             written by the thread
 *     word 4      1: what it does there is a change; 0: a read         written by the thread
 *     word 8      of the last slot: number of the entry whose page the node itself
 *                 is changing, plus 1; 0: none                         written by the node
 *
 *   marks         behind the slots: a byte for each frame
 *                 1: it was written to since the node looked last    written by all, see moves.md
 *
 *   owner table   in the table file: whose each slot is                 written by the node
 *     word 0      1: taken; 0: free, and the rest means nothing
 *     word 1      bytes of the identity
 *     word 2, 3   client, low and high
 *     word 4, 5   token that the thread made, low and high
 *     word 6 ...  identity of the process, ASCII (`Processes.identity`)
 *
 * All words that decide anything are accessed through `Atomics` alone. Generations are compared
 * modulo 2^32, and 0 is skipped.
 */

import { assert } from '../base/assert.js';
import { readU32, readU53, type StoreWord, storeU53, storeWord } from './layout.js';

export const SLOTS_MAX = 1024;
const SLOT_WORDS = 16;
export const SLOT_FILE_BYTES = SLOTS_MAX * SLOT_WORDS * 4;
/** Words of a slot. */
export const SLOT_GENERATION = 0;
export const SLOT_ENTRY = 1;
export const SLOT_FRAME = 2;
export const SLOT_DONE = 3;
export const SLOT_CHANGES = 4;
export const SLOT_IDLE = 0;

/** Where the marks of frames begin in the slot file. */
export const MARKS_OFFSET = SLOT_FILE_BYTES;

/** Length of a slot file with its marks. */
export function slotFileBytes(frames: number): number {
  return MARKS_OFFSET + Math.ceil(frames / 4096) * 4096;
}

const OWNER_WORDS = 64;
export const OWNER_TABLE_BYTES = SLOTS_MAX * OWNER_WORDS * 4;
const TAKEN = 0;
const LENGTH = 1;
const CLIENT = 2;
const TOKEN = 4;
const IDENTITY = 6;
export const IDENTITY_BYTES_MAX = (OWNER_WORDS - IDENTITY) * 4;

/** Where the words of a slot begin in the words of the slot file. */
export function slotWord(slot: number): number {
  return slot * SLOT_WORDS;
}

/** In the words of the slot file: a line that hardly any thread ever has. */
export const OWN_ENTRY = slotWord(SLOTS_MAX - 1) + 8;

/**
 * Whether a slot is idle, or began its step in a generation from `generation` to `current`.
 * Anything else is older, by however much.
 */
export function hasPassed(seen: number, generation: number, current: number): boolean {
  if (seen === SLOT_IDLE) return true;
  return ((seen - generation) | 0) >= 0 && ((current - seen) | 0) >= 0;
}

export function nextGeneration(generation: number): number {
  const next = (generation + 1) | 0;
  return next === SLOT_IDLE ? 1 : next;
}

export interface SlotOwner {
  readonly client: number;
  /** Random: tells one thread of a process from another, and one taking of a slot from the next. */
  readonly token: number;
  readonly identity: string;
}

/** The owner table, in `words[first, first + OWNER_TABLE_BYTES / 4)`. */
export class SlotOwners {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #first: number;
  readonly #store: StoreWord;

  constructor(words: Int32Array, first: number, store: StoreWord = storeWord) {
    this.#words = words;
    this.#bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    this.#first = first;
    this.#store = store;
  }

  #at(slot: number): number {
    return this.#first + slot * OWNER_WORDS;
  }

  /** Undefined: the slot is free. */
  owner(slot: number): SlotOwner | undefined {
    const at = this.#at(slot);
    if (readU32(this.#words, at + TAKEN) === 0) return undefined;
    const length = Math.min(readU32(this.#words, at + LENGTH), IDENTITY_BYTES_MAX);
    let identity = '';
    for (let i = 0; i < length; i++) {
      identity += String.fromCharCode(this.#bytes[(at + IDENTITY) * 4 + i] as number);
    }
    const client = readU53(this.#words, at + CLIENT);
    return { client, token: readU53(this.#words, at + TOKEN), identity };
  }

  /** The lowest free slot; -1 when all are taken. */
  firstFree(): number {
    for (let slot = 0; slot < SLOTS_MAX; slot++) {
      if (this.#words[this.#at(slot) + TAKEN] === 0) return slot;
    }
    return -1;
  }

  /** Gives a free slot to the thread. */
  take(slot: number, owner: SlotOwner): void {
    const { identity } = owner;
    const at = this.#at(slot);
    assert(identity.length > 0 && identity.length <= IDENTITY_BYTES_MAX, 'no identity to keep');
    assert(this.#words[at + TAKEN] === 0, 'a slot is given to two threads');
    this.#store(this.#words, at + LENGTH, identity.length);
    storeU53(this.#store, this.#words, at + CLIENT, owner.client);
    storeU53(this.#store, this.#words, at + TOKEN, owner.token);
    for (let i = 0; i < identity.length; i++) {
      this.#bytes[(at + IDENTITY) * 4 + i] = identity.charCodeAt(i);
    }
    this.#store(this.#words, at + TAKEN, 1);
  }

  free(slot: number): void {
    this.#store(this.#words, this.#at(slot) + TAKEN, 0);
  }

  /** The slots that are taken, in order. */
  taken(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < SLOTS_MAX; slot++) {
      if (this.#words[this.#at(slot) + TAKEN] !== 0) slots.push(slot);
    }
    return slots;
  }
}
