/**
 * Everything that the clients of one simulated rack saw, in one order: what the checkers judge.
 *
 * Values say where they come from. The upper half of a word that was written is the number of its
 * allocation, unique in the run and so naming the space too; the lower half is the number of the
 * write within the allocation and the word's own place. A word that belongs to somebody else, to a
 * former life of the frame, to another page or to a write that was refused is known at sight.
 * Counters are the exception: they start from zero and hold sums.
 */

import { assert } from '../base/assert.js';
import type { Outcome, StatusName } from '../base/status.js';
import {
  type WordHistory,
  type WordOperation,
  type WordValue,
  WordVerb,
  ZERO,
} from './checkers/history.js';
import type { LeaseTold, LeaseWrite } from './lease-facts.js';
import type { LockHistory } from './lock-facts.js';

/** A sector of a device that showed words of two writes, one of which ended in doubt. */
export interface TornRead {
  readonly device: string;
  readonly slab: number;
  readonly sector: number;
}

/** The number of the client that looks at everything in the end. */
export const AUDITOR = 0;
export const WORD_BYTES = 8;
const PLACE_BITS = 14;
const PLACE_MASK = (1 << PLACE_BITS) - 1;
const WRITES_MAX = 2 ** (32 - PLACE_BITS);

/** How an operation of a client ended. */
export interface Ended {
  readonly code: StatusName;
  readonly outcome: Outcome;
}

export function isNotApplied(ended: Ended): boolean {
  return ended.outcome === 'notApplied';
}

export const SUCCESS: Ended = { code: 'Ok', outcome: 'applied' };

/** One change of a stretch of words by one operation. */
export interface RangeWrite {
  readonly number: number;
  readonly firstWord: number;
  readonly words: number;
  readonly calledAt: number;
  /** Undefined while it is under way, and for ever when its client was killed. */
  ended: Ended | undefined;
  /** Infinity: its effect may still come. */
  endedAt: number;
}

/** A new object for every change, so that 'unchanged since' is one comparison. */
export interface Rights {
  readonly text: 'none' | 'r' | 'rw';
}

/** From the report of a change of rights to the call of the next one. */
export interface Period {
  readonly from: number;
  until: number;
}

/** Memory that one client was given, from then on used by all. */
export class Allocation {
  /** From 1; unique in the run. */
  readonly id: number;
  readonly space: string;
  readonly at: number;
  readonly bytes: number;
  readonly client: number;
  readonly calledAt: number;
  readonly returnedAt: number;
  /** Words that are only ever added to, hold sums and no origin. */
  readonly counters: ReadonlySet<number>;
  readonly writes: RangeWrite[] = [];
  readonly words: Map<number, WordHistory> = new Map();
  /** Numbers of the writes of which some word was read back. */
  readonly seenWrites: Set<number> = new Set();
  /** What is in it is not judged word by word: locks, and what they guard. */
  isOpaque = false;
  /** When somebody began to free it; from then on its contents mean nothing. */
  freeCalledAt = Infinity;
  freed: Ended | undefined;
  /** When that was reported. */
  freedAt = Infinity;
  /** When nobody could change it, because it was only for reading. */
  readonly frozen: Period[] = [];
  /** Places where a write to former memory at the same addresses could rightly land late. */
  readonly overwritten: Set<number> = new Set();
  /** The last call that succeeded, and the first that was answered `DataLost`. */
  lastServed = 0;
  firstCalledLost = Infinity;
  /** Undefined while they are being changed, or when the outcome of a change is unknown. */
  rights: Rights | undefined = { text: 'rw' };
  /** By client: operations on it that are under way. */
  readonly #users: Map<number, number> = new Map();

  constructor(facts: AllocationFacts) {
    this.id = facts.id;
    this.space = facts.space;
    this.at = facts.at;
    this.bytes = facts.bytes;
    this.client = facts.client;
    this.calledAt = facts.calledAt;
    this.returnedAt = facts.returnedAt;
    this.counters = facts.counters;
  }

  get name(): string {
    return `allocation ${this.id} (${this.space} at ${this.at}, ${this.bytes} bytes)`;
  }

  get wordCount(): number {
    return this.bytes / WORD_BYTES;
  }

  isUsedBy(client: number): boolean {
    return (this.#users.get(client) ?? 0) > 0;
  }

  /** While `operation` is under way the client is at work on it. */
  async during<T>(client: number, operation: Promise<T>): Promise<T> {
    this.#users.set(client, (this.#users.get(client) ?? 0) + 1);
    try {
      return await operation;
    } finally {
      this.#users.set(client, (this.#users.get(client) ?? 0) - 1);
    }
  }

  beginWrite(firstWord: number, words: number, calledAt: number): RangeWrite {
    const number = this.writes.length + 1;
    assert(number < WRITES_MAX, 'too many writes for one allocation');
    const write: RangeWrite = {
      number,
      firstWord,
      words,
      calledAt,
      ended: undefined,
      endedAt: Infinity,
    };
    this.writes.push(write);
    return write;
  }

  endWrite(write: RangeWrite, ended: Ended, moment: number): void {
    write.ended = ended;
    if (ended.outcome !== 'unknown') write.endedAt = moment;
  }

  /** The rights are about to be changed. */
  thaw(moment: number): void {
    const last = this.frozen.at(-1);
    if (last !== undefined) last.until = Math.min(last.until, moment);
  }

  /** What write `number` puts into the word at `place`. */
  value(number: number, place: number): WordValue {
    return { low: lowHalf(number, place), high: this.id };
  }

  record(place: number, operation: WordOperation): WordOperation {
    let history = this.words.get(place);
    if (history === undefined) {
      history = { name: `${this.name} word ${place}`, operations: [] };
      this.words.set(place, history);
    }
    history.operations.push(operation);
    return operation;
  }
}

export interface AllocationFacts {
  readonly id: number;
  readonly space: string;
  readonly at: number;
  readonly bytes: number;
  readonly client: number;
  readonly calledAt: number;
  readonly returnedAt: number;
  readonly counters: ReadonlySet<number>;
}

function lowHalf(number: number, place: number): number {
  return ((number << PLACE_BITS) | (place & PLACE_MASK)) >>> 0;
}

/** What the lower half of a written word says of itself. */
export function writeNumberOf(low: number): number {
  return low >>> PLACE_BITS;
}

export function isAtPlace(low: number, place: number): boolean {
  return (low & PLACE_MASK) === (place & PLACE_MASK);
}

/** A complaint of a checker: which rule, and what was seen. */
export interface Violation {
  readonly rule: string;
  readonly text: string;
}

const RECENT = 400;
const VIOLATIONS_MAX = 20;

/** What a client has just begun, or has just been told. */
export type ClientMoment =
  | 'a flush'
  | 'the end of a flush'
  | 'the end of a first flush'
  | 'a relocation';

interface WaitsForMoment {
  readonly moment: ClientMoment;
  readonly client: number | undefined;
  readonly callback: (client: number) => void;
}

/** Whoever writes what a crash has left. */
const CRASH = -1;

export class Journal {
  readonly allocations: Allocation[] = [];
  /** Names of spaces by number, as clients were told. */
  readonly spaces = new Map<number, string>();
  readonly keys: Map<string, WordHistory> = new Map();
  /** Of block devices, by device and number. */
  readonly sectors: Map<string, WordHistory> = new Map();
  /** Holders in the order in which they were told. */
  readonly leases: LeaseTold[] = [];
  readonly locks: Map<string, LockHistory> = new Map();
  /** By allocation and number of the write. */
  readonly leaseWrites: Map<string, LeaseWrite> = new Map();
  readonly violations: Violation[] = [];
  /** Reads of what had been freed that succeeded. */
  readonly formerServed: { allocation: Allocation; calledAt: number; returnedAt: number }[] = [];
  /** How operations ended, by verb and code. */
  readonly endings: Map<string, number> = new Map();
  operations = 0;
  wasClientKilled = false;
  /** An allocation failed in a way that may have left something for a while. */
  mayHoldUnknown = false;
  /** Something was freed, perhaps, and nobody asked again. */
  mayHoldFreed = false;
  /** Nothing but the controller is struck in this run. */
  isControllerAlone = false;
  /** Client processes that there ever were. */
  clients = 0;
  /** Told after every operation that ended. */
  onCount: (() => void) | undefined;
  /** Simulated milliseconds, for people. */
  nowMs: () => number = () => 0;
  #moment = 0;
  #nextAllocation = 1;
  readonly #recent: string[] = [];

  /** The next place in the order of all events. */
  moment(): number {
    this.#moment += 1;
    return this.#moment;
  }

  get momentNow(): number {
    return this.#moment;
  }

  nextAllocationId(): number {
    return this.#nextAllocation++;
  }

  addAllocation(allocation: Allocation): void {
    this.allocations.push(allocation);
  }

  /** Space and number of regions that were to go to another node. */
  readonly movedRegions: Set<string> = new Set();

  /** Block devices of one copy, after the memory of a node has gone; of files, see `Blows`. */
  readonly mayBeLost: Set<string> = new Set();

  /** When a file was opened anew last, or is about to be: what was not flushed may be gone. */
  openedMs = -Infinity;

  /** A region was to go to another node. */
  noteMove(isDone: boolean): void {
    this.#countEnding(isDone ? 'move Ok' : 'move none');
  }

  /** A node was to be emptied. */
  noteDrain(what: 'begun' | 'done' | 'cancelled'): void {
    this.#countEnding(`drain ${what}`);
  }

  #countEnding(key: string): void {
    this.endings.set(key, (this.endings.get(key) ?? 0) + 1);
  }

  /** Who waits until a client has come to where a blow matters. */
  #waiting: WaitsForMoment[] = [];

  /** The client of this number has come there. */
  reach(moment: ClientMoment, client: number): void {
    const isReached = (one: WaitsForMoment): boolean => {
      return one.moment === moment && (one.client === undefined || one.client === client);
    };
    const reached = this.#waiting.filter(isReached);
    this.#waiting = this.#waiting.filter((one) => !isReached(one));
    for (const { callback } of reached) callback(client);
  }

  /** Calls back, once, with the number of the client; of this one alone where it is given. */
  whenReached(
    moment: ClientMoment,
    callback: (client: number) => void,
    client?: number | undefined,
  ): void {
    this.#waiting.push({ moment, client, callback });
  }

  count(verb: string, ended: Ended): void {
    this.operations += 1;
    const key = `${verb} ${ended.code}`;
    this.endings.set(key, (this.endings.get(key) ?? 0) + 1);
    this.onCount?.();
  }

  complain(rule: string, text: string): void {
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push({ rule, text });
  }

  /** One line for people, about something that changed the course of things. */
  note(line: string): void {
    if (this.#recent.length === RECENT) this.#recent.shift();
    this.#recent.push(`${this.nowMs().toFixed(3).padStart(10)} #${this.#moment} ${line}`);
  }

  get recent(): readonly string[] {
    return this.#recent;
  }

  lockHistory(name: string): LockHistory {
    let history = this.locks.get(name);
    if (history === undefined) {
      history = { name, holdings: [], publications: [] };
      this.locks.set(name, history);
    }
    return history;
  }

  /** What happened to a key of the directory, as to a word. */
  recordKey(key: string, operation: WordOperation): void {
    const name = `key ${key}`;
    const history = this.keys.get(key) ?? { name, operations: [] };
    history.operations.push(operation);
    this.keys.set(key, history);
  }

  /** How often devices were to become smaller. */
  cuts = 0;

  /** What happened to a sector of a device, as to a word. */
  recordSector(sector: string, operation: WordOperation): void {
    const history = this.sectors.get(sector) ?? { name: sector, operations: [] };
    history.operations.push(operation);
    this.sectors.set(sector, history);
  }

  /** By device: when the last flush was asked for that was told as done. */
  readonly #flushedAt = new Map<string, number>();
  /** Of all devices, that were told as done. */
  flushes = 0;
  /** Sectors that may show words of several writes: disks here write no more than words at once. */
  readonly mayBeTorn: Set<string> = new Set();
  /** What was read of sectors in the middle of a write whose end nobody knows. */
  readonly tornReads: TornRead[] = [];
  /** Slabs (`slabKey`) that may have had less than two copies for a while. */
  readonly hadOneCopy: Set<string> = new Set();
  /** Of sectors, until a crash. */
  readonly #before: WordHistory[] = [];

  noteFlush(device: string, askedAt: number): void {
    this.flushes += 1;
    this.#flushedAt.set(device, Math.max(askedAt, this.#flushedAt.get(device) ?? 0));
  }

  /**
   * Everybody who has the device in memory ends, now or soon: what it holds then is what was
   * flushed last, or written later, in any order. Its sectors begin anew with one of these.
   */
  crashDevice(device: string): void {
    const calledAt = this.moment();
    const returnedAt = this.moment();
    const flushedAt = this.#flushedAt.get(device) ?? 0;
    for (const [name, history] of this.sectors) {
      if (!name.startsWith(`${device} `)) continue;
      const values = lastValues(history, flushedAt);
      if (values.size > 1) this.mayBeTorn.add(name);
      const began = [...values].map((low) => {
        const write = { verb: WordVerb.write, argument: { low, high: 0 }, expected: ZERO };
        return { ...write, client: CRASH, result: ZERO, calledAt, returnedAt };
      });
      const isOpen = (one: WordOperation): boolean => one.returnedAt === Infinity;
      const isRead = ({ verb }: WordOperation): boolean => verb === WordVerb.read;
      // Of what is under way nobody knows whether it is before or after.
      const known = history.operations.filter((one) => !(isOpen(one) && isRead(one)));
      this.#before.push({ ...history, operations: known });
      const operations = known.filter(isOpen);
      this.sectors.set(name, { name, operations, began });
    }
  }

  /** All histories of single words, of keys, and of sectors. */
  *histories(): Generator<WordHistory> {
    yield* this.keys.values();
    yield* this.#before;
    yield* this.sectors.values();
    for (const { words, overwritten } of this.allocations) {
      for (const [place, history] of words) if (!overwritten.has(place)) yield history;
    }
  }

  /** By the number that its words carry. */
  readonly allocationOf = (id: number): Allocation | undefined => this.allocations[id - 1];
}

/** What a sector may hold that was flushed at this moment: nothing that was written over before. */
function lastValues({ operations, began }: WordHistory, flushedAt: number): ReadonlySet<number> {
  const writes = operations.filter(({ verb }) => verb === WordVerb.write);
  const flushed = writes.filter(({ returnedAt }) => returnedAt <= flushedAt);
  const lastAt = Math.max(-Infinity, ...flushed.map(({ calledAt }) => calledAt));
  const first = (began ?? []).map(({ argument }) => argument.low);
  const values = new Set(flushed.length > 0 ? [] : began === undefined ? [0] : first);
  for (const { argument, returnedAt } of writes) if (returnedAt >= lastAt) values.add(argument.low);
  return values;
}
