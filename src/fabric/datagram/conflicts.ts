/**
 * Which operations may be under way together. Two conflict if one of them changes bytes and they
 * touch the same line of 64 bytes of a space.
 *
 *   slots   open addressing, by (space, block of 4 KiB): a row's number + 1, or 0
 *   row     64 lines; made for the first operation that touches the block, free after the last
 *           plane 0 | plane 1 | ...     bit i of plane k: bit k of the counts of line i
 *   plane   readers of lines 0-31, of 32-63, writers of lines 0-31, of 32-63: four words
 *
 * The counts of 64 lines stand upright like this so that one operation adds to all of its lines at
 * once: a carry seldom goes further than a plane or two. They are exact for whatever is entered,
 * so operations that wait can be counted too, though they conflict. Memory follows the most blocks
 * that were in use at a time, and is kept.
 */

import { assert } from '../../base/assert.js';
import { grown } from '../../base/columns.js';
import { ADDRESS_END, PIECE_BYTES_MAX, QUEUE_MAX, SPACE_ID_END } from '../../wire/limits.js';

export const LINE_BYTES = 64;
const LINE_SHIFT = 6;
const LINES = 64;
const BLOCK_BYTES = LINE_BYTES * LINES;

const ROWS_AT_FIRST = 8;
/** A row is one cache line then, and counts to 15. */
const PLANES_AT_FIRST = 4;
const PLANES_MAX = 20;
/** Words of a plane. */
const PLANE = 4;
const WRITERS = 2;
const NO_ROW = -1;
const TWO_32 = 2 ** 32;

assert(2 ** PLANES_MAX > 4 * QUEUE_MAX, 'all operations of a link may touch one line');
assert(PIECE_BYTES_MAX % BLOCK_BYTES === 0 && LINE_BYTES === 1 << LINE_SHIFT && LINES === 64);

export class Conflicts {
  /** Blocks that are in use. */
  rows = 0;
  #capacity = ROWS_AT_FIRST;
  #planes = PLANES_AT_FIRST;
  #slots = new Int32Array(2 * ROWS_AT_FIRST);
  #mask = 2 * ROWS_AT_FIRST - 1;
  #counts = new Int32Array(ROWS_AT_FIRST * PLANES_AT_FIRST * PLANE);
  /** Of each row: its block, space and hash, and how many operations touch it. */
  #block = new Float64Array(ROWS_AT_FIRST);
  #space = new Int32Array(ROWS_AT_FIRST);
  #hash = new Int32Array(ROWS_AT_FIRST);
  #users = new Int32Array(ROWS_AT_FIRST);
  /** Rows that are free: the first `#freed` of this, then all from `#fresh` on. */
  #free = new Int32Array(ROWS_AT_FIRST);
  #freed = 0;
  #fresh = 0;
  /** The block that was looked for last, with its slot: it is asked for and entered in turn. */
  #lastBlock = -1;
  #lastSpace = -1;
  #lastHash = 0;
  #lastSlot = 0;

  /** How many blocks there is room for; it doubles when that is too few. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Whether an operation over `[address, address + bytes)` conflicts with none that is entered. */
  mayStart(space: number, address: number, bytes: number, changes: boolean): boolean {
    checkRange(space, address, bytes);
    if (this.rows === 0) return true;
    const end = address + (bytes - 1);
    const lastBlock = Math.floor(end / BLOCK_BYTES);
    let block = Math.floor(address / BLOCK_BYTES);
    let first = (address - block * BLOCK_BYTES) >> LINE_SHIFT;
    for (; block <= lastBlock; block++) {
      const last = block === lastBlock ? (end - block * BLOCK_BYTES) >> LINE_SHIFT : LINES - 1;
      const slot = this.#find(space, block);
      const row = (this.#slots[slot] as number) - 1;
      if (row !== NO_ROW && this.#meets(row, first, last, changes)) return false;
      first = 0;
    }
    return true;
  }

  /** Counts the operation in, whether it conflicts or not. */
  enter(space: number, address: number, bytes: number, changes: boolean): void {
    checkRange(space, address, bytes);
    const end = address + (bytes - 1);
    const lastBlock = Math.floor(end / BLOCK_BYTES);
    let block = Math.floor(address / BLOCK_BYTES);
    let first = (address - block * BLOCK_BYTES) >> LINE_SHIFT;
    for (; block <= lastBlock; block++) {
      const last = block === lastBlock ? (end - block * BLOCK_BYTES) >> LINE_SHIFT : LINES - 1;
      const row = this.#rowFor(space, block);
      const users = ++(this.#users[row] as number);
      if (users >> this.#planes !== 0) this.#growPlanes();
      const at = row * this.#planes * PLANE + (changes ? WRITERS : 0);
      this.#add(at, lowLines(first, last));
      this.#add(at + 1, highLines(first, last));
      first = 0;
    }
  }

  /** Takes back one `enter` with the same arguments. */
  leave(space: number, address: number, bytes: number, changes: boolean): void {
    checkRange(space, address, bytes);
    const end = address + (bytes - 1);
    const lastBlock = Math.floor(end / BLOCK_BYTES);
    let block = Math.floor(address / BLOCK_BYTES);
    let first = (address - block * BLOCK_BYTES) >> LINE_SHIFT;
    for (; block <= lastBlock; block++) {
      const last = block === lastBlock ? (end - block * BLOCK_BYTES) >> LINE_SHIFT : LINES - 1;
      const slot = this.#find(space, block);
      const row = (this.#slots[slot] as number) - 1;
      assert(row !== NO_ROW, 'no such operation was entered');
      const at = row * this.#planes * PLANE + (changes ? WRITERS : 0);
      this.#subtract(at, lowLines(first, last));
      this.#subtract(at + 1, highLines(first, last));
      if (--(this.#users[row] as number) === 0) this.#release(slot, row);
      first = 0;
    }
  }

  #meets(row: number, first: number, last: number, changes: boolean): boolean {
    const counts = this.#counts;
    let at = row * this.#planes * PLANE;
    let low = 0;
    let high = 0;
    // No line has more readers or writers than the row has users: planes above are empty.
    for (let users = this.#users[row] as number; users !== 0; users >>= 1) {
      low |= counts[at + WRITERS] as number;
      high |= counts[at + WRITERS + 1] as number;
      if (changes) {
        low |= counts[at] as number;
        high |= counts[at + 1] as number;
      }
      at += PLANE;
    }
    return ((low & lowLines(first, last)) | (high & highLines(first, last))) !== 0;
  }

  /** Adds 1 to the counts of these lines, whose word of plane 0 is at `at`. */
  #add(at: number, lines: number): void {
    const counts = this.#counts;
    for (let word = at, carry = lines; carry !== 0; word += PLANE) {
      const old = counts[word] as number;
      counts[word] = old ^ carry;
      carry &= old;
    }
  }

  #subtract(at: number, lines: number): void {
    const counts = this.#counts;
    const end = at + this.#planes * PLANE;
    let borrow = lines;
    for (let word = at; borrow !== 0 && word < end; word += PLANE) {
      const old = counts[word] as number;
      counts[word] = old ^ borrow;
      borrow &= ~old;
    }
    assert(borrow === 0, 'no such operation was entered');
  }

  /** The slot of a block's row, or the empty one where it would be. */
  #find(space: number, block: number): number {
    if (block === this.#lastBlock && space === this.#lastSpace) return this.#lastSlot;
    const slots = this.#slots;
    const mask = this.#mask;
    const hash = hashOf(space, block);
    let slot = hash & mask;
    for (; ; slot = (slot + 1) & mask) {
      const row = (slots[slot] as number) - 1;
      if (row === NO_ROW || (this.#block[row] === block && this.#space[row] === space)) break;
    }
    this.#lastBlock = block;
    this.#lastSpace = space;
    this.#lastHash = hash;
    this.#lastSlot = slot;
    return slot;
  }

  #rowFor(space: number, block: number): number {
    const slot = this.#find(space, block);
    const known = (this.#slots[slot] as number) - 1;
    if (known !== NO_ROW) return known;
    if (this.rows === this.#capacity) {
      this.#growRows();
      return this.#rowFor(space, block);
    }
    const row = this.#freed > 0 ? (this.#free[--this.#freed] as number) : this.#fresh++;
    this.#block[row] = block;
    this.#space[row] = space;
    this.#hash[row] = this.#lastHash;
    this.#slots[slot] = row + 1;
    this.rows++;
    return row;
  }

  /** Its last operation has left. Slots behind it move up, so that no search ends too early. */
  #release(slot: number, row: number): void {
    const at = row * this.#planes * PLANE;
    const counts = this.#counts;
    const reads = (counts[at] as number) | (counts[at + 1] as number);
    const left = reads | (counts[at + WRITERS] as number) | (counts[at + WRITERS + 1] as number);
    assert(left === 0, 'an operation has left lines that it had not entered');
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = slot;
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const moved = slots[next] as number;
      const home = (this.#hash[moved - 1] as number) & mask;
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      slots[hole] = moved;
      hole = next;
    }
    slots[hole] = 0;
    this.#lastBlock = -1;
    this.#free[this.#freed++] = row;
    this.rows--;
  }

  #growRows(): void {
    const old = this.#slots;
    const capacity = 2 * this.#capacity;
    this.#capacity = capacity;
    this.#mask = 2 * capacity - 1;
    this.#counts = grown(this.#counts, new Int32Array(capacity * this.#planes * PLANE));
    this.#block = grown(this.#block, new Float64Array(capacity));
    this.#space = grown(this.#space, new Int32Array(capacity));
    this.#hash = grown(this.#hash, new Int32Array(capacity));
    this.#users = grown(this.#users, new Int32Array(capacity));
    this.#free = grown(this.#free, new Int32Array(capacity));
    this.#slots = new Int32Array(2 * capacity);
    this.#lastBlock = -1;
    for (const entry of old) {
      if (entry === 0) continue;
      let slot = (this.#hash[entry - 1] as number) & this.#mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
      this.#slots[slot] = entry;
    }
  }

  /** More operations in one block than the planes can count: every row gets more of them. */
  #growPlanes(): void {
    assert(this.#planes < PLANES_MAX, 'more operations than a link has');
    const words = this.#planes * PLANE;
    this.#planes = Math.min(2 * this.#planes, PLANES_MAX);
    const wider = this.#planes * PLANE;
    const counts = new Int32Array(this.#capacity * wider);
    for (let row = 0; row < this.#capacity; row++) {
      counts.set(this.#counts.subarray(row * words, (row + 1) * words), row * wider);
    }
    this.#counts = counts;
  }
}

function checkRange(space: number, address: number, bytes: number): void {
  assert(bytes > 0 && bytes <= PIECE_BYTES_MAX, 'an operation is about 1 byte to a piece');
  assert(address >= 0 && address <= ADDRESS_END - bytes, 'addresses are below 2^53');
  assert(space >= 0 && space < SPACE_ID_END, 'the number of no space');
}

/** Bits `first` to `last` of 64, as far as they are among the lower 32. */
function lowLines(first: number, last: number): number {
  if (first > 31) return 0;
  return (-1 << first) & (last > 31 ? -1 : ~(-2 << last));
}

/** The same for the upper 32. */
function highLines(first: number, last: number): number {
  if (last < 32) return 0;
  return (first < 32 ? -1 : -1 << first) & ~(-2 << last);
}

/** Blocks are below 2^41. Mixed as MurmurHash3 (by A. Appleby) does at its end. */
function hashOf(space: number, block: number): number {
  const high = Math.floor(block / TWO_32);
  let hash = Math.imul(space ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b) ^ (block | 0);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
