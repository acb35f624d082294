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

/** Buffers of segments that were read, by the logarithm of their length. */
const chunks: ArrayBuffer[][] = Array.from({ length: 32 }, () => []);
const CHUNKS_KEPT = 64;
const CHUNK_BYTES_MIN = 64;

function takeChunk(bytes: number): Uint8Array {
  const length = Math.max(CHUNK_BYTES_MIN, bytes);
  const power = 32 - Math.clz32(length - 1);
  const buffer = chunks[power]?.pop() ?? new ArrayBuffer(2 ** power);
  return new Uint8Array(buffer, 0, bytes);
}

/** Nothing looks at these bytes any more. Optional: what is lost on its way is simply forgotten. */
export function recycle(chunk: Uint8Array): void {
  const { buffer } = chunk;
  const kept = chunks[31 - Math.clz32(buffer.byteLength)];
  if (kept !== undefined && kept.length < CHUNKS_KEPT) kept.push(buffer as ArrayBuffer);
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

  /** The offset of `bytes` of room, or -1. `move` says to move to another buffer in any case. */
  reserve(bytes: number, move: boolean): number {
    assert(bytes > 0 && bytes % ALIGNMENT === 0, 'reserve takes a multiple of 8');
    assert(bytes <= STREAM_RESERVE_BYTES_MAX, 'more than one largest frame reserved');
    this.#reserved = 0;
    const lead = this.#start % ALIGNMENT;
    if (lead + this.pending + bytes > this.limit) return -1;
    if (move) this.#moveAway(lead, bytes);
    else if (this.#end + bytes > this.content.bytes.length) this.#makeRoom(lead, bytes);
    this.#reserved = bytes;
    return this.#end;
  }

  #makeRoom(lead: number, bytes: number): void {
    const { pending } = this;
    if (lead + pending + bytes > this.content.bytes.length) {
      this.#moveAway(lead, bytes);
      return;
    }
    const { bytes: content } = this.content;
    content.copyWithin(lead, this.#start, this.#end);
    content.fill(STALE, lead + pending, this.#end);
    this.#start = lead;
    this.#end = lead + pending;
  }

  /** To another buffer: whoever writes to an offset from before writes into nothing. */
  #moveAway(lead: number, bytes: number): void {
    const { pending } = this;
    const old = this.content.bytes;
    const length = grownLength(FIRST_BYTES, lead + pending + bytes);
    this.content = makeBytes(Math.max(length, old.length));
    this.content.bytes.set(old.subarray(this.#start, this.#end), lead);
    this.#start = lead;
    this.#end = lead + pending;
  }

  commit(bytes: number): void {
    assert(bytes >= 0 && bytes <= this.#reserved, 'more committed than was reserved');
    this.#end += bytes;
    this.#reserved = 0;
  }

  /** Takes the oldest bytes out, as a copy that is to be given back with `recycle`. */
  take(bytes: number): Uint8Array {
    const taken = takeChunk(bytes);
    taken.set(this.content.bytes.subarray(this.#start, this.#start + bytes));
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
