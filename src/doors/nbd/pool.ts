/**
 * Buffers for pieces that cannot go between stream and backend directly. One pool for all
 * connections of a door, which keeps what is given back, up to a limit; what a connection may have
 * at once is the connection's to count.
 */

import { assert } from '../../base/assert.js';
import { KiB, MiB } from '../../base/units.js';
import { PIECE_BYTES } from './limits.js';

const BUFFER_BYTES_MIN = 4 * KiB;
/** Kept for later: what a few busy connections use. */
const KEPT_BYTES_MAX = 16 * MiB;

/** Of the buffer that `take` gives for so many bytes. */
export function bufferBytes(bytes: number): number {
  return bytes <= BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : 2 ** (32 - Math.clz32(bytes - 1));
}

export class BufferPool {
  /** Bytes of all buffers that are taken. */
  taken = 0;
  #kept = 0;
  /** By the logarithm of their length. */
  readonly #free: Uint8Array[][] = Array.from({ length: 32 }, () => []);

  /** At least so many bytes, whose content is anybody's: `bufferBytes` says how many. */
  take(bytes: number): Uint8Array {
    assert(bytes > 0 && bytes <= PIECE_BYTES, 'a buffer for one piece');
    const length = bufferBytes(bytes);
    this.taken += length;
    const free = this.#free[31 - Math.clz32(length)]?.pop();
    if (free === undefined) return new Uint8Array(length);
    this.#kept -= length;
    return free;
  }

  give(buffer: Uint8Array): void {
    const { length } = buffer;
    this.taken -= length;
    assert(this.taken >= 0, 'a buffer was given back twice');
    if (this.#kept + length > KEPT_BYTES_MAX) return;
    this.#kept += length;
    this.#free[31 - Math.clz32(length)]?.push(buffer);
  }
}
