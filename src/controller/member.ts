/**
 * What the controller knows of one memory node besides its row: whether it has been heard of since
 * the controller started, what it last said, and what it still has to be told.
 */
import type { SpaceId } from '../base/brands.js';
import { NO_MARK } from './mark.js';
import type { NodeRow } from './metadata/schema.js';
import type { HeldRegion } from './reconcile.js';

/** `away`: may come back with its memory. `ended`: its memory is gone. */
export type NodeState = 'serving' | 'away' | 'ended';

export class Member {
  row: NodeRow;
  /** It has never served, and its first join is not answered yet. */
  isNew = false;
  /** It told what it holds since this controller started. */
  isJoined = false;
  /** The clock at the last sign of life. */
  seenMs = -Infinity;
  /** A call to it failed since its last heartbeat: it gets no new regions until the next. */
  isSuspect = false;
  bytesLent: number;
  bytesUsed = 0;
  /** It has told what it uses since it joined. */
  hasToldUse = false;
  bytesCommitted = 0;
  /** Used, and more than it lends now. */
  bytesToGive = 0;
  /** It does not know what its machine has left. */
  isUnmeasured = false;
  /** Bytes of regions granted since the last heartbeat. */
  bytesPromised = 0;
  /** Keys of regions that the node has confirmed to hold. */
  confirmed = new Set<number>();
  /** Keys of regions about which the node is being told at this moment. */
  readonly telling = new Set<number>();
  /** Regions that the node reported and the database does not know. */
  unknown: readonly HeldRegion[] = [];
  /** Spaces that the node must be told to remove. */
  removing = new Set<SpaceId>();
  isSettling = false;
  /** What its memory remembered of controllers when it joined. */
  mark = NO_MARK;
  /** It remembers that all spaces below this number were given out. */
  knowsSpaces = 0;
  /** Its unknown regions were looked at after a restoration. */
  isReclaimed = false;

  constructor(row: NodeRow) {
    this.row = row;
    this.bytesLent = row.bytesLent;
  }

  state(nowMs: number, awayMs: number): NodeState {
    if (this.row.state === 'ended') return 'ended';
    return this.isJoined && nowMs - this.seenMs <= awayMs ? 'serving' : 'away';
  }
}
