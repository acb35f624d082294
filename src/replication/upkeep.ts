/**
 * What is done to areas beside reads and writes: intent words are set and cleared, checksums
 * fetched and stored, blocks made equal, damage repaired, a new copy filled. None of it is on the
 * path of a read or a write of an area that is in use.
 */

import { Status } from '../base/status.js';
import type { CompletionSink } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import { Area } from './areas.js';
import { type Copy, type CopyVerbs, isZeros, type Paced, writeOrTrim, ZEROS } from './copy.js';
import {
  AREA_BLOCKS,
  areaOf,
  BLOCK_BYTES,
  CHECKSUM_BYTES,
  CHECKSUMS_BYTES,
  INTENT_BYTES,
  Intent,
  PIECE_BLOCKS,
  PIECE_BYTES,
} from './layout.js';
import { COPIES_MAX } from './members.js';
import { fileFaults, replicationFaults } from './planted.js';
import { ATTEMPT_MS, type ReplicaParts, type Slab } from './slab.js';
import { TornBlocks } from './torn-blocks.js';

const RETRY_MS = 20;
const LOOK_MS = 50;
const TEND_MS = 250;
const SET = Uint8Array.of(Intent.SET, 0, 0, 0, 0, 0, 0, 0);
const LOST = Uint8Array.of(Intent.LOST, 0, 0, 0, 0, 0, 0, 0);
const CLEARED = new Uint8Array(INTENT_BYTES);

type Asked = (copy: Copy, index: number, sink: CompletionSink, deadline: number) => void;
/** What each copy has, by its index. */
type Seen = ReadonlyMap<number, Uint8Array>;

export class Upkeep {
  readonly #parts: ReplicaParts;
  readonly #set: Slab;
  readonly #loads = new Map<number, Promise<void>>();
  readonly #opens = new Map<number, Promise<void>>();
  readonly #settles = new Map<number, Promise<void>>();
  readonly #repairs = new Map<number, Promise<void>>();
  readonly torn: TornBlocks;
  /** Areas whose intent word may stand somewhere. */
  readonly #active = new Set<number>();
  /** It is known what may be unequal; before that nothing is read or written. */
  isBegun: boolean;
  /** That, or it is over. */
  readonly #begun: Promise<void>;
  #tellBegun: () => void = () => undefined;
  #isTending = false;
  #isLooking = false;

  constructor(parts: ReplicaParts, set: Slab) {
    this.#parts = parts;
    this.#set = set;
    this.isBegun = parts.isNew;
    this.torn = new TornBlocks(parts, set, this);
    for (const copy of parts.copies) this.torn.watch(copy);
    this.#begun = new Promise((resolve) => (this.#tellBegun = resolve));
    if (parts.isNew) this.#tellBegun();
  }

  /** Of a new writer, before anything else: which areas the one before may have left unequal. */
  async begin(): Promise<void> {
    const { layout } = this.#parts;
    const bytes = layout.areas * INTENT_BYTES;
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, bytes - at);
      const seen = await this.#readIntents(layout.intentAt + at, length);
      for (let word = 0; word < length; word += INTENT_BYTES) {
        const area = (at + word) / INTENT_BYTES;
        if (!replicationFaults.intentsNotRead) this.#judge(area, seen, word);
      }
    }
    this.torn.begin();
    this.isBegun = true;
    this.#tellBegun();
    this.#set.wakeSoon();
    this.#tend();
  }

  /** Of one set: what a file says of itself changes when it is the last one. */
  async #readIntents(at: number, length: number): Promise<Seen> {
    const { members } = this.#set;
    for (;;) {
      const { set } = members;
      const seen = await this.#readAll(() => members.set, at, length);
      if (members.set === set || this.#set.isOver) return seen;
    }
  }

  /** By the intent words that the copies have at the place `word`. */
  #judge(area: number, seen: Seen, word: number): void {
    const { members, areas } = this.#set;
    const backup = seen.get(31 - Math.clz32(members.backup))?.[word] ?? Intent.CLEARED;
    const remote = indicesOf(members.remote).map((index) => seen.get(index)?.[word]);
    // A file says of itself that it has lost what others may have.
    const words = remote.length === 0 ? [backup] : remote;
    if (words.includes(Intent.LOST)) {
      areas.lose(area);
      return;
    }
    if ([...words, backup].every((one) => one === Intent.CLEARED)) return;
    this.#doubt(area);
    const isBehind = backup !== Intent.CLEARED && remote.length > 0;
    if (isBehind && !fileFaults.staleServed) areas.isBehind[area] = 1;
  }

  #doubt(area: number): void {
    this.#set.areas.doubt(area);
    this.#active.add(area);
  }

  /** A copy did not do what it was asked. */
  failed(index: number, status: Status): void {
    const { members } = this.#set;
    const now = this.#parts.clock.now();
    // Who says that there is no room does answer.
    const isFull = status === Status.NoSpace;
    if (isFull) members.answered(index);
    const sinceMs = isFull ? now : members.failed(index, now);
    members.find(index)?.failed(status);
    const bit = 1 << index;
    const isWanted = (members.wanted & bit) !== 0;
    const isLearner = !isWanted && (members.learner & bit) !== 0;
    if (isWanted || (isLearner && isFull)) {
      this.#parts.keeper.failing(members.copy(index).id, status, sinceMs);
    }
    if (isLearner) this.#loseLearner();
  }

  /**
   * Whether another copy of the set answers now: else this one may be the only one left. `atNode`:
   * one that is in no file.
   */
  async canSpare(id: number, atNode = false): Promise<boolean> {
    const { members, areas } = this.#set;
    const isComplete = !atNode && this.isBegun && !areas.areBehind;
    const able = isComplete ? members.set : members.remote;
    const others = able & ~members.bitOf(id);
    const asked = indicesOf(others).map(async (index) => {
      const status = await this.#ask(members.copy(index), index, (copy, _index, sink, deadline) => {
        const into = new Uint8Array(INTENT_BYTES);
        copy.read(this.#parts.layout.intentAt, into, 0, into.length, sink, 0, deadline);
      });
      if (status !== Status.Ok) throw new Error('no answer');
    });
    return Promise.any(asked).then(
      () => true,
      () => false,
    );
  }

  #loseLearner(): void {
    const { members } = this.#set;
    this.#set.drop(members.copy(31 - Math.clz32(members.learner)).id);
  }

  /** Rows that wait have deadlines. */
  keepLooking(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#parts.timers.after(LOOK_MS, () => {
      this.#isLooking = false;
      this.#set.wake();
    });
  }

  // --------------------------------------------------------------------------- asking copies

  #ask(copy: Copy, index: number, ask: Asked): Promise<Status> {
    const deadline = this.#parts.clock.now() + ATTEMPT_MS;
    return new Promise((resolve) => {
      ask(copy, index, { completed: (_token, status) => resolve(status) }, deadline);
    });
  }

  /** Until it has done it, or is no copy any more: false. */
  async #until(index: number, ask: Asked): Promise<boolean> {
    const { members } = this.#set;
    const copy = members.find(index);
    while (copy !== undefined && !this.#set.isOver && members.has(index, copy)) {
      const status = await this.#ask(copy, index, ask);
      if (status === Status.Ok) {
        members.answered(index);
        return members.has(index, copy);
      }
      if (members.has(index, copy)) this.failed(index, status);
      await sleep(this.#parts.timers, RETRY_MS);
    }
    return false;
  }

  /** Bits of those that have done it; who is missing has left. */
  async #toAll(bits: number, ask: Asked): Promise<number> {
    const indices = indicesOf(bits);
    const ends = await Promise.all(indices.map((index) => this.#until(index, ask)));
    return indices.reduce((done, index, i) => (ends[i] === true ? done | (1 << index) : done), 0);
  }

  #writeAll(bits: number, at: number, from: Uint8Array): Promise<number> {
    return this.#toAll(bits, (copy, _index, sink, deadline) => {
      writeOrTrim(copy, at, from, 0, from.length, sink, 0, deadline);
    });
  }

  /** Of a whole piece: what is zeros takes no memory. */
  #writePiece(bits: number, at: number, from: Uint8Array): Promise<number> {
    return this.#writeAll(bits, at, isZeros(from) ? ZEROS : from);
  }

  #writeSlowly(bits: number, at: number, from: Uint8Array): Promise<number> {
    return this.#toAll(bits, (copy, _index, sink, deadline) => {
      inBackground(copy).write(at, from, 0, from.length, sink, 0, deadline);
    });
  }

  /** Of all copies that are there when all have answered. */
  async #readAll(
    bitsNow: () => number,
    at: number,
    bytes: number,
    way: (copy: Copy) => CopyVerbs = (copy) => copy,
  ): Promise<Seen> {
    for (;;) {
      const seen = new Map<number, Uint8Array>();
      const bits = bitsNow();
      const done = await this.#toAll(bits, (copy, index, sink, deadline) => {
        const into = new Uint8Array(bytes);
        seen.set(index, into);
        way(copy).read(at, into, 0, bytes, sink, 0, deadline);
      });
      if (this.#set.isOver) return new Map();
      const missing = bitsNow() & ~done;
      if (missing !== 0) continue;
      for (const index of [...seen.keys()]) if ((done & (1 << index)) === 0) seen.delete(index);
      return seen;
    }
  }

  // ------------------------------------------------------------------- checksums and intents

  /** Fetches the checksums of an area that nobody has used yet. */
  load(area: number): void {
    if (this.#loads.has(area)) return;
    const loading = this.#load(area).finally(() => this.#loads.delete(area));
    this.#loads.set(area, loading);
  }

  async #loaded(area: number): Promise<void> {
    this.load(area);
    await this.#loads.get(area);
  }

  async #load(area: number): Promise<void> {
    const { members, areas } = this.#set;
    const { checksumsAt } = this.#parts.layout;
    for (let tried = 0; !this.#set.isOver && areas.isLoaded[area] === 0; ) {
      const index = members.reader(tried);
      if (index < 0) {
        tried = 0;
        await sleep(this.#parts.timers, RETRY_MS);
        continue;
      }
      const into = new Uint8Array(CHECKSUMS_BYTES);
      const copy = members.copy(index);
      const status = await this.#ask(copy, index, (_copy, _index, sink, deadline) => {
        copy.read(checksumsAt + area * CHECKSUMS_BYTES, into, 0, into.length, sink, 0, deadline);
      });
      if (status !== Status.Ok) {
        if (members.has(index, copy)) this.failed(index, status);
        tried |= 1 << index;
        continue;
      }
      const view = new DataView(into.buffer);
      for (let i = 0; i < AREA_BLOCKS; i++) {
        areas.checksums[area * AREA_BLOCKS + i] = view.getUint32(i * CHECKSUM_BYTES, true);
      }
      areas.isLoaded[area] = 1;
    }
    this.#set.wakeSoon();
  }

  /** All copies know that the area is written to. Whoever asks has a block of it. */
  open(area: number): Promise<void> {
    const { areas } = this.#set;
    if (areas.state[area] === Area.OPEN || areas.isLost[area] !== 0) return Promise.resolve();
    const known = this.#opens.get(area);
    if (known !== undefined) return known;
    const opening = this.#open(area).finally(() => this.#opens.delete(area));
    this.#opens.set(area, opening);
    return opening;
  }

  async #open(area: number): Promise<void> {
    const { areas, members } = this.#set;
    areas.state[area] = Area.OPENING;
    this.#active.add(area);
    const at = this.#parts.layout.intentAt + area * INTENT_BYTES;
    await this.#parts.keeper.mayWrite?.();
    await this.#writeAll(members.targets(area), at, SET);
    if (this.#set.isOver || areas.isLost[area] !== 0) return;
    areas.state[area] = Area.OPEN;
    areas.idle.opened(area, this.#parts.clock.now());
    this.#tend();
  }

  /** Nothing is written to it now, and nothing of it is unsettled: its checksums count again. */
  async #close(area: number): Promise<void> {
    const first = area * AREA_BLOCKS;
    if (!(await this.#set.hold(first, AREA_BLOCKS, true))) return;
    if (this.#isIdle(area)) await this.#closeHeld(area);
    this.#set.letGo(first, AREA_BLOCKS, true);
  }

  async #closeHeld(area: number): Promise<void> {
    const { areas, members } = this.#set;
    const { intentAt, checksumsAt } = this.#parts.layout;
    areas.state[area] = Area.CLOSING;
    const store = () => this.#storeChecksums(members.targets(area), area, checksumsAt);
    if (!replicationFaults.closedTooEarly) await store();
    if (this.#set.isOver || areas.isLost[area] !== 0) return;
    await this.#writeAll(members.targets(area), intentAt + area * INTENT_BYTES, CLEARED);
    if (replicationFaults.closedTooEarly) await store();
    if (this.#set.isOver) return;
    areas.state[area] = Area.CLEAN;
    this.#active.delete(area);
  }

  #storeChecksums(bits: number, area: number, checksumsAt: number): Promise<number> {
    const bytes = new Uint8Array(CHECKSUMS_BYTES);
    const view = new DataView(bytes.buffer);
    const first = area * AREA_BLOCKS;
    for (let i = 0; i < AREA_BLOCKS; i++) {
      view.setUint32(i * CHECKSUM_BYTES, this.#set.areas.checksums[first + i] as number, true);
    }
    return this.#writeAll(bits, checksumsAt + area * CHECKSUMS_BYTES, bytes);
  }

  #isIdle(area: number): boolean {
    return this.#mayClose(area) && this.#set.areas.idle.isIdle(area, this.#parts.clock.now());
  }

  #mayClose(area: number): boolean {
    const { areas } = this.#set;
    const state = areas.state[area];
    if (areas.isLost[area] !== 0 || !areas.isSettled(area)) return false;
    return state === Area.OPEN || state === Area.DOUBTFUL;
  }

  /**
   * Before the writer ends in order: the file has what the other copies have of areas that nobody
   * writes to, and is to say so. What is written to one after that opens it again.
   */
  async closeInFile(): Promise<void> {
    if (this.#set.members.backup === 0) return;
    await Promise.all([...this.#active].map((area) => this.#closeInFile(area)));
  }

  async #closeInFile(area: number): Promise<void> {
    const first = area * AREA_BLOCKS;
    if (!(await this.#set.hold(first, AREA_BLOCKS, true))) return;
    const { backup } = this.#set.members;
    const { checksumsAt } = this.#parts.layout;
    if (this.#mayClose(area)) {
      await this.#storeChecksums(backup, area, checksumsAt);
      // Whoever writes to it opens it anew, at the file, too, before any copy has the write.
      if (this.#mayClose(area)) this.#set.areas.state[area] = Area.DOUBTFUL;
    }
    this.#set.letGo(first, AREA_BLOCKS, true);
  }

  // -------------------------------------------------------------------------------- settling

  /** Makes the copies of a piece equal. */
  settle(block: number): Promise<void> {
    const first = block - (block % PIECE_BLOCKS);
    const known = this.#settles.get(first);
    if (known !== undefined) return known;
    const settling = this.#settle(first).finally(() => this.#settles.delete(first));
    this.#settles.set(first, settling);
    return settling;
  }

  async #settle(first: number): Promise<void> {
    if (!(await this.#set.hold(first, PIECE_BLOCKS))) return;
    await this.#settleHeld(first);
    this.#set.letGo(first, PIECE_BLOCKS);
  }

  async #settleHeld(first: number): Promise<void> {
    const { areas, members } = this.#set;
    if (!areas.anyUnsettled(first, PIECE_BLOCKS)) return;
    const area = areaOf(first);
    const at = first * BLOCK_BYTES;
    await this.#loaded(area);
    const seen = await this.#readAll(() => members.targets(area), at, PIECE_BYTES);
    if (this.#set.isOver || areas.isLost[area] !== 0) return;
    const right = new Map(seen);
    if (areas.isBehind[area] !== 0) right.delete(31 - Math.clz32(members.backup));
    if (right.size === 0) return;
    const chosen = this.#choose(first, right, this.#withoutTorn(first, right));
    let unequal = 0;
    for (const [index, bytes] of seen) if (!isEqual(bytes, chosen)) unequal |= 1 << index;
    if (replicationFaults.learnerNotSettled) unequal &= ~members.learner;
    if (unequal !== 0) {
      await this.open(area);
      if (areas.isLost[area] !== 0) return;
      await this.#writePiece(unequal, at, chosen);
    }
    if (this.#set.isOver) return;
    for (let block = first; block < first + PIECE_BLOCKS; block++) {
      if (!areas.isUnsettled(block)) continue;
      areas.note(block, 1, chosen, (block - first) * BLOCK_BYTES);
      areas.settle(block, 1);
    }
  }

  /** Where all are torn there is nothing better. */
  #withoutTorn(first: number, seen: Seen): Seen {
    const whole = [...seen].filter(([index]) => !this.torn.isTorn(index, first));
    return whole.length > 0 ? new Map(whole) : seen;
  }

  /**
   * Of an unsettled block any value is right that a copy has: best the one whose checksum is known,
   * as the other one may be damaged; else one of those that are not torn. Of another block it is
   * the only one.
   */
  #choose(first: number, seen: Seen, unknown: Seen = seen): Uint8Array {
    const { areas } = this.#set;
    const copies = [...seen.values()];
    const whole = copies.find((bytes) => areas.firstWrong(first, PIECE_BLOCKS, bytes, 0) < 0);
    if (whole !== undefined) return whole;
    const [best] = unknown.values();
    const chosen = best === undefined ? new Uint8Array(PIECE_BYTES) : new Uint8Array(best);
    for (let i = 0; i < PIECE_BLOCKS; i++) {
      const start = i * BLOCK_BYTES;
      const right = copies.find((bytes) => areas.firstWrong(first + i, 1, bytes, start) < 0);
      if (right !== undefined) chosen.set(right.subarray(start, start + BLOCK_BYTES), start);
    }
    return chosen;
  }

  /** What a copy has is not what was written there: it is written again from one that has it. */
  repair(index: number, block: number): Promise<void> {
    const key = block * COPIES_MAX + index;
    const known = this.#repairs.get(key);
    if (known !== undefined) return known;
    const repairing = this.#repair(index, block).finally(() => this.#repairs.delete(key));
    this.#repairs.set(key, repairing);
    return repairing;
  }

  async #repair(index: number, block: number): Promise<void> {
    const { areas, members } = this.#set;
    const copy = members.find(index);
    if (copy === undefined) return;
    if (!(await this.#set.hold(block, 1))) return;
    const at = block * BLOCK_BYTES;
    const seen = await this.#readAll(() => members.set, at, BLOCK_BYTES);
    const mine = seen.get(index);
    const isWrong = mine !== undefined && areas.firstWrong(block, 1, mine, 0) >= 0;
    if (isWrong && !areas.isUnsettled(block)) {
      const right = [...seen.values()].find((bytes) => areas.firstWrong(block, 1, bytes, 0) < 0);
      if (right !== undefined) await this.#writeAll(1 << index, at, right);
      this.#parts.keeper.damaged(copy.id, block, right !== undefined);
    }
    this.#set.letGo(block, 1);
  }

  /** Looks at all copies of an area that nobody writes to, and repairs what is damaged. */
  async scrub(area: number): Promise<void> {
    const { areas, members } = this.#set;
    await this.#loaded(area);
    const end = (area + 1) * AREA_BLOCKS;
    for (let first = end - AREA_BLOCKS; first < end; first += PIECE_BLOCKS) {
      if (!(await this.#set.hold(first, PIECE_BLOCKS, true))) return;
      const isSettled = !areas.anyUnsettled(first, PIECE_BLOCKS);
      const seen = isSettled
        ? await this.#readAll(() => members.set, first * BLOCK_BYTES, PIECE_BYTES)
        : new Map<number, Uint8Array>();
      this.#set.letGo(first, PIECE_BLOCKS, true);
      for (const [index, bytes] of seen) {
        for (let i = 0; i < PIECE_BLOCKS; i++) {
          if (areas.firstWrong(first + i, 1, bytes, i * BLOCK_BYTES) < 0) continue;
          await this.repair(index, first + i);
        }
      }
    }
  }

  // -------------------------------------------------------------------------------- learning

  /**
   * Fills a new copy, of memory that nobody has written to, while reads and writes go on. True: it
   * has all, and gets all that is written from now on. `paced` runs what copies so many bytes.
   */
  async learn(copy: Copy, paced: Paced): Promise<boolean> {
    const { members } = this.#set;
    // Before that, an area that the writer before left open looks closed.
    await this.#begun;
    if (this.#set.isOver) return false;
    const index = members.addLearner(copy);
    this.torn.watch(copy);
    for (let area = 0; area < this.#parts.layout.areas; area++) {
      const isThere = await paced(AREA_BLOCKS * BLOCK_BYTES, () => {
        return this.#teachArea(index, copy, area);
      });
      if (this.#set.isOver) return false;
      if (!isThere) {
        if (members.has(index, copy)) this.#loseLearner();
        return false;
      }
    }
    return members.has(index, copy);
  }

  async #teachArea(index: number, copy: Copy, area: number): Promise<boolean> {
    const first = area * AREA_BLOCKS;
    if (!(await this.#set.hold(first, AREA_BLOCKS))) return false;
    const isThere = this.#set.members.has(index, copy) && (await this.#teach(index, area));
    this.#set.letGo(first, AREA_BLOCKS);
    return isThere;
  }

  /** Nobody else uses the area. */
  async #teach(index: number, area: number): Promise<boolean> {
    const { members, areas } = this.#set;
    const { intentAt, checksumsAt } = this.#parts.layout;
    const bit = 1 << index;
    if (areas.isLost[area] !== 0) return this.#teachLost(bit, area);
    await this.#loaded(area);
    const first = area * AREA_BLOCKS;
    // It may have left meanwhile.
    const mayHold = members.find(index)?.mayHold?.(area) === true;
    const isOpen = areas.state[area] !== Area.CLEAN;
    const isUsed =
      isOpen || mayHold || areas.checksums.subarray(first, first + AREA_BLOCKS).some(Boolean);
    if (isUsed) {
      if (isOpen && (await this.#writeAll(bit, intentAt + area * INTENT_BYTES, SET)) === 0) {
        return false;
      }
      for (let piece = first; piece < first + AREA_BLOCKS; piece += PIECE_BLOCKS) {
        await this.#settleHeld(piece);
        const bytes = await this.#readRight(piece);
        if (bytes === undefined) return false;
        if (areas.isLost[area] !== 0) return this.#teachLost(bit, area);
        if ((await this.#teachPiece(bit, piece * BLOCK_BYTES, bytes)) === 0) return false;
      }
      const isStored = isOpen || (await this.#storeChecksums(bit, area, checksumsAt)) !== 0;
      if (!isStored) return false;
    }
    if (areas.isLost[area] !== 0) return this.#teachLost(bit, area);
    if (!replicationFaults.learnerSkipped) members.learned[area] = 1;
    return true;
  }

  #teachPiece(bit: number, at: number, bytes: Uint8Array): Promise<number> {
    if (!isZeros(bytes)) return this.#writeSlowly(bit, at, bytes);
    // Nothing to send; and what is new takes no memory for them.
    return fileFaults.zerosNotTaught ? Promise.resolve(bit) : this.#writeAll(bit, at, ZEROS);
  }

  async #teachLost(bit: number, area: number): Promise<boolean> {
    const at = this.#parts.layout.intentAt + area * INTENT_BYTES;
    this.#set.members.learned[area] = 1;
    return (await this.#writeAll(bit, at, LOST)) !== 0;
  }

  /**
   * A settled piece, as it should be; what is damaged at all copies is so at the new one, too, and
   * is told to whoever reads it. Undefined: this is over.
   */
  async #readRight(first: number): Promise<Uint8Array | undefined> {
    const { members, areas } = this.#set;
    const at = first * BLOCK_BYTES;
    const one = await this.#readOne(members.reader(members.backup), at, PIECE_BYTES);
    if (one !== undefined && areas.firstWrong(first, PIECE_BLOCKS, one, 0) < 0) return one;
    const seen = await this.#readAll(() => members.set, at, PIECE_BYTES, inBackground);
    return this.#set.isOver ? undefined : this.#choose(first, seen);
  }

  /** Of one copy, once; undefined: it did not answer. */
  async #readOne(index: number, at: number, bytes: number): Promise<Uint8Array | undefined> {
    const copy = this.#set.members.find(index);
    if (copy === undefined) return undefined;
    const into = new Uint8Array(bytes);
    const status = await this.#ask(copy, index, (_copy, _index, sink, deadline) => {
      inBackground(copy).read(at, into, 0, bytes, sink, 0, deadline);
    });
    return status === Status.Ok && !this.#set.isOver ? into : undefined;
  }

  // --------------------------------------------------------------------------------- tending

  stop(): void {
    this.#tellBegun();
    this.#active.clear();
  }

  #tend(): void {
    if (this.#isTending || this.#active.size === 0) return;
    this.#isTending = true;
    this.#parts.timers.after(TEND_MS, () => {
      void this.#tendNow().finally(() => {
        this.#isTending = false;
        if (!this.#set.isOver) this.#tend();
      });
    });
  }

  async #tendNow(): Promise<void> {
    const { areas } = this.#set;
    for (const area of [...this.#active]) {
      if (areas.isLost[area] !== 0) {
        this.#active.delete(area);
        continue;
      }
      const first = area * AREA_BLOCKS;
      for (let piece = first; piece < first + AREA_BLOCKS; piece += PIECE_BLOCKS) {
        if (this.#set.isOver) return;
        if (areas.anyUnsettled(piece, PIECE_BLOCKS)) await this.settle(piece);
      }
      if (this.#isIdle(area)) await this.#close(area);
    }
  }
}

const inBackground = (copy: Copy): CopyVerbs => copy.inBackground ?? copy;

function indicesOf(bits: number): number[] {
  const all = Array.from({ length: COPIES_MAX }, (_, index) => index);
  return all.filter((index) => (bits & (1 << index)) !== 0);
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  const a = new Int32Array(one.buffer, one.byteOffset, one.length / 4);
  const b = new Int32Array(other.buffer, other.byteOffset, other.length / 4);
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
