/**
 * Memory for the bodies of large calls, used again and again: a region on its way to another node
 * is 16 of them for each MiB, and new memory for each, zeroed and collected, was a third of what
 * the source did for it.
 */

import { PIECE_BYTES_MAX } from '../wire/limits.js';
import type { Place } from '../wire/struct.js';

/** A piece of a page, and what stands around it. */
const POOLED_BYTES = PIECE_BYTES_MAX + 64;
/** Shorter bodies cost less than the way into the pool. */
const BYTES_MIN = 4_096;
/** So many pieces of a move are under way at a time. */
const KEPT_MAX = 16;

export class BodyPool {
  readonly #free: ArrayBuffer[] = [];

  /** Room for exactly so many bytes, with anything in it. */
  take(bytes: number): Place {
    const isPooled = bytes >= BYTES_MIN && bytes <= POOLED_BYTES;
    const buffer = (isPooled ? this.#free.pop() : undefined) ?? newBuffer(bytes, isPooled);
    return { bytes: new Uint8Array(buffer, 0, bytes), view: new DataView(buffer) };
  }

  /** Nobody reads the body any more. */
  giveBack({ buffer }: Uint8Array): void {
    if (buffer.byteLength !== POOLED_BYTES || this.#free.length >= KEPT_MAX) return;
    this.#free.push(buffer as ArrayBuffer);
  }
}

function newBuffer(bytes: number, isPooled: boolean): ArrayBuffer {
  return new ArrayBuffer(isPooled ? POOLED_BYTES : bytes);
}
