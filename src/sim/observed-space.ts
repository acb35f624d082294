/**
 * An address space as a client program uses it, with every call and every answer written into the
 * journal. Calls end with how they ended and never throw: what a client meets under faults is
 * ordinary here.
 */

import { assert, defined } from '../base/assert.js';
import { STATUS_FACTS, type StatusName } from '../base/status.js';
import { type Call, callOf, judgeAnswer } from './checkers/answers.js';
import { examine, examineFormer } from './checkers/foreign.js';
import {
  DISCARDED,
  type WordOperation,
  type WordValue,
  WordVerb,
  ZERO,
} from './checkers/history.js';
import type { Grant, GrantRights } from './grant.js';
import {
  Allocation,
  type Ended,
  type Journal,
  type RangeWrite,
  SUCCESS,
  WORD_BYTES,
} from './journal.js';

/** The part of the public library that is driven here. */
export interface DrivenSpace {
  readonly id: number;
  alloc(bytes: number): Promise<number>;
  free(at: number): Promise<unknown>;
  read(at: number, into: Uint8Array): Promise<unknown>;
  write(at: number, from: Uint8Array): Promise<unknown>;
  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint>;
  fetchAndAdd(at: number, delta: bigint): Promise<bigint>;
  protect(at: number, length: number, rights: 'none' | 'r' | 'rw'): Promise<unknown>;
  fence(): Promise<unknown>;
  readMany(reads: readonly { readonly at: number; readonly into: Uint8Array }[]): Promise<unknown>;
  writeMany(
    writes: readonly { readonly at: number; readonly from: Uint8Array }[],
  ): Promise<unknown>;
  relocate?(at: number, bytes: number): Promise<unknown>;
  window?(at: number, bytes: number, rights: GrantRights): Promise<DrivenWindow>;
}

/** The part of the public library that is driven in spaces on disks. */
export interface DurableSpace {
  alloc(bytes: number): Promise<number>;
  free(at: number): Promise<unknown>;
  read(at: number, into: Uint8Array): Promise<unknown>;
  write(at: number, from: Uint8Array): Promise<unknown>;
  flush(at: number, bytes: number): Promise<unknown>;
  relocate(at: number, bytes: number): Promise<unknown>;
}

/** The part of a window of the public library that is driven here. */
export interface DrivenWindow {
  readonly token: string;
  read(at: number, into: Uint8Array): Promise<unknown>;
  write(at: number, from: Uint8Array): Promise<unknown>;
  readMany(reads: readonly { readonly at: number; readonly into: Uint8Array }[]): Promise<unknown>;
  writeMany(
    writes: readonly { readonly at: number; readonly from: Uint8Array }[],
  ): Promise<unknown>;
  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint>;
  fetchAndAdd(at: number, delta: bigint): Promise<bigint>;
  narrow(at: number, bytes: number, rights: GrantRights): Promise<DrivenWindow>;
  revoke(): Promise<unknown>;
}

/** A stretch of words of one allocation. */
export interface Stretch {
  readonly firstWord: number;
  readonly words: number;
}

/** Of the words of large transfers every so many have their history checked in full. */
const PROBE_EVERY = 2_039;

/** An operation on one word that is under way. */
interface Begun {
  readonly word: WordOperation;
  readonly place: number;
  readonly call: Call;
}

/** What the library rejects with, as the journal keeps it. Anything else is a bug of ours. */
export function endedBy(error: unknown): Ended {
  const { code, outcome } = error as { code?: StatusName; outcome?: Ended['outcome'] };
  if (code === undefined || outcome === undefined || !(code in STATUS_FACTS)) throw error;
  return { code, outcome };
}

function toBigint(value: WordValue): bigint {
  return (BigInt(value.high) << 32n) | BigInt(value.low);
}

function fromBigint(value: bigint): WordValue {
  return { low: Number(value & 0xffff_ffffn), high: Number(value >> 32n) };
}

/** Tells the world that faults since `startedMs` changed how an operation ended. */
export type NoteOutcome = (startedMs: number, outcome: 'failed' | 'unknown') => void;

export interface ObservedSpaceFacts {
  readonly name: string;
  readonly client: number;
  readonly pageBytes: number;
  readonly space: DrivenSpace;
  readonly journal: Journal;
  readonly nowMs: () => number;
  readonly noteOutcome: NoteOutcome;
  /** The window that everything goes through, if it is one of its own. */
  readonly grant?: Grant;
}

/** Answers that come of faults and not of what was asked. */
export const OF_FAULTS: ReadonlySet<StatusName> = new Set([
  'Unavailable',
  'Timeout',
  'OutcomeUnknown',
  'DataLost',
]);

export class ObservedSpace {
  readonly name: string;
  readonly id: number;
  readonly client: number;
  readonly pageBytes: number;
  readonly #space: DrivenSpace;
  readonly #journal: Journal;
  readonly #probesOf: Map<number, readonly number[]> = new Map();
  readonly #nowMs: () => number;
  readonly #noteOutcome: NoteOutcome;
  readonly #grant: Grant | undefined;
  readonly #facts: ObservedSpaceFacts;

  constructor(facts: ObservedSpaceFacts) {
    this.name = facts.name;
    this.id = facts.space.id;
    this.client = facts.client;
    this.pageBytes = facts.pageBytes;
    this.#space = facts.space;
    this.#journal = facts.journal;
    this.#nowMs = facts.nowMs;
    this.#noteOutcome = facts.noteOutcome;
    this.#grant = facts.grant;
    this.#facts = facts;
  }

  /** `counters`: places of words that will only be added to. */
  async alloc(bytes: number, counters: readonly number[] = []): Promise<Allocation | Ended> {
    const calledAt = this.#journal.moment();
    const at = await this.ending('alloc', this.#space.alloc(bytes));
    if (typeof at !== 'number') {
      if (at.code !== 'NoSpace') this.#journal.mayHoldUnknown = true;
      return at;
    }
    const allocation = new Allocation({
      id: this.#journal.nextAllocationId(),
      space: this.name,
      at,
      bytes: Math.ceil(bytes / this.pageBytes) * this.pageBytes,
      client: this.client,
      calledAt,
      returnedAt: this.#journal.moment(),
      counters: new Set(counters),
    });
    this.#journal.addAllocation(allocation);
    return allocation;
  }

  async free(allocation: Allocation): Promise<Ended> {
    allocation.freeCalledAt = Math.min(allocation.freeCalledAt, this.#journal.moment());
    allocation.thaw(this.#journal.momentNow);
    const ended = await this.#ended('free', this.#space.free(allocation.at));
    allocation.freed = ended;
    if (ended.code === 'Ok') allocation.freedAt = this.#journal.moment();
    if (ended.outcome === 'notApplied' && ended.code !== 'NotAllocated') {
      // It is still there, and is freed again later.
      allocation.freeCalledAt = Infinity;
    }
    return ended;
  }

  async protect(allocation: Allocation, rights: 'none' | 'r' | 'rw'): Promise<Ended> {
    const before = allocation.rights;
    allocation.rights = undefined;
    allocation.thaw(this.#journal.moment());
    const changing = this.#space.protect(allocation.at, allocation.bytes, rights);
    const ended = await this.#ended('protect', changing);
    if (ended.code === 'Ok') {
      allocation.rights = { text: rights };
      if (rights === 'r') allocation.frozen.push({ from: this.#journal.moment(), until: Infinity });
    } else if (ended.outcome === 'notApplied') allocation.rights = before;
    return ended;
  }

  async fence(): Promise<Ended> {
    return this.#ended('fence', this.#space.fence());
  }

  async readWord(allocation: Allocation, place: number): Promise<Ended> {
    const into = new Uint8Array(WORD_BYTES);
    const operation = this.#beginWord(allocation, place, WordVerb.read, ZERO, ZERO);
    const reading = this.#space.read(allocation.at + place * WORD_BYTES, into);
    const ended = await this.#use(allocation, 'read', reading);
    const view = new DataView(into.buffer);
    const value = { low: view.getUint32(0, true), high: view.getUint32(4, true) };
    return this.#endWord(allocation, operation, ended, value);
  }

  async writeWord(allocation: Allocation, place: number): Promise<Ended> {
    const write = allocation.beginWrite(place, 1, this.#journal.moment());
    const argument = allocation.value(write.number, place);
    const operation = this.#beginWord(allocation, place, WordVerb.write, argument, ZERO);
    const from = new Uint8Array(WORD_BYTES);
    new DataView(from.buffer).setUint32(0, argument.low, true);
    new DataView(from.buffer).setUint32(4, argument.high, true);
    const writing = this.#space.write(allocation.at + place * WORD_BYTES, from);
    const ended = this.#endWrite(allocation, write, await this.#use(allocation, 'write', writing));
    return this.#endWord(allocation, operation, ended, ZERO);
  }

  async swapWord(allocation: Allocation, place: number, expected: WordValue): Promise<Ended> {
    const write = allocation.beginWrite(place, 1, this.#journal.moment());
    const desired = allocation.value(write.number, place);
    const operation = this.#beginWord(
      allocation,
      place,
      WordVerb.compareAndSwap,
      desired,
      expected,
    );
    const at = allocation.at + place * WORD_BYTES;
    const swapping = this.#space.compareAndSwap(at, toBigint(expected), toBigint(desired));
    const old = await this.ending('swap', allocation.during(this.client, swapping));
    const ended = this.#endWrite(allocation, write, typeof old === 'bigint' ? SUCCESS : old);
    const value = typeof old === 'bigint' ? fromBigint(old) : ZERO;
    return this.#endWord(allocation, operation, ended, value);
  }

  async addWord(allocation: Allocation, place: number, delta: number): Promise<Ended> {
    const argument = { low: delta, high: 0 };
    const operation = this.#beginWord(allocation, place, WordVerb.fetchAndAdd, argument, ZERO);
    const adding = this.#space.fetchAndAdd(allocation.at + place * WORD_BYTES, BigInt(delta));
    const old = await this.ending('add', allocation.during(this.client, adding));
    const ended = this.#mayStillCome(operation.word, typeof old === 'bigint' ? SUCCESS : old);
    const value = typeof old === 'bigint' ? fromBigint(old) : ZERO;
    return this.#endWord(allocation, operation, ended, value);
  }

  /** Fills `words` words from `firstWord` on with the pattern of a new write. */
  writeRange(allocation: Allocation, firstWord: number, words: number): Promise<Ended> {
    return this.#writeStretches('write-range', allocation, [{ firstWord, words }], ([item]) => {
      return this.#space.write(defined(item).at, defined(item).from);
    });
  }

  /** The same for several stretches with one completion. */
  writeMany(allocation: Allocation, stretches: readonly Stretch[]): Promise<Ended> {
    return this.#writeStretches('write-many', allocation, stretches, (items) => {
      return this.#space.writeMany(items);
    });
  }

  async #writeStretches(
    verb: string,
    allocation: Allocation,
    stretches: readonly Stretch[],
    start: (items: { at: number; from: Uint8Array }[]) => Promise<unknown>,
  ): Promise<Ended> {
    const call = this.#call(allocation, this.#journal.moment(), true);
    const writes = stretches.map(({ firstWord, words }) => {
      const write = allocation.beginWrite(firstWord, words, call.calledAt);
      const probes = this.#probes(allocation, firstWord, words).map((place) => {
        const value = allocation.value(write.number, place);
        return this.#begin(allocation, place, WordVerb.write, value, ZERO);
      });
      return { write, probes };
    });
    const items = writes.map(({ write }) => {
      return { at: allocation.at + write.firstWord * WORD_BYTES, from: pattern(allocation, write) };
    });
    let ended = await this.#use(allocation, verb, start(items));
    for (const { write, probes } of writes) {
      ended = this.#endWrite(allocation, write, ended);
      for (const probe of probes) this.#end(probe, ended);
    }
    this.#judge(allocation, ended, call);
    return ended;
  }

  readRange(allocation: Allocation, firstWord: number, words: number): Promise<Ended> {
    return this.#readStretches('read-range', allocation, [{ firstWord, words }], ([item]) => {
      return this.#space.read(defined(item).at, defined(item).into);
    });
  }

  readMany(allocation: Allocation, stretches: readonly Stretch[]): Promise<Ended> {
    return this.#readStretches('read-many', allocation, stretches, (items) => {
      return this.#space.readMany(items);
    });
  }

  async #readStretches(
    verb: string,
    allocation: Allocation,
    stretches: readonly Stretch[],
    start: (items: { at: number; into: Uint8Array }[]) => Promise<unknown>,
  ): Promise<Ended> {
    const call = this.#call(allocation, this.#journal.moment(), false);
    const reads = stretches.map(({ firstWord, words }) => {
      const places = this.#probes(allocation, firstWord, words);
      const probes = places.map((place) =>
        this.#begin(allocation, place, WordVerb.read, ZERO, ZERO),
      );
      const at = allocation.at + firstWord * WORD_BYTES;
      return { at, into: new Uint8Array(words * WORD_BYTES), firstWord, places, probes };
    });
    const ended = await this.#use(allocation, verb, start(reads));
    for (const { into, firstWord, places, probes } of reads) {
      const view = new DataView(into.buffer);
      for (const [index, operation] of probes.entries()) {
        const at = ((places[index] as number) - firstWord) * WORD_BYTES;
        operation.result = { low: view.getUint32(at, true), high: view.getUint32(at + 4, true) };
        this.#end(operation, ended);
        if (!isInUse(allocation)) operation.returnedAt = DISCARDED;
      }
      if (ended.code === 'Ok') this.#scan(allocation, firstWord, into);
    }
    this.#judge(allocation, ended, call);
    return ended;
  }

  /** What the public library gives for a window over all of it; undefined where it has none. */
  windowOver(allocation: Allocation, rights: GrantRights): Promise<DrivenWindow> | undefined {
    return this.#space.window?.(allocation.at, allocation.bytes, rights);
  }

  /** The same memory, reached through a window. */
  through(space: DrivenSpace, grant: Grant): ObservedSpace {
    return new ObservedSpace({ ...this.#facts, space, grant });
  }

  /** Has the nodes move what is in it to other frames. Nobody's answers change by that. */
  relocate(allocation: Allocation): Promise<Ended> {
    const { at, bytes } = allocation;
    return this.#ended('relocate', this.#space.relocate?.(at, bytes) ?? Promise.resolve());
  }

  /** Of memory that was freed before: once that was reported there is nothing there. */
  async readFormer(allocation: Allocation): Promise<Ended> {
    const calledAt = this.#journal.moment();
    const ended = await this.#ended(
      'read-former',
      this.#space.read(allocation.at, new Uint8Array(8)),
    );
    if (ended.code !== 'Ok' || calledAt < allocation.freedAt) return ended;
    this.#journal.formerServed.push({ allocation, calledAt, returnedAt: this.#journal.moment() });
    return ended;
  }

  #begin(
    allocation: Allocation,
    place: number,
    verb: WordVerb,
    argument: WordValue,
    expected: WordValue,
  ): WordOperation {
    assert(place >= 0 && place < allocation.wordCount, 'a place outside of the allocation');
    const operation = allocation.record(place, {
      client: this.client,
      verb,
      argument,
      expected,
      result: ZERO,
      calledAt: this.#journal.moment(),
      returnedAt: Infinity,
    });
    this.#grant?.began(operation);
    return operation;
  }

  #call(allocation: Allocation, calledAt: number, isChange: boolean): Call {
    return callOf(allocation, calledAt, isChange, this.#grant);
  }

  #endWrite(allocation: Allocation, write: RangeWrite, ended: Ended): Ended {
    const known = this.#mayStillCome(write, ended);
    allocation.endWrite(write, known, this.#journal.moment());
    return known;
  }

  /** What began after its window was reported as revoked has no effect, whatever it is told. */
  #mayStillCome({ calledAt }: { readonly calledAt: number }, ended: Ended): Ended {
    const isTooLate = this.#grant !== undefined && this.#grant.revokedAt < calledAt;
    return isTooLate && ended.outcome === 'unknown' ? { ...ended, outcome: 'notApplied' } : ended;
  }

  #beginWord(
    allocation: Allocation,
    place: number,
    verb: WordVerb,
    argument: WordValue,
    expected: WordValue,
  ): Begun {
    const word = this.#begin(allocation, place, verb, argument, expected);
    return { word, place, call: this.#call(allocation, word.calledAt, verb !== WordVerb.read) };
  }

  /** Open operations stay open; what was refused is taken out of its word's history. */
  #end(operation: WordOperation, ended: Ended): void {
    if (ended.code === 'Ok') operation.returnedAt = this.#journal.moment();
    else if (ended.outcome === 'notApplied') operation.returnedAt = DISCARDED;
  }

  #endWord(allocation: Allocation, operation: Begun, ended: Ended, value: WordValue): Ended {
    const { word, place, call } = operation;
    word.result = value;
    this.#end(word, ended);
    this.#judge(allocation, ended, call);
    if (ended.code !== 'Ok' || word.verb === WordVerb.write) return ended;
    if (!isInUse(allocation)) {
      word.returnedAt = DISCARDED;
      this.#scanFormer(allocation, place, value);
      return ended;
    }
    const wrong = examine(allocation, place, value, word.returnedAt, this.#journal.allocationOf);
    if (wrong !== undefined) this.#journal.complain(wrong.kind, wrong.text);
    return ended;
  }

  #judge(allocation: Allocation, ended: Ended, call: Call): void {
    const wrong = judgeAnswer(allocation, ended, call);
    if (wrong !== undefined) this.#journal.complain(wrong.kind, wrong.text);
  }

  #scanFormer(allocation: Allocation, place: number, value: WordValue): void {
    const wrong = examineFormer(allocation, place, value, this.#journal.allocationOf);
    if (wrong !== undefined) this.#journal.complain(wrong.kind, wrong.text);
  }

  #scan(allocation: Allocation, firstWord: number, bytes: Uint8Array): void {
    const words = new Uint32Array(bytes.buffer, 0, bytes.length / 4);
    const isFormer = !isInUse(allocation);
    const readAt = this.#journal.momentNow;
    const { allocationOf } = this.#journal;
    // One for all words: objects with numbers of both sizes are costly to make.
    const value = { low: 0, high: 0 };
    for (let i = 0; i < words.length; i += 2) {
      const low = words[i] as number;
      const high = words[i + 1] as number;
      if (low === 0 && high === 0) continue;
      const place = firstWord + i / 2;
      value.low = low;
      value.high = high;
      const wrong = isFormer
        ? examineFormer(allocation, place, value, allocationOf)
        : examine(allocation, place, value, readAt, allocationOf);
      if (wrong === undefined) continue;
      this.#journal.complain(wrong.kind, wrong.text);
      return;
    }
  }

  /** The places of the range whose history is kept in full. */
  #probes(allocation: Allocation, firstWord: number, words: number): number[] {
    const end = firstWord + words;
    return this.probes(allocation).filter((place) => place >= firstWord && place < end);
  }

  /** Both sides of every page border, and some between; the same for every operation. */
  probes(allocation: Allocation): readonly number[] {
    if (allocation.isOpaque) return [];
    const known = this.#probesOf.get(allocation.id);
    if (known !== undefined) return known;
    const places = new Set<number>();
    const perPage = this.pageBytes / WORD_BYTES;
    for (let border = 0; border < allocation.wordCount; border += perPage) {
      places.add(border).add(border + perPage - 1);
    }
    for (let place = 0; place < allocation.wordCount; place += PROBE_EVERY) places.add(place);
    for (const place of allocation.counters) places.delete(place);
    const probes = [...places].sort((a, b) => a - b);
    this.#probesOf.set(allocation.id, probes);
    return probes;
  }

  #use(allocation: Allocation, verb: string, operation: Promise<unknown>): Promise<Ended> {
    return this.#ended(verb, allocation.during(this.client, operation));
  }

  async #ended(verb: string, promise: Promise<unknown>): Promise<Ended> {
    const answer = await this.ending(verb, promise);
    return isEnded(answer) ? answer : SUCCESS;
  }

  /** Its value, or how it ended; counted either way. */
  async ending<T>(verb: string, promise: Promise<T>): Promise<T | Ended> {
    const startedMs = this.#nowMs();
    try {
      const value = await promise;
      this.#journal.count(verb, SUCCESS);
      return value;
    } catch (error) {
      const ended = endedBy(error);
      this.#journal.count(verb, ended);
      if (OF_FAULTS.has(ended.code)) {
        this.#noteOutcome(startedMs, ended.outcome === 'unknown' ? 'unknown' : 'failed');
        this.#journal.note(`client ${this.client}: ${verb} ended with ${ended.code}`);
      }
      return ended;
    }
  }
}

function isEnded(answer: unknown): answer is Ended {
  return typeof answer === 'object' && answer !== null && 'outcome' in answer;
}

/** Once it is being freed, what is found there means nothing. */
function isInUse(allocation: Allocation): boolean {
  return allocation.freeCalledAt === Infinity && !allocation.isOpaque;
}

/** The bytes of one write: every word names allocation, write and place. */
function pattern(allocation: Allocation, write: RangeWrite): Uint8Array {
  const words = new Uint32Array(write.words * 2);
  for (let i = 0; i < write.words; i++) {
    const { low, high } = allocation.value(write.number, write.firstWord + i);
    words[i * 2] = low;
    words[i * 2 + 1] = high;
  }
  return new Uint8Array(words.buffer);
}
