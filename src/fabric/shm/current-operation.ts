/** The operation that a step is at, its operands at hand. One object for all of them. */

import { assert } from '../../base/assert.js';
import { EntryFlag } from '../../disk/page-table.js';
import { MessageType } from '../../wire/messages.js';
import type { Window } from '../link.js';
import type { OperationRing } from '../operation-ring.js';

export const NOTHING = new Uint8Array(0);
const TWO_TO_32 = 2 ** 32;
/** Words of `#operands`: two operands, then the word that the atomic found. */
const FOUND = 4;

export class CurrentOperation {
  type = 0;
  /** Of the window. */
  id = 0;
  epoch = 0;
  address = 0;
  /** Halves of the address; the low one with a sign. */
  low = 0;
  high = 0;
  bytes = 0;
  buffer: Uint8Array = NOTHING;
  start = 0;
  readonly #operands = new Int32Array(6);
  readonly #wide = new BigUint64Array(this.#operands.buffer);

  set(
    type: number,
    window: Window,
    address: number,
    bytes: number,
    buffer: Uint8Array,
    start: number,
  ): void {
    this.type = type;
    this.id = window.id;
    this.epoch = window.epoch;
    this.address = address;
    this.low = address | 0;
    this.high = (address / TWO_TO_32) | 0;
    this.bytes = bytes;
    this.buffer = buffer;
    this.start = start;
  }

  /** The first is the expected word, or what is added; the second the desired word. */
  setOperands(firstLow: number, firstHigh: number, secondLow: number, secondHigh: number): void {
    const operands = this.#operands;
    operands[0] = firstLow;
    operands[1] = firstHigh;
    operands[2] = secondLow;
    operands[3] = secondHigh;
  }

  /** The operation at a position of the ring. */
  load(ring: OperationRing, position: number): void {
    const place = ring.place(position);
    const window = ring.window[place];
    assert(window !== undefined, 'a data operation without a window');
    this.set(
      ring.type[place] as number,
      window,
      ring.address[place] as number,
      ring.bytes[place] as number,
      ring.buffer[place] ?? NOTHING,
      ring.start[place] as number,
    );
    if (!this.isAtomic) return;
    const { operands } = ring;
    const at = place * 4;
    this.setOperands(
      operands[at] as number,
      operands[at + 1] as number,
      operands[at + 2] as number,
      operands[at + 3] as number,
    );
  }

  get isAtomic(): boolean {
    return this.type > MessageType.Write;
  }

  /** False where its owner has shrunk the buffer, or given it away, while it waited here. */
  get hasBuffer(): boolean {
    return this.start + this.bytes <= this.buffer.length;
  }

  /** Bits of the flags word. */
  get rightsNeeded(): number {
    if (this.type === MessageType.Read) return EntryFlag.READ;
    if (this.type === MessageType.Write) return EntryFlag.WRITE;
    return EntryFlag.READ | EntryFlag.WRITE;
  }

  /** Does the atomic to the word at `word`. */
  change(words: BigUint64Array, word: number): void {
    const wide = this.#wide;
    const first = wide[0] as bigint;
    wide[FOUND / 2] =
      this.type === MessageType.FetchAndAdd
        ? Atomics.add(words, word, first)
        : Atomics.compareExchange(words, word, first, wide[1] as bigint);
  }

  get foundLow(): number {
    return this.#operands[FOUND] as number;
  }

  get foundHigh(): number {
    return this.#operands[FOUND + 1] as number;
  }
}
