/**
 * The parts of a link's operations that are under way, in typed arrays: one row each, found by its
 * id. See docs/internals/datagrams.md.
 *
 *   free --take--> ready --sent--> sent --(lost, again)--> ready --> ... --free--> free
 *
 * Those that are sent stand in the order in which they were, so that the one that waits longest is
 * found without a search; one that was answered or sent again meanwhile is passed over.
 */

import { assert } from '../../base/assert.js';

/** Of all operations of one link together; a power of two. */
export const PARTS_MAX = 4096;
const MASK = PARTS_MAX - 1;
/** One sent again leaves its earlier place behind until that comes to the front. */
const PLACES = 4 * PARTS_MAX;
const PLACES_MASK = PLACES - 1;

export const FREE = 0;
export const READY = 1;
export const SENT = 2;
/** Answered with `again`: it is sent a moment later. */
export const PUT_OFF = 3;
/** Of a change whose caller was told that nothing is known: it bars conflicting ones. */
export const BARRED = 4;

export class Parts {
  readonly state = new Uint8Array(PARTS_MAX);
  readonly id = new Uint32Array(PARTS_MAX);
  /** Slot of the operation. */
  readonly operation = new Uint16Array(PARTS_MAX);
  readonly bytes = new Uint32Array(PARTS_MAX);
  /** Where the part begins in the operation's range. */
  readonly offset = new Uint32Array(PARTS_MAX);
  /** In the node's clock. */
  readonly deadline = new Uint32Array(PARTS_MAX);
  /** Attempts so far, 255 standing for more. */
  readonly attempts = new Uint8Array(PARTS_MAX);
  /** Of the datagram that it was in last, and when that was. */
  readonly number = new Uint32Array(PARTS_MAX);
  readonly sentAt = new Float64Array(PARTS_MAX);
  /** Bytes of request and reply, and of the reply, while an attempt is waited for; else 0. */
  readonly cost = new Uint32Array(PARTS_MAX);
  readonly expected = new Uint32Array(PARTS_MAX);
  /** How many are not free, and how many of those are ready. */
  count = 0;
  ready = 0;
  #nextId: number;
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
  }

  /** The row of a part that is under way; -1: nobody waits for it any more. */
  rowOf(id: number): number {
    const row = id & MASK;
    return this.state[row] !== FREE && this.id[row] === id ? row : -1;
  }

  get hasRoom(): boolean {
    return this.count < PARTS_MAX;
  }

  /** A row with a new id, to be filled, then given to `makeReady`. */
  take(): number {
    assert(this.hasRoom, 'the caller looks for room');
    while (this.state[this.#nextId & MASK] !== FREE) this.#nextId = (this.#nextId + 1) >>> 0;
    const row = this.#nextId & MASK;
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
}

/** A bounded queue of rows, each with a key; those that have another one by now are passed over. */
class RowQueue {
  readonly #rows = new Uint16Array(PLACES);
  readonly #keys = new Uint32Array(PLACES);
  readonly #isCurrent: (row: number, key: number) => boolean;
  #head = 0;
  #tail = 0;

  constructor(isCurrent: (row: number, key: number) => boolean) {
    this.#isCurrent = isCurrent;
  }

  push(row: number, key: number): void {
    if (this.#tail - this.#head === PLACES) this.#compact();
    const place = this.#tail++ & PLACES_MASK;
    this.#rows[place] = row;
    this.#keys[place] = key;
  }

  /** -1: none. */
  first(): number {
    while (this.#head < this.#tail) {
      const place = this.#head & PLACES_MASK;
      const row = this.#rows[place] as number;
      if (this.#isCurrent(row, this.#keys[place] as number)) return row;
      this.#head++;
    }
    return -1;
  }

  drop(): void {
    this.#head++;
  }

  /** There are fewer rows than places: where all are taken, most are of the past. */
  #compact(): void {
    const { count, rows, keys } = this.#current();
    this.#head = 0;
    this.#tail = count;
    this.#rows.set(rows);
    this.#keys.set(keys);
  }

  #current() {
    const rows = new Uint16Array(PLACES);
    const keys = new Uint32Array(PLACES);
    let count = 0;
    for (let at = this.#head; at < this.#tail; at++) {
      const row = this.#rows[at & PLACES_MASK] as number;
      const key = this.#keys[at & PLACES_MASK] as number;
      if (!this.#isCurrent(row, key)) continue;
      rows[count] = row;
      keys[count++] = key;
    }
    assert(count < PLACES, 'a row stands in a queue twice');
    return { count, rows, keys };
  }
}
