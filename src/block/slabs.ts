/** How the bytes of a device lie in its slabs. */

import { OWNER_BLOCK_BYTES } from '../disk/slab-owner.js';
import { layoutOf, type SlabLayout } from '../replication/layout.js';

export interface SlabPlan {
  readonly layout: SlabLayout;
  /** Slabs that the device may have. */
  readonly count: number;
}

/** Of a device of so many bytes, each of whose copies takes `slabBytes` of memory. */
export function planOf(bytes: number, slabBytes: number): SlabPlan {
  const layout = layoutOf(slabBytes - OWNER_BLOCK_BYTES);
  return { layout, count: Math.ceil(bytes / layout.dataBytes) };
}
