/** What the parts that open and serve devices are given. */

import type { RackCore } from '../client/rack.js';
import type { PlacementPolicy } from '../policies/placement/candidate.js';
import type { Backups } from './backup/backups.js';
import type { CopyPace } from './copy-pace.js';
import type { DeviceFacts } from './device.js';
import type { Memories } from './memories.js';
import type { DeviceAllowance } from './rate-limit.js';

/** What devices share with the client that they belong to. */
export interface DeviceWorld extends RackCore {
  readonly memories: Memories;
  readonly policy: PlacementPolicy;
  /** Of copies in the background, of all devices together. */
  readonly pace: CopyPace;
  /** Undefined: nobody serves devices here. */
  readonly backups: Backups | undefined;
}

export interface NumberedDevice extends DeviceFacts {
  readonly name: string;
  readonly device: number;
  /** The file that its host keeps it in, too: a path on that host's machine. */
  readonly backup?: string | undefined;
  /** As they were when this was read; missing: everything. */
  readonly allowance?: DeviceAllowance;
}
