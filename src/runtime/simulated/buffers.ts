/**
 * The two buffers of a simulated stream. They start small and grow, because a rack has thousands.
 * Bytes that the contract no longer promises are overwritten, so that whoever keeps them notices.
 */

import { assert } from '../../base/assert.js';
import { type Bytes, STREAM_INPUT_BYTES_MAX, STREAM_RESERVE_BYTES_MAX } from '../network.js';

const FIRST_BYTES = 4 * 1024;
const ALIGNMENT = 8;
/** What stale bytes read as. */
const STALE = 0xdd;

export function makeBytes(length: number): Bytes {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer), words: new Int32Array(bytes.buffer) };
}

/** At least `needed`, by doubling, so that growing stays cheap over all. */
function grownLength(length: number, needed: number): number {
  let grown = length;
  while (grown < needed) grown *= 2;
  return grown;
}

export class OutputBuffer {
  content: Bytes = makeBytes(FIRST_BYTES);
  readonly limit: number;
  #start = 0;
  #end = 0;
  #reserved = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get pending(): number {
    return this.#end - this.#start;
  }

  /** The offset of `bytes` of room, or -1. `move` says to move what is pending in any case. */
  reserve(bytes: number, move: boolean): number {
    assert(bytes > 0 && bytes % ALIGNMENT === 0, 'reserve takes a multiple of 8');
    assert(bytes <= STREAM_RESERVE_BYTES_MAX, 'more than one largest frame reserved');
    this.#reserved = 0;
    const lead = this.#start % ALIGNMENT;
    if (lead + this.pending + bytes > this.limit) return -1;
    if (move || this.#end + bytes > this.content.bytes.length) this.#move(lead, bytes);
    this.#reserved = bytes;
    return this.#end;
  }

  #move(lead: number, bytes: number): void {
    const old = this.content.bytes;
    const needed = lead + this.pending + bytes;
    // Always to another buffer: an offset from before is then wrong for certain.
    this.content = makeBytes(grownLength(FIRST_BYTES, needed));
    this.content.bytes.set(old.subarray(this.#start, this.#end), lead);
    old.fill(STALE, 0, Math.min(old.length, FIRST_BYTES));
    this.#end = lead + this.pending;
    this.#start = lead;
  }

  commit(bytes: number): void {
    assert(bytes % ALIGNMENT === 0, 'commit takes a multiple of 8');
    assert(bytes >= 0 && bytes <= this.#reserved, 'more committed than was reserved');
    this.#end += bytes;
    this.#reserved = 0;
  }

  /** Takes the oldest bytes out, as a copy. */
  take(bytes: number): Uint8Array {
    const taken = this.content.bytes.slice(this.#start, this.#start + bytes);
    this.content.bytes.fill(STALE, this.#start, this.#start + bytes);
    this.#start += bytes;
    return taken;
  }

  clear(): void {
    this.#start = this.#end;
    this.#reserved = 0;
  }
}

export class InputBuffer {
  content: Bytes = makeBytes(FIRST_BYTES);
  start = 0;
  end = 0;

  get length(): number {
    return this.end - this.start;
  }

  get room(): number {
    return STREAM_INPUT_BYTES_MAX - this.length;
  }

  append(from: Uint8Array): void {
    if (this.end + from.length > this.content.bytes.length) this.#makeRoom(from.length);
    this.content.bytes.set(from, this.end);
    this.end += from.length;
  }

  /** Moves the rest to the front, keeping its place within 8 bytes; grows where it must. */
  #makeRoom(bytes: number): void {
    const lead = this.start % ALIGNMENT;
    const needed = lead + this.length + bytes;
    const old = this.content.bytes;
    if (needed > old.length) this.content = makeBytes(grownLength(old.length, needed));
    this.content.bytes.set(old.subarray(this.start, this.end), lead);
    this.end = lead + this.length;
    this.start = lead;
  }

  consume(bytes: number): void {
    assert(Number.isInteger(bytes) && bytes >= 0 && bytes <= this.length, 'consumed too much');
    this.content.bytes.fill(STALE, this.start, this.start + bytes);
    this.start += bytes;
    if (this.start === this.end) this.start = this.end = 0;
  }
}
