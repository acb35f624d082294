/** How a memory node minds its machine's need of memory: from flags and the configuration file. */

import type { DonorConfig } from '../memory-node/donor-config.js';
import type { Configuration } from './configuration.js';
import { sizeFlag } from './context.js';

export interface DonorFlags {
  readonly lendAbove?: string;
  readonly giveBackBelow?: string;
  readonly controlGroup?: string;
}

export function donorConfig(flags: DonorFlags, configuration: Configuration): DonorConfig {
  const { protectDonor } = configuration;
  const lendAbove = flags.lendAbove ?? configuration.lendAbove;
  const giveBackBelow = flags.giveBackBelow ?? configuration.giveBackBelow;
  const controlGroup = flags.controlGroup ?? configuration.controlGroup;
  return {
    protectDonor,
    ...(lendAbove === undefined ? {} : { lendAboveBytes: sizeFlag('lend-above', lendAbove) }),
    ...(giveBackBelow === undefined
      ? {}
      : { giveBackBelowBytes: sizeFlag('give-back-below', giveBackBelow) }),
    ...(controlGroup === undefined ? {} : { controlGroup }),
  };
}
