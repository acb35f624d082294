/**
 * What the controller asks of nodes. Every call is idempotent at the node, and ends within a
 * bounded time. `Unavailable`, `Timeout`, `OutcomeUnknown` and `Closed` mean that no answer came,
 * whether the node has done it or not; any other status is the node's own answer.
 */
import type { Status } from '../base/status.js';
import type { HeldRegion } from './reconcile.js';

export interface RegionGrant {
  readonly space: number;
  readonly region: number;
  readonly epoch: number;
  readonly pageBytes: number;
  /** The node refuses (`Stale`) what was meant for another memory than its own. */
  readonly memoryId: number;
}

export interface NodeCalls {
  /** `Ok` also when the node already has it with this epoch. */
  grantRegion(address: string, grant: RegionGrant): Promise<Status>;
  /** `Ok` also when the node holds nothing of the space. */
  removeSpace(address: string, space: number): Promise<Status>;
  /** What the node holds now; undefined when no answer came. */
  heldRegions(address: string): Promise<readonly HeldRegion[] | undefined>;
  /** Nothing will be asked of this address any more. */
  forget(address: string): void;
}
