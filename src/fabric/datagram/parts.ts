/**
 * The parts of a link's operations that are under way, in typed arrays: one row each, found by its
 * id. There are few rows at first, and twice as many whenever all are taken, up to the limit: after
 * `take` the arrays may be others, and a part may be in another row. See
 * docs/internals/datagrams.md.
 *
 *   free --take--> ready --sent--> sent --(lost, again)--> ready --> ... --free--> free
 *
 * Those that are sent stand in the order in which they were, so that the one that waits longest is
 * found without a search; one that was answered or sent again meanwhile is passed over.
 */

import { assert } from '../../base/assert.js';
import { Columns } from '../../base/columns.js';

/** Of all operations of one link together; a power of two. */
export const PARTS_MAX = 4096;
const ROWS_AT_FIRST = 16;
const ROW_BYTES = 8 + 7 * 4 + 2 + 3;
/** One sent again leaves its earlier place behind until that comes to the front. */
const PLACES_PER_ROW = 4;
const PLACE_BYTES = 4 + 2;

export const FREE = 0;
export const READY = 1;
export const SENT = 2;
/** Answered with `again`: it is sent a moment later. */
export const PUT_OFF = 3;
/** Of a change whose caller was told that nothing is known: it bars conflicting ones. */
export const BARRED = 4;

export class Parts {
  sentAt = new Float64Array(0);
  id = new Uint32Array(0);
  bytes = new Uint32Array(0);
  /** Where the part begins in the operation's range. */
  offset = new Uint32Array(0);
  /** In the node's clock. */
  deadline = new Uint32Array(0);
  /** Of the datagram that it was in last; when that was says `sentAt`. */
  number = new Uint32Array(0);
  /** Bytes of request and reply, and of the reply, while an attempt is waited for; else 0. */
  cost = new Uint32Array(0);
  expected = new Uint32Array(0);
  /** Slot of the operation. */
  operation = new Uint16Array(0);
  state = new Uint8Array(0);
  /** Attempts so far, 255 standing for more. */
  attempts = new Uint8Array(0);
  /** 1: its last datagram, or the answer to it, was longer than every path takes. */
  isLong = new Uint8Array(0);
  /** How many are not free, and how many of those are ready. */
  count = 0;
  ready = 0;
  #nextId: number;
  #mask = -1;
  /** In the order in which they were sent, by the datagram's number. */
  readonly #order = new RowQueue(
    (row, number) => this.state[row] === SENT && this.number[row] === number,
  );
  /** Ready ones, by id: those that were sent before, and new ones behind them. */
  readonly #again = new RowQueue((row, id) => this.#isReady(row, id));
  readonly #new = new RowQueue((row, id) => this.#isReady(row, id));

  /** Ids are counted from `firstId` on. */
  constructor(firstId = 0) {
    this.#nextId = firstId >>> 0;
    this.#growTo(ROWS_AT_FIRST);
  }

  /** Every row is below this. */
  get rows(): number {
    return this.state.length;
  }

  /** The row of a part that is under way; -1: nobody waits for it any more. */
  rowOf(id: number): number {
    const row = id & this.#mask;
    return this.state[row] !== FREE && this.id[row] === id ? row : -1;
  }

  get hasRoom(): boolean {
    return this.count < PARTS_MAX;
  }

  /** A row with a new id, to be filled, then given to `makeReady`. */
  take(): number {
    assert(this.hasRoom, 'the caller looks for room');
    if (this.count === this.rows) this.#growTo(2 * this.rows);
    while (this.state[this.#nextId & this.#mask] !== FREE) {
      this.#nextId = (this.#nextId + 1) >>> 0;
    }
    const row = this.#nextId & this.#mask;
    this.id[row] = this.#nextId;
    this.#nextId = (this.#nextId + 1) >>> 0;
    // Until it is made ready it is like one that is put off.
    this.state[row] = PUT_OFF;
    this.attempts[row] = 0;
    this.cost[row] = 0;
    this.expected[row] = 0;
    this.count++;
    return row;
  }

  free(row: number): void {
    assert(this.state[row] !== FREE, 'a part is freed twice');
    this.#leaveAs(row, FREE);
    this.count--;
  }

  makeReady(row: number): void {
    assert(this.state[row] !== READY && this.state[row] !== FREE, 'it is ready, or nothing');
    this.state[row] = READY;
    this.ready++;
    const queue = (this.attempts[row] as number) > 0 ? this.#again : this.#new;
    queue.push(row, this.id[row] as number);
  }

  /** The next one to be sent, which stays where it is; -1: none. */
  firstReady(): number {
    const again = this.#again.first();
    return again >= 0 ? again : this.#new.first();
  }

  /** What `firstReady` gave has gone into a datagram. */
  sent(row: number, number: number, now: number): void {
    const queue = (this.attempts[row] as number) > 0 ? this.#again : this.#new;
    queue.drop();
    this.state[row] = SENT;
    this.ready--;
    this.number[row] = number;
    this.sentAt[row] = now;
    if ((this.attempts[row] as number) < 255)
      this.attempts[row] = (this.attempts[row] as number) + 1;
    this.#order.push(row, number);
  }

  /** It is sent again later. */
  putOff(row: number): void {
    this.#leaveAs(row, PUT_OFF);
  }

  /** It is sent no more, and kept until no copy of it can be executed. */
  bar(row: number): void {
    this.#leaveAs(row, BARRED);
  }

  #leaveAs(row: number, state: number): void {
    if (this.state[row] === READY) this.ready--;
    this.state[row] = state;
  }

  /** The one that was sent longest ago and is not answered; -1: none. */
  oldestSent(): number {
    return this.#order.first();
  }

  #isReady(row: number, id: number): boolean {
    return this.state[row] === READY && this.id[row] === id;
  }

  /** One more bit of an id says where it is: in the row that it had, or so far behind it. */
  #growTo(rows: number): void {
    const { id } = this;
    const taken = this.count;
    assert(taken === 0 || taken === id.length, 'it grows when all rows are taken');
    const mask = rows - 1;
    for (const queue of [this.#order, this.#again, this.#new]) {
      queue.growTo(PLACES_PER_ROW * rows, (row) => (id[row] as number) & mask);
    }
    const columns = new Columns(rows * ROW_BYTES);
    const moved = <T extends NumberColumn>(old: T, made: T): T => {
      for (let row = 0; row < taken; row++) {
        // tidy-ignore byte-loop -- each row goes to a place of its own
        made[(id[row] as number) & mask] = old[row] as number;
      }
      return made;
    };
    this.sentAt = moved(this.sentAt, columns.float64(rows));
    this.bytes = moved(this.bytes, columns.uint32(rows));
    this.offset = moved(this.offset, columns.uint32(rows));
    this.deadline = moved(this.deadline, columns.uint32(rows));
    this.number = moved(this.number, columns.uint32(rows));
    this.cost = moved(this.cost, columns.uint32(rows));
    this.expected = moved(this.expected, columns.uint32(rows));
    this.id = moved(id, columns.uint32(rows));
    this.operation = moved(this.operation, columns.uint16(rows));
    this.state = moved(this.state, columns.uint8(rows));
    this.attempts = moved(this.attempts, columns.uint8(rows));
    this.isLong = moved(this.isLong, columns.uint8(rows));
    this.#mask = mask;
  }
}

interface NumberColumn {
  [row: number]: number;
}

/** A bounded queue of rows, each with a key; those that have another one by now are passed over. */
class RowQueue {
  #keys = new Uint32Array(0);
  #rows = new Uint16Array(0);
  readonly #isCurrent: (row: number, key: number) => boolean;
  #mask = -1;
  #head = 0;
  #tail = 0;

  constructor(isCurrent: (row: number, key: number) => boolean) {
    this.#isCurrent = isCurrent;
  }

  push(row: number, key: number): void {
    if (this.#tail - this.#head > this.#mask) {
      this.#compact();
      assert(this.#tail - this.#head <= this.#mask, 'a row stands in a queue twice');
    }
    const place = this.#tail++ & this.#mask;
    this.#rows[place] = row;
    this.#keys[place] = key;
  }

  /** -1: none. */
  first(): number {
    while (this.#head < this.#tail) {
      const place = this.#head & this.#mask;
      const row = this.#rows[place] as number;
      if (this.#isCurrent(row, this.#keys[place] as number)) return row;
      this.#head++;
    }
    // It is empty over and over again: the same few places stay in the cache.
    this.#head = 0;
    this.#tail = 0;
    return -1;
  }

  drop(): void {
    this.#head++;
  }

  /** There are fewer rows than places: where all are taken, most are of the past. */
  #compact(): void {
    let end = this.#head;
    for (let at = this.#head; at < this.#tail; at++) {
      const row = this.#rows[at & this.#mask] as number;
      const key = this.#keys[at & this.#mask] as number;
      if (!this.#isCurrent(row, key)) continue;
      this.#rows[end & this.#mask] = row;
      this.#keys[end & this.#mask] = key;
      end++;
    }
    this.#tail = end;
  }

  /** As long as rows are what they were; `rowNow` says what they will be. */
  growTo(places: number, rowNow: (row: number) => number): void {
    this.#compact();
    const columns = new Columns(places * PLACE_BYTES);
    const keys = columns.uint32(places);
    const rows = columns.uint16(places);
    const count = this.#tail - this.#head;
    for (let i = 0; i < count; i++) {
      const place = (this.#head + i) & this.#mask;
      // tidy-ignore byte-loop -- a circle is laid straight, and each row is mapped
      keys[i] = this.#keys[place] as number;
      rows[i] = rowNow(this.#rows[place] as number);
    }
    this.#keys = keys;
    this.#rows = rows;
    this.#mask = places - 1;
    this.#head = 0;
    this.#tail = count;
  }
}
