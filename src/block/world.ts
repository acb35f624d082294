/** What the parts that open and serve devices are given. */

import type { RackCore } from '../client/rack.js';
import type { PlacementPolicy } from '../policies/placement/candidate.js';
import type { CopyPace } from './copy-pace.js';
import type { DeviceFacts } from './device.js';
import type { Memories } from './memories.js';

/** What devices share with the client that they belong to. */
export interface DeviceWorld extends RackCore {
  readonly memories: Memories;
  readonly policy: PlacementPolicy;
  /** Of copies in the background, of all devices together. */
  readonly pace: CopyPace;
}

export interface NumberedDevice extends DeviceFacts {
  readonly name: string;
  readonly device: number;
}
