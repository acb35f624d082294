/** CRC-32C: our tables for short ranges, the processor's instruction for long ones. */

import { createRequire } from 'node:module';
import { assert } from '../../base/assert.js';
import { crc32c } from '../../base/crc32c.js';
import type { Checksum } from '../runtime.js';

type Native = (bytes: Uint8Array, seed: number) => number;

/** Shorter ranges are done before the way into the native library is. */
const NATIVE_BYTES_MIN = 384;

const native = loadNative();

export const nodeChecksum: Checksum = {
  crc32c(bytes, start, end, seed = 0) {
    assert(start >= 0 && start <= end && end <= bytes.length, 'checksum out of bounds');
    if (end - start < NATIVE_BYTES_MIN || native === undefined) {
      return crc32c(bytes, start, end, seed);
    }
    return native(bytes.subarray(start, end), seed);
  },
};

/** Undefined where there is no build of it: the tables do for every length. */
function loadNative(): Native | undefined {
  try {
    const loaded = createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Native };
    return loaded.crc32c;
  } catch {
    return undefined;
  }
}
