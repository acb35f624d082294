/** How a thread begins that uses a space without an event loop. */

import type { Runtime } from '../../runtime/runtime.js';
import { invalid } from '../error.js';
import { BlockingSpace } from './blocking-space.js';
import { type BlockingStart, portBytes } from './port.js';

/**
 * In the thread that was handed `start`, of `space.blocking()`. Throws `Invalid` where it is none,
 * or was used before.
 */
export function joinBlockingSpace(runtime: Runtime, start: BlockingStart): BlockingSpace {
  const isStart =
    start?.shared instanceof SharedArrayBuffer &&
    start.shared.byteLength === portBytes(start.bytes);
  if (!isStart) {
    throw invalid('this is no start of a thread', 'hand over `start` of what space.blocking gave');
  }
  return new BlockingSpace(runtime, start);
}
