/**
 * What the controller asks of nodes. Every call is idempotent at the node, and ends within a
 * bounded time. `Unavailable`, `Timeout`, `OutcomeUnknown` and `Closed` mean that no answer came,
 * whether the node has done it or not; any other status is the node's own answer.
 */
import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import type { Status } from '../base/status.js';
import type { ControllerMark } from '../disk/table-file.js';
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

export interface MoveOfRegion {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  readonly epoch: Epoch;
}

export interface MoveOutOrder extends MoveOfRegion {
  /** Under which the node holds it. */
  readonly held: Epoch;
  /** Of the target. */
  readonly id: string;
  readonly address: string;
  readonly memoryId: number;
}

export interface MoveProgress {
  /** Of `MoveState`. */
  readonly state: number;
  /** Of one that was cancelled: a status, and a text for people. */
  readonly why: number;
  readonly reason: string;
}

/** What a node says of a region that is on its way from it, or to it. */
export interface MoveKnown extends MoveOfRegion {
  /** Of `MoveState`: copying, handing or coming. An epoch of 0: it does not know of which move. */
  readonly state: number;
  /** The id of the target, where a source knows it; else empty. */
  readonly to: string;
}

export interface Answer {
  readonly status: Status;
  readonly reason: string;
}

/** What a node that is short of memory says of itself, in the order in which it should go. */
export interface RegionsToGive {
  /** Used, and more than it lends now. */
  readonly bytes: number;
  readonly regions: readonly RegionToGive[];
}

export interface RegionToGive {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  /** That it uses. */
  readonly bytes: number;
}

/** A copy of a slab, as its node knows it. */
export interface KnownCopy {
  readonly device: number;
  readonly slab: number;
  readonly copy: number;
  /** In which it was taken. */
  readonly leaseEpoch: number;
  /** Of the last set in which it is known to be; 0: of none. */
  readonly generation: number;
}

export interface KnownCopies {
  readonly slabs: readonly KnownCopy[];
  /** `after` of the next question; 0: these are the last. */
  readonly more: number;
}

export interface NodeCalls {
  /** `Ok` also when the node already has it with this epoch. */
  grantRegion(node: NodeAt, grant: RegionGrant): Promise<Status>;
  /** `Ok` also when the node holds nothing of the space. */
  removeSpace(node: NodeAt, space: SpaceId): Promise<Status>;
  /** What the node holds now; undefined when no answer came. */
  heldRegions(node: NodeAt): Promise<readonly HeldRegion[] | undefined>;
  /** Kept with its memory, so that an older copy of the database is known for one. */
  noteMark(node: NodeAt, mark: ControllerMark): Promise<Status>;
  /** Asks the holder to give a region away. `Ok`: it is under way, or has ended. */
  moveOut(node: NodeAt, order: MoveOutOrder, isForced: boolean): Promise<Answer>;
  /** What a node knows of a move; undefined when no answer came. */
  moveProgress(node: NodeAt, move: MoveOfRegion): Promise<MoveProgress | undefined>;
  /** `MoveState.HELD`: the node holds the region. Else it never will under this epoch. */
  moveCancel(node: NodeAt, move: MoveOfRegion): Promise<MoveProgress | undefined>;
  /** Tells the source what became of the region. */
  moveEnd(node: NodeAt, move: MoveOfRegion, isTaken: boolean): Promise<Status>;
  /**
   * What is on its way from the node and to it; undefined when no answer came. `stops`: moves come
   * to rest, but for what is in doubt.
   */
  nodeMoves(node: NodeAt, stops: boolean): Promise<readonly MoveKnown[] | undefined>;
  /** What of a node is to go now; undefined when no answer came. */
  regionsToGive(node: NodeAt): Promise<RegionsToGive | undefined>;
  /** What each of its regions uses, those without any bytes left out; undefined as above. */
  regionSizes(node: NodeAt): Promise<readonly RegionToGive[] | undefined>;
  /** Copies of slabs that it has, those with numbers above `after`; undefined as above. */
  copies(node: NodeAt, after: number): Promise<KnownCopies | undefined>;
  /** Has copies given back that are nobody's. Whether none of them is there any more. */
  dropCopies(node: NodeAt, copies: readonly number[]): Promise<boolean>;
  /** Nothing will be asked of it there any more. */
  forget(node: NodeAt): void;
  /**
   * All that is asked from here on goes over connections with numbers above those of this life and
   * of all lives before it, so that nodes execute nothing that was asked before.
   */
  reconnect(life: number): void;
}
