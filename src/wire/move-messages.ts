/**
 * The messages of moves of regions between memory nodes: docs/internals/moves.md. `epoch` is that
 * of the move, above all that were given before; it names the attempt, and the region is held under
 * it then.
 */

import * as limits from './limits.js';
import { placeRule } from './rules.js';
import { list, pad, struct, text, u8, u32, u53, viewed } from './struct.js';

const name = text(limits.NAME_BYTES_MAX);

/** What a node says of a move. Numbers travel: they never change. */
export const MoveState = {
  /** It knows of none. */
  NONE: 0,
  /** It gives the region away, and still serves it. */
  COPYING: 1,
  /** It is in doubt who holds the region, and serves nobody from it. */
  HANDING: 2,
  /** It holds the region, under this epoch or a higher one. */
  HELD: 3,
  /** It has given the region away. */
  GONE: 4,
  /** It serves the region as before; the move will never be completed. */
  CANCELLED: 5,
  /** The region is on its way here. */
  COMING: 6,
  /** It does not hold the region, and never will under this epoch. */
  NEVER: 7,
  /** It does not hold the region now. It may have, and have given it to somebody else. */
  UNSURE: 8,
} as const;

/**
 * The controller asks the holder to give a region to another memory. Idempotent. Forced: windows
 * over a part of it are closed, and pages that stopped threads are at work on are copied away.
 */
export const MoveOutRequest = struct(
  'MoveOutRequest',
  24,
  {
    space: u32,
    region: u32,
    held: u32, // The epoch under which it is held.
    epoch: u32,
    memoryId: u53, // Of the target.
    id: name,
    address: name,
  },
  placeRule,
);
/** One move of one region; what is asked of it the type says. */
export const MoveRequest = struct(
  'MoveRequest',
  16,
  {
    space: u32,
    region: u32,
    epoch: u32,
    more: u32, // Of MovePrepare the page size; of MoveEnd 1: the target holds it, 0: never will.
  },
  placeRule,
);
export const MoveProgressReply = struct('MoveProgressReply', 8, {
  state: u32, // Of `MoveState`.
  why: u32, // Of a move that was cancelled, one of `Status`.
  reason: text(limits.REASON_BYTES_MAX),
});
/** Pages side by side with equal flags. */
export const MoveRun = struct('MoveRun', 16, {
  page: u32, // The first one, counted from the start of the region.
  pages: u32,
  flags: u32, // Of their entries (src/disk/page-table.ts).
  frames: u32, // 1: they were written to, so there are bytes of them.
});
/** Everything that is allocated in the region, in one or more messages. */
export const MoveEntriesRequest = struct(
  'MoveEntriesRequest',
  16,
  {
    space: u32,
    region: u32,
    epoch: u32,
    isFirst: u8,
    isLast: u8,
    reserved: pad(2),
    runs: list(MoveRun, limits.MOVE_RUNS_MAX),
  },
  placeRule,
);
export const FormerOpening = struct('FormerOpening', 8, { opening: u32, reserved: pad(4) });
/**
 * From a source whose memory is on a disk, before the target is asked to take: the openings of
 * files under which everything that was acknowledged in the region is in what is copied, the oldest
 * first. The last is that of now.
 */
export const MoveOpeningsRequest = struct(
  'MoveOpeningsRequest',
  16,
  {
    space: u32,
    region: u32,
    epoch: u32,
    reserved: pad(4),
    openings: list(FormerOpening, limits.MOVE_OPENINGS_MAX),
  },
  placeRule,
);
/** A piece of a page that is in the list of entries. */
export const MovePagesRequest = struct('MovePagesRequest', 16, {
  epoch: u32,
  page: u32, // Counted from the start of the region.
  offset: u32, // In the page; a multiple of 8.
  reserved: pad(4),
  data: viewed(limits.PIECE_BYTES_MAX),
});
/** Where a region is that was held here. */
export const WhereIsRequest = struct('WhereIsRequest', 8, { space: u32, region: u32 }, placeRule);
export const WhereIsReply = struct('WhereIsReply', 16, {
  memoryId: u53,
  epoch: u32,
  reserved: pad(4),
  id: name,
  address: name,
});
/** What a region uses. */
export const RegionToGive = struct(
  'RegionToGive',
  16,
  {
    space: u32,
    region: u32,
    bytes: u53, // That its pages use.
  },
  placeRule,
);
/** From a node whose machine is short of memory: docs/internals/donors.md. */
export const RegionsToGiveReply = struct('RegionsToGiveReply', 8, {
  bytes: u53, // That it has to give back and cannot, now; 0: nothing is to go.
  regions: list(RegionToGive, limits.REGIONS_TO_GIVE_MAX), // In the order in which they should go.
});
/** All regions that a node holds and that use anything: for whoever evens out what nodes use. */
export const RegionSizesReply = struct('RegionSizesReply', 8, {
  bytes: u53, // Of all of them.
  regions: list(RegionToGive, limits.REGIONS_PER_MESSAGE_MAX),
});
/**
 * The controller asks what is on its way. By one that works on an older copy of its database moves
 * come to rest: docs/internals/restore.md.
 */
export const NodeMovesRequest = struct('NodeMovesRequest', 8, {
  stops: u32, // 1: what is copied goes on no more, and what has come is dropped.
  reserved: pad(4),
});
/** A region that is on its way from this node, or to it. */
export const MoveKnown = struct(
  'MoveKnown',
  16,
  {
    space: u32,
    region: u32,
    epoch: u32, // Of the move; 0: a process before this one knew it.
    state: u32, // Of `MoveState`: COPYING, HANDING or COMING.
    to: name, // The id of the target, where this node is the source and knows it.
  },
  placeRule,
);
export const NodeMovesReply = struct('NodeMovesReply', 0, {
  moves: list(MoveKnown, limits.MOVES_TOLD_MAX), // In doubt before all others.
});
