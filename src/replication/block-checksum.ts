/** The checksum of a block, as copies keep it: that of zeros is 0, so that new memory is right. */

import type { Checksum } from '../runtime/runtime.js';
import { BLOCK_BYTES } from './layout.js';

export class BlockChecksum {
  readonly #checksum: Checksum;
  readonly #zeros: number;

  constructor(checksum: Checksum) {
    this.#checksum = checksum;
    this.#zeros = checksum.crc32c(new Uint8Array(BLOCK_BYTES), 0, BLOCK_BYTES);
  }

  of(bytes: Uint8Array, start: number): number {
    return (this.#checksum.crc32c(bytes, start, start + BLOCK_BYTES) ^ this.#zeros) >>> 0;
  }
}
