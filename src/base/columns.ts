/**
 * Columns of one table over one buffer. A typed array with a buffer of its own costs some 300 bytes
 * beside what is in it, which is most of a small table.
 *
 *     const columns = new Columns(rows * (8 + 4 + 1));
 *     const address = columns.float64(rows);
 *     const bytes = columns.uint32(rows);
 *     const state = columns.uint8(rows);
 *
 * Wide columns come first, so that each begins where its elements may.
 */

import { assert } from './assert.js';

export class Columns {
  readonly #buffer: ArrayBuffer;
  #end = 0;

  constructor(bytes: number) {
    this.#buffer = new ArrayBuffer(bytes);
  }

  float64(length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#buffer, this.#take(length, 8), length);
  }

  uint32(length: number): Uint32Array<ArrayBuffer> {
    return new Uint32Array(this.#buffer, this.#take(length, 4), length);
  }

  int32(length: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#buffer, this.#take(length, 4), length);
  }

  uint16(length: number): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.#buffer, this.#take(length, 2), length);
  }

  uint8(length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer, this.#take(length, 1), length);
  }

  #take(length: number, width: number): number {
    const start = this.#end;
    this.#end = start + length * width;
    assert(this.#end <= this.#buffer.byteLength, 'more columns than the table has bytes');
    return start;
  }
}

/** `made`, which begins with all of `old`. */
export function grown<T extends { set(from: T, at: number): void }>(old: T, made: T): T {
  made.set(old, 0);
  return made;
}
