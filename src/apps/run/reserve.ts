/** Memory that programs with remote memory leave to their machine. */

import { totalmem } from 'node:os';
import { MiB } from '../../base/units.js';

const LEAST = 256 * MiB;
const SHARE = 0.02;

/** Below this the kernel is about to reclaim whatever asks for memory. */
export function reserveBytes(): number {
  return Math.max(LEAST, Math.round(totalmem() * SHARE));
}
