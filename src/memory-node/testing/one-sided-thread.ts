/**
 * A thread that reads and writes a node's memory without the node, access by access, so that a test
 * can stop it between any two: the step of docs/internals/one-sided.md and nothing else.
 */

import { bucketOf, ENTRIES_PER_BUCKET, ENTRY_WORDS } from '../../disk/page-table.js';
import { ENTRY_FLAGS, ENTRY_FRAME, EntryFlag, pageWord, spaceWord } from '../../disk/page-table.js';
import {
  SLOT_CHANGES,
  SLOT_ENTRY,
  SLOT_FRAME,
  SLOT_GENERATION,
  SLOT_IDLE,
  slotWord,
} from '../../disk/slots.js';
import { ALIVE_WORD, FORCED_WORD, GENERATION_WORD } from '../../disk/table-file.js';
import { WINDOW_EPOCH, WINDOW_RECORD_WORDS } from '../../disk/window-table.js';

/** What a thread sees of a node: the three memory files. */
export interface NodeFiles {
  /** Of the table file. */
  readonly words: Int32Array;
  readonly pages: { readonly words: Int32Array; readonly bucketMask: number };
  readonly windows: { readonly words: Int32Array };
  readonly slots: Int32Array;
  frame(frame: number): BigUint64Array;
}

export interface ThreadWindow {
  readonly window: number;
  readonly epoch: number;
  readonly space: number;
  /** Bits of the flags word. */
  readonly rights: number;
}

export interface Access {
  readonly page: number;
  readonly kind: 'read' | 'write';
  /** Which words of 8 bytes of the page. */
  readonly at: readonly number[];
  /** Told at the moment that the access belongs to, if it is made. */
  begins?(): void;
  /** The next word to be written. */
  value?(): bigint;
  /** What was read. */
  readonly found: bigint[];
}

export interface Step {
  readonly accesses: readonly Access[];
  /** Of the accesses, in order: how many were made. */
  made: number;
  /** Undefined while it is under way; whether all that were made are known to be good. */
  isVerified: boolean | undefined;
}

export interface ThreadOptions {
  readonly files: NodeFiles;
  readonly slot: number;
  readonly incarnation: number;
  readonly window: ThreadWindow;
  /** Told before every word that is stored to a frame. */
  readonly stores: (frame: number, access: Access) => void;
}

const MARKS_MAX = 3;

/** Makes the accesses of the step; each `yield` is a place where the thread can be stopped. */
export function* runStep(options: ThreadOptions, step: Step): Generator<void, void> {
  const { files, slot, window, incarnation } = options;
  const { words, slots } = files;
  const own = slotWord(slot);
  const forced = Atomics.load(words, FORCED_WORD);
  yield;
  let generation = Atomics.load(words, GENERATION_WORD);
  let isMarked = false;
  for (let marks = 0; marks < MARKS_MAX && !isMarked; marks++) {
    yield;
    Atomics.store(slots, own + SLOT_GENERATION, generation);
    yield;
    const now = Atomics.load(words, GENERATION_WORD);
    isMarked = now === generation;
    generation = now;
  }
  if (isMarked) {
    for (const access of step.accesses) {
      const frame = yield* pin(options, access);
      if (frame < 0) break;
      yield* copy(options, access, frame);
      step.made += 1;
    }
  }
  yield;
  Atomics.store(slots, own + SLOT_GENERATION, SLOT_IDLE);
  yield;
  const isAlive = Atomics.load(words, ALIVE_WORD) === incarnation;
  yield;
  const isOpen = epochNow(files, window) === window.epoch;
  yield;
  step.isVerified = isAlive && isOpen && Atomics.load(words, FORCED_WORD) === forced;
}

function epochNow(files: NodeFiles, { window }: ThreadWindow): number {
  return Atomics.load(files.windows.words, window * WINDOW_RECORD_WORDS + WINDOW_EPOCH) >>> 0;
}

/** `find`, `publish`, `check`: the frame of the page, or -1 where it has to be asked for. */
function* pin(options: ThreadOptions, access: Access): Generator<void, number> {
  const { files, slot, window, incarnation } = options;
  const own = slotWord(slot);
  const table = files.pages.words;
  const [word0, word1] = [pageWord(access.page), spaceWord(window.space, access.page)];
  const at = find(files, word0, word1);
  if (at < 0) return -1;
  yield;
  const frame = (table[at + ENTRY_FRAME] as number) - 1;
  if (frame < 0) return -1;
  yield;
  files.slots[own + SLOT_ENTRY] = at / ENTRY_WORDS + 1;
  yield;
  files.slots[own + SLOT_CHANGES] = access.kind === 'read' ? 0 : 1;
  Atomics.store(files.slots, own + SLOT_FRAME, frame + 1);
  yield;
  if (Atomics.load(table, at + ENTRY_FRAME) !== frame + 1) return -1;
  yield;
  if (Atomics.load(table, at) !== word0 || Atomics.load(table, at + 1) !== word1) return -1;
  yield;
  const flags = Atomics.load(table, at + ENTRY_FLAGS);
  const needed = access.kind === 'read' ? EntryFlag.READ : EntryFlag.WRITE;
  if ((flags & window.rights & needed) !== needed || flags < 0) return -1;
  yield;
  if (Atomics.load(table, at + ENTRY_FRAME) !== frame + 1) return -1;
  access.begins?.();
  yield;
  if (epochNow(files, window) !== window.epoch) return -1;
  yield;
  return Atomics.load(files.words, ALIVE_WORD) === incarnation ? frame : -1;
}

function find({ pages }: NodeFiles, word0: number, word1: number): number {
  const { words } = pages;
  const bucketWords = ENTRIES_PER_BUCKET * ENTRY_WORDS;
  const first = bucketOf(word0, word1, pages.bucketMask) * bucketWords;
  for (let at = first; at < first + bucketWords; at += ENTRY_WORDS) {
    const isIt = words[at] === word0 && words[at + 1] === word1;
    if (isIt && words[at + ENTRY_FLAGS] !== 0) return at;
  }
  return -1;
}

function* copy(options: ThreadOptions, access: Access, frame: number): Generator<void, void> {
  const words = options.files.frame(frame);
  for (const at of access.at) {
    yield;
    if (access.kind === 'read') {
      access.found.push(Atomics.load(words, at));
    } else {
      options.stores(frame, access);
      Atomics.store(words, at, access.value?.() ?? 0n);
    }
  }
}
