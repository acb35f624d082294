/** Requests of the kernel that are here, each with room for its answer. */

import type { Bytes } from '../../runtime/network.js';

export interface FuseSlots {
  readonly count: number;
  /** What was read from /dev/fuse, its header first. */
  readonly input: readonly Bytes[];
  /** For the answer, its header first. */
  readonly output: readonly Bytes[];
}

/** The other side of /dev/fuse. */
export interface FuseKernel {
  /** So many bytes of the slot's output are the answer to its request. */
  reply(slot: number, bytes: number): void;
  /** Nothing looks at the slot any more: the next request may come there. */
  free(slot: number): void;
}
