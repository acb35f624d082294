/** What clients saw of leases: who was told which epoch when, and what was written under it. */

import type { StatusName } from '../base/status.js';

export interface LeaseTold {
  readonly name: string;
  readonly client: number;
  readonly epoch: number;
  readonly calledAt: number;
  readonly toldAt: number;
  /** Infinity: its holder was never told that it is lost. */
  lostAt: number;
}

/** One write under a lease. */
export interface LeaseWrite {
  readonly lease: string;
  readonly epoch: number;
  readonly calledAt: number;
  /** Undefined while it is under way, and for ever when its client was killed. */
  ended: { readonly code: StatusName } | undefined;
}
