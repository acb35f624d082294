/** Limits of the controller, with their reasons. */
import { assert } from '../base/assert.js';
import { REGION_STRIDE } from '../base/region-key.js';
import { REGIONS_PER_SPACE_MAX } from '../wire/limits.js';

/** Ids end here: so many fit into an entry of a page table (`src/disk/page-table.ts`). */
export const SPACE_ID_END = 2 ** 27;
/** In an empty database numbering begins below this; see `firstNumbers`. */
export const FIRST_SPACE_ID_END = 2 ** 24;
/** Epochs end here: they travel as 32 bits. */
export const EPOCH_END = 2 ** 32;
export const FIRST_EPOCH_END = 2 ** 24;

/** Spaces at a time; every one of them is listed, and each costs some hundred bytes. */
export const SPACES_MAX = 65_536;
/** Entries of the directory of files: each takes about 300 bytes of the controller's memory. */
export const FILES_MAX = 4_000_000;

/** Places of former files are spoken of in status when they are not freed after this time. */
export const GARBAGE_SHOWN_MS = 600_000;

/** How often a node says that it is alive, and after how long a silence it counts as away. */
export const HEARTBEAT_MS_DEFAULT = 2_000;
export const AWAY_MS_DEFAULT = 6_000;
/** From one look at the states of nodes to the next, for the history. */
export const WATCH_MS = 1_000;
/** A host that has been silent for this long is forgotten: it holds nothing. */
export const HOST_FORGOTTEN_MS = 600_000;

/**
 * Connections of one life of the controller, and its lives: their numbers fit into 32 bits. After
 * the last life the controller takes another client id.
 */
export const CONNECTIONS_PER_LIFE = 2 ** 16;
export const LIVES_MAX = 2 ** 16 - 1;

/**
 * After the database turned out to be an older copy: how far numbers jump at least, and twice as
 * far at most, beyond the highest that nodes remember, for what was given out since their last
 * heartbeat; regions for what nodes hold that joined since, and are not known.
 */
export const NUMBERS_BEYOND = 2 ** 16;
export const REGIONS_BEYOND = 2 ** 14;
export const LIVES_BEYOND = 16;
/**
 * The same, at most and by chance, after a start at which a node stayed silent, which may know more
 * than all that answered: that is no rare thing, and there are some 3,800 such starts in the
 * numbers of spaces. In those of a space's regions, too: they jump by one for each so many. The
 * least is more than is given out in a short time, where that life began without a jump.
 */
export const SILENT_BEYOND = 2 ** 16;
export const SILENT_BEYOND_LEAST = 2 ** 12;
export const SILENT_BEYOND_REGION = 2 ** 4;

/** Changes of metadata that may wait for their turn. */
export const CHANGES_WAITING_MAX = 1_024;
/**
 * Nodes are told within this time, or it counts as not told. Half of what a client waits for one
 * answer of the controller, so that a grant can still go to another node.
 */
export const TELL_MS = 1_000;
/** Between two looks at a region that moves: more and more. */
export const MOVE_LOOK_MS_MIN = 5;
export const MOVE_LOOK_MS_MAX = 200;
/** Handing over for so long, the source is helped: longer than it waits for an answer itself. */
export const MOVE_DOUBT_MS = 1_000;
/** Targets that are asked one after the other to take a region, before it is left for later. */
export const MOVE_TARGETS_MAX = 8;
/** Between two looks at nodes that are to be emptied. */
export const DRAIN_LOOK_MS = 50;
/** After how long a region that did not go is tried again: more and more. */
export const DRAIN_RETRY_MS_MIN = 500;
export const DRAIN_RETRY_MS_MAX = 10_000;
/** On its way for so long, a region is named by status: by far longer than one takes. */
export const MOVE_STUCK_MS = 60_000;
/** Status tells so many of those under way. */
export const MOVES_SHOWN_MAX = 20;
/** So many block devices. */
export const DEVICES_SHOWN_MAX = 20;
/** Between two looks at how evenly nodes are used, and how long a region stays that was moved. */
export const REBALANCE_LOOK_MS = 10_000;
export const REBALANCE_REST_MS = 600_000;
/** Choices of nodes for one grant: each failure excludes a node from the next. */
export const GRANT_ATTEMPTS_MAX = 4;
/** A node may promise up to this many times what it lends (Clio, section 4.4.2: over-commit). */
export const OVERCOMMIT = 2;
/** Rows removed by one commit when the files of a removed space go. */
export const PURGE_ROWS_MAX = 1_000;
/** From this share of used memory on, status speaks of it. */
export const NEARLY_FULL_SHARE = 0.9;
/** For how long status names a node that was refused. */
export const REFUSAL_SHOWN_MS = 60_000;
export const REFUSALS_SHOWN_MAX = 32;

/** Between two looks for what a node has of devices that were removed, or beyond their ends. */
export const ORPHANS_LOOK_MS = 3_600_000;
/** The same where not all of it could be given back. */
export const ORPHANS_AGAIN_MS = 10_000;
/** Devices that were removed, whose numbers are kept; the longest ago is forgotten beyond that. */
export const DEVICES_REMOVED_MAX = 65_536;
/** Slabs of all devices that are anywhere: each row takes some 500 bytes of memory. */
export const SLAB_SETS_MAX = 2 ** 20;
/** Between two looks at regions of slabs that are lost: they go when no set names them. */
export const SLAB_TIDY_MS = 10_000;

/** Attempts that may wait for one lease; others are told to try again. */
export const LEASE_WAITING_MAX = 64;
/** For how long status names a lease that could not pass on because a node was silent. */
export const LEASE_BLOCKED_SHOWN_MS = 60_000;
/** More than status names in all, so those that are left out are counted there. */
export const LEASES_BLOCKED_MAX = 1024;

assert(REGIONS_PER_SPACE_MAX <= REGION_STRIDE, 'a region has one key');
assert(SPACE_ID_END * REGION_STRIDE <= Number.MAX_SAFE_INTEGER, 'region keys are exact');
assert(FIRST_SPACE_ID_END < SPACE_ID_END && FIRST_EPOCH_END < EPOCH_END);
assert(AWAY_MS_DEFAULT >= 2 * HEARTBEAT_MS_DEFAULT, 'one lost heartbeat is no absence');
