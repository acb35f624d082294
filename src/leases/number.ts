/**
 * The number by which nodes know a lease, made from its name. So a controller whose database is
 * older than the lease, or empty, asks the nodes about the same lease and is told its epoch.
 */

import { hashText } from '../base/prng.js';

const HIGH_BITS_SEED = 0x6c65_6173;
const LOW_BITS_SEED = 0x656e_616d;

/** From 1 to below 2^53. Two names of one number are refused by the controller. */
export function leaseNumber(name: string): number {
  const high = hashText(name, HIGH_BITS_SEED) >>> 11;
  return Math.max(1, high * 2 ** 32 + hashText(name, LOW_BITS_SEED));
}
