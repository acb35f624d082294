/** What `space.blocking` is given. */

import { show } from '../arguments.js';
import { invalid, type MemrackError } from '../error.js';
import { DATA_BYTES_DEFAULT, DATA_BYTES_MAX, DATA_BYTES_MIN } from './port.js';

export interface BlockingOptions {
  /**
   * How many bytes can be moved at a time where memory cannot be reached directly: 64 KiB to
   * 64 MiB, by default 1 MiB.
   */
  readonly bytes?: number;
}

const MULTIPLE = 4096;

export function bytesOfPort(options: BlockingOptions): number | MemrackError {
  const { bytes = DATA_BYTES_DEFAULT } = options ?? {};
  const isGood = Number.isInteger(bytes) && bytes >= DATA_BYTES_MIN && bytes <= DATA_BYTES_MAX;
  if (isGood) return Math.ceil(bytes / MULTIPLE) * MULTIPLE;
  const remedy = `pass an integer from ${DATA_BYTES_MIN} to ${DATA_BYTES_MAX}`;
  return invalid(`${show(bytes)} bytes cannot be shared with a thread`, remedy);
}
