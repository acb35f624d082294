/** The keys of a memory node's configuration that are about its machine's own need of memory. */

import { formatBytes } from '../base/units.js';
import type { DonorOptions } from './node.js';

export interface DonorConfig {
  /** False: all is lent, whatever its machine has left. */
  readonly protectDonor?: boolean;
  /**
   * The high mark and the low one, in bytes: so much is left free before more is lent, and when
   * less than so much is left, memory is given back. Both or none; none: shares of the machine.
   */
  readonly lendAboveBytes?: number | undefined;
  readonly giveBackBelowBytes?: number | undefined;
  /** The control group to watch, as the kernel names it; empty: all that the process is in. */
  readonly controlGroup?: string;
}

export const DONOR_KEYS: readonly (keyof DonorConfig)[] = [
  'protectDonor',
  'lendAboveBytes',
  'giveBackBelowBytes',
  'controlGroup',
];

type Check = (key: keyof DonorConfig, isGood: boolean, allowed: string) => boolean;

/** What the node is given; undefined where it shall not look, or where `check` was told no. */
export function checkDonorConfig(
  given: Record<string, unknown>,
  check: Check,
): DonorOptions | undefined {
  const { protectDonor = true, controlGroup = '' } = given;
  const { lendAboveBytes: high, giveBackBelowBytes: low } = given;
  const isGroup = typeof controlGroup === 'string' && /^(\/[!-.0-~]+)*$/.test(controlGroup);
  const isKnown = [
    check('protectDonor', typeof protectDonor === 'boolean', 'true or false'),
    check('controlGroup', isGroup, 'the path of a control group, as /a/b'),
    check('giveBackBelowBytes', isMark(low), 'a number of bytes'),
    check('lendAboveBytes', isMark(high), 'a number of bytes'),
  ].every((isGood) => isGood);
  const areBoth = (low === undefined) === (high === undefined);
  check('giveBackBelowBytes', areBoth, 'given without lendAboveBytes, nor that without it');
  if (!isKnown || !areBoth || !isGroup || protectDonor !== true) return undefined;
  if (typeof low !== 'number' || typeof high !== 'number') return { controlGroup };
  const isBelow = low < high;
  check('lendAboveBytes', isBelow, `more than giveBackBelowBytes (${formatBytes(low)})`);
  return isBelow ? { controlGroup, marks: { low, high } } : undefined;
}

function isMark(value: unknown): boolean {
  return value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0);
}
