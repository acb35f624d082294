/**
 * What the controller asks of nodes. Every call is idempotent at the node, and ends within a
 * bounded time. `Unavailable`, `Timeout`, `OutcomeUnknown` and `Closed` mean that no answer came,
 * whether the node has done it or not; any other status is the node's own answer.
 */
import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import type { Status } from '../base/status.js';
import type { HeldRegion } from './reconcile.js';

export interface RegionGrant {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  readonly epoch: Epoch;
  readonly pageBytes: number;
  /** The node refuses (`Stale`) what was meant for another memory than its own. */
  readonly memoryId: number;
}

/** Where a node listens, and what it lends: another one that listens there by now refuses. */
export interface NodeAt {
  readonly address: string;
  readonly memoryId: number;
}

export interface NodeCalls {
  /** `Ok` also when the node already has it with this epoch. */
  grantRegion(node: NodeAt, grant: RegionGrant): Promise<Status>;
  /** `Ok` also when the node holds nothing of the space. */
  removeSpace(node: NodeAt, space: SpaceId): Promise<Status>;
  /** What the node holds now; undefined when no answer came. */
  heldRegions(node: NodeAt): Promise<readonly HeldRegion[] | undefined>;
  /** Nothing will be asked of it there any more. */
  forget(node: NodeAt): void;
}
