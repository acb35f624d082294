/**
 * What a serving process remembers of the changes that came in datagrams, so that each is executed
 * once: who sent it, its id and deadline, and what came of it. Bounded by a number of rows,
 * whatever the number of clients; see docs/internals/datagrams.md, "What the node remembers".
 *
 *   wheel    1,024 buckets of 32 ms, by deadline: each a list of rows
 *   heads    a hash table of all rows, chained in both directions
 *   free     rows of buckets that were forgotten
 *
 * A bucket is forgotten whole in constant time, by joining its list to the free one: its rows stay
 * in their chains until they are used again, and are not found, because their bucket is gone.
 *
 * Deadlines and `now` are integers of milliseconds that do not wrap: see `deadlineOf`.
 */

import { assert } from '../../base/assert.js';
import { clockAhead, DEADLINE_AHEAD_MS_MAX } from '../../wire/datagram.js';
import { fabricFaults } from '../planted.js';

/**
 * Clients give a change half a second, and each is kept for as long: a million changes a second,
 * of all clients together, find room, which is as many as a node executes. 31 MB.
 */
export const RECORD_ROWS = 2 ** 19;
export const BUCKET_MS = 32;
export const BUCKETS = 1024;
const BUCKET_MASK = BUCKETS - 1;
/** With the bug planted so many rows are kept, whatever their deadlines. */
const ROWS_WHEN_DROPPED_EARLY = 16;

/** Mostly a change is new: its head is empty then, and no row, which no cache has, is looked at. */
const HEADS_PER_ROW_BITS = 2;
/**
 * Ids are counted, so those of a datagram follow each other. The heads of 16 such ids lie side by
 * side in one cache line, and only the place of the line is hashed: a datagram with 256 changes
 * waits for 16 lines instead of 256. Whoever uses one id of each 16 gets chains 16 times as long,
 * which is 4 rows when the record is full; nobody can choose which lines meet.
 */
const SIDE_BY_SIDE_BITS = 4;
const SIDE_BY_SIDE_MASK = (1 << SIDE_BY_SIDE_BITS) - 1;

// A row: words of one array, so that a look at it is a look at one cache line or two.
const ROW_WORDS = 11;
const ID = 0;
const LINK = 1;
const CLIENT_LOW = 2;
const CLIENT_HIGH = 3;
const DEADLINE = 4;
const STATUS = 5;
const LOW = 6;
const HIGH = 7;
/** The next row of the hash chain. */
const CHAIN = 8;
/** The row before it in its chain, or `~head` where it is the first. */
const BACK = 9;
/** The next row of its bucket, or of the free list. */
const NEXT = 10;

const NONE = -1;
const NOTHING = new Int32Array(0);

// What is put in place of an old bucket must never meet one that may still be needed.
assert(BUCKETS * BUCKET_MS > 4 * DEADLINE_AHEAD_MS_MAX);

/** What a deadline that has passed says of a change that is not in the record. */
export const Verdict = {
  /** It was not executed: the record would know it. */
  NEVER: 0,
  /** It may have been executed, and forgotten. */
  LATE: 1,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** A deadline of the wire, a clock modulo 2^32, beside `now`, which does not wrap. */
export function deadlineOf(wire: number, now: number): number {
  return now + clockAhead(wire, now);
}

export interface RecordOptions {
  /** A power of 2; `RECORD_ROWS` when missing. */
  readonly rows?: number | undefined;
  /** Random: so that nobody can choose ids that meet in one chain. */
  readonly seed: number;
}

export class ChangeRecord {
  /** Rows that it takes. */
  readonly capacity: number;
  readonly #seed: number;
  readonly #shift: number;
  readonly #headMask: number;
  #words = NOTHING;
  /** First rows + 1; 0: none. So they begin as zeros, which take no memory before their time. */
  #heads = NOTHING;
  /** Of each place of the wheel: the number of the bucket that stands there, its list. */
  readonly #numbers = new Float64Array(BUCKETS).fill(Number.NaN);
  readonly #first = new Int32Array(BUCKETS);
  readonly #last = new Int32Array(BUCKETS);
  readonly #counts = new Int32Array(BUCKETS);
  #free = NONE;
  /** Rows from here on were never used. */
  #fresh = 0;
  #used = 0;
  /** The newest deadline of which something may have been forgotten. */
  #forgotten = Number.NEGATIVE_INFINITY;

  constructor(options: RecordOptions) {
    const capacity = options.rows ?? RECORD_ROWS;
    const bits = Math.log2(capacity);
    assert(Number.isInteger(bits) && bits >= 1 && bits <= 24, 'rows are a power of 2');
    this.capacity = capacity;
    this.#shift = 32 - bits - HEADS_PER_ROW_BITS;
    this.#headMask = (capacity << HEADS_PER_ROW_BITS) - 1;
    this.#seed = options.seed | 0;
  }

  /** Rows that can be found. */
  get rows(): number {
    return this.#used;
  }

  /** Bytes of memory: those of an empty record until something is entered, then always the same. */
  get bytes(): number {
    return this.#words.byteLength + this.#heads.byteLength + BUCKETS * 20;
  }

  /** The row of a change, or -1. `clientHigh` is the upper half of the client's number. */
  find(clientLow: number, clientHigh: number, link: number, id: number, deadline: number): number {
    const number = Math.floor(deadline / BUCKET_MS);
    if (this.#numbers[number & BUCKET_MASK] !== number) return NONE;
    const words = this.#words;
    let row = (this.#heads[this.#headOf(clientLow, link, id)] as number) - 1;
    while (row >= 0) {
      const at = row * ROW_WORDS;
      if (
        words[at + ID] === (id | 0) &&
        words[at + LINK] === (link | 0) &&
        words[at + CLIENT_LOW] === (clientLow | 0) &&
        words[at + CLIENT_HIGH] === clientHigh &&
        words[at + DEADLINE] === (deadline | 0)
      ) {
        return row;
      }
      row = words[at + CHAIN] as number;
    }
    return NONE;
  }

  status(row: number): number {
    return this.#words[row * ROW_WORDS + STATUS] as number;
  }

  /** The lower half of the old value, signed; and so the upper one. */
  low(row: number): number {
    return this.#words[row * ROW_WORDS + LOW] as number;
  }

  high(row: number): number {
    return this.#words[row * ROW_WORDS + HIGH] as number;
  }

  /** What is known of a change that is not here and whose deadline has passed. */
  verdict(deadline: number): Verdict {
    return deadline > this.#forgotten ? Verdict.NEVER : Verdict.LATE;
  }

  /**
   * Makes sure that the next `enter` finds a row; forgets the oldest bucket if it must. False where
   * no whole bucket has passed.
   */
  makeRoom(now: number): boolean {
    if (fabricFaults.rowDroppedEarly && this.#used >= ROWS_WHEN_DROPPED_EARLY) {
      this.#forget(this.#oldest());
      return true;
    }
    if (this.#free >= 0 || this.#fresh < this.capacity) return true;
    const place = this.#oldest();
    if (endOf(this.#numbers[place] as number) > now) return false;
    this.#forget(place);
    return true;
  }

  /**
   * Enters a change that was executed, or refused for good, and that is not here; returns its row,
   * or -1 when the record is full. Its deadline is ahead of `now`, by a second at most.
   */
  enter(
    clientLow: number,
    clientHigh: number,
    link: number,
    id: number,
    deadline: number,
    now: number,
  ): number {
    if (!this.makeRoom(now)) return NONE;
    if (this.#words.length === 0) this.#allocate();
    const row = this.#takeRow();
    const words = this.#words;
    const at = row * ROW_WORDS;
    words[at + ID] = id;
    words[at + LINK] = link;
    words[at + CLIENT_LOW] = clientLow;
    words[at + CLIENT_HIGH] = clientHigh;
    words[at + DEADLINE] = deadline;
    this.#chain(row, this.#headOf(clientLow, link, id));
    this.#append(row, Math.floor(deadline / BUCKET_MS), now);
    return row;
  }

  /** What is answered to who asks again. */
  setResult(row: number, status: number, low: number, high: number): void {
    const at = row * ROW_WORDS;
    this.#words[at + STATUS] = status;
    this.#words[at + LOW] = low;
    this.#words[at + HIGH] = high;
  }

  #allocate(): void {
    this.#words = new Int32Array(this.capacity * ROW_WORDS);
    this.#heads = new Int32Array(this.capacity << HEADS_PER_ROW_BITS);
  }

  #headOf(clientLow: number, link: number, id: number): number {
    let hash = Math.imul((id >>> SIDE_BY_SIDE_BITS) ^ this.#seed, 0x21f0aaad);
    hash = Math.imul(hash ^ (hash >>> 15) ^ link, 0x735a2d97);
    hash = Math.imul(hash ^ (hash >>> 15) ^ clientLow, 0x21f0aaad);
    const line = ((hash ^ (hash >>> 15)) >>> this.#shift) & ~SIDE_BY_SIDE_MASK;
    // The smallest records have less than a line of heads.
    return (line | (id & SIDE_BY_SIDE_MASK)) & this.#headMask;
  }

  #takeRow(): number {
    this.#used++;
    if (this.#free < 0) return this.#fresh++;
    const row = this.#free;
    this.#free = this.#words[row * ROW_WORDS + NEXT] as number;
    this.#unchain(row);
    return row;
  }

  #chain(row: number, head: number): void {
    const words = this.#words;
    const first = (this.#heads[head] as number) - 1;
    words[row * ROW_WORDS + CHAIN] = first;
    words[row * ROW_WORDS + BACK] = ~head;
    if (first >= 0) words[first * ROW_WORDS + BACK] = row;
    this.#heads[head] = row + 1;
  }

  #unchain(row: number): void {
    const words = this.#words;
    const next = words[row * ROW_WORDS + CHAIN] as number;
    const back = words[row * ROW_WORDS + BACK] as number;
    if (back < 0) this.#heads[~back] = next + 1;
    else words[back * ROW_WORDS + CHAIN] = next;
    if (next >= 0) words[next * ROW_WORDS + BACK] = back;
  }

  #append(row: number, number: number, now: number): void {
    const place = number & BUCKET_MASK;
    const words = this.#words;
    words[row * ROW_WORDS + NEXT] = NONE;
    if (this.#numbers[place] !== number) {
      if ((this.#counts[place] as number) > 0) {
        const isPassed = endOf(this.#numbers[place] as number) <= now;
        assert(isPassed, 'a deadline that is too far ahead was entered');
        this.#forget(place);
      }
      this.#numbers[place] = number;
      this.#first[place] = row;
    } else {
      words[(this.#last[place] as number) * ROW_WORDS + NEXT] = row;
    }
    this.#last[place] = row;
    this.#counts[place] = (this.#counts[place] as number) + 1;
  }

  /** The place of the bucket with the oldest deadlines. There is one. */
  #oldest(): number {
    let oldest = NONE;
    let least = Number.POSITIVE_INFINITY;
    for (let place = 0; place < BUCKETS; place++) {
      const number = this.#numbers[place] as number;
      if (number < least) {
        least = number;
        oldest = place;
      }
    }
    assert(oldest >= 0, 'a record that is full is empty');
    return oldest;
  }

  #forget(place: number): void {
    const end = endOf(this.#numbers[place] as number);
    if (end > this.#forgotten) this.#forgotten = end;
    this.#words[(this.#last[place] as number) * ROW_WORDS + NEXT] = this.#free;
    this.#free = this.#first[place] as number;
    this.#used -= this.#counts[place] as number;
    this.#counts[place] = 0;
    this.#numbers[place] = Number.NaN;
  }
}

/** The last deadline of a bucket. */
function endOf(number: number): number {
  return number * BUCKET_MS + BUCKET_MS - 1;
}
