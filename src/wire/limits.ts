/**
 * Every limit of the protocol, with its reason, and how they must stand to each other.
 *
 * Both sides check them: a sender as its own bug, a receiver as a malformed message.
 */

import { assert } from '../base/assert.js';
import { GiB, KiB, MiB } from '../base/units.js';

/** `MRK1` as the first four bytes of every frame, read as a little-endian number. */
export const FRAME_MAGIC = 0x314b_524d;
/** Protocol versions that this build speaks; newest last. 1: first version. */
export const VERSION_MIN = 1;
export const VERSION_MAX = 1;

export const FRAME_HEADER_BYTES = 16;
export const MESSAGE_HEADER_BYTES = 16;
/** Every message, and every list element in it, is a multiple of this long. */
export const ALIGNMENT_BYTES = 8;

/**
 * Bytes of one read or write on the wire. Small enough that one large transfer does not hold up
 * the others of a connection for more than some tens of microseconds, large enough that the cost
 * per message vanishes beside the copy.
 */
export const PIECE_BYTES_MAX = 64 * KiB;
/** A whole piece, its headers and a batch of small messages; bounds what a peer can announce. */
export const FRAME_BYTES_MAX = 128 * KiB;
/** What is left for one message's body. */
export const BODY_BYTES_MAX = FRAME_BYTES_MAX - FRAME_HEADER_BYTES - MESSAGE_HEADER_BYTES;

/** Requests of one connection that may be unanswered: the node remembers as many results. */
export const IN_FLIGHT_MAX = 1024;
/** Operations that may wait in one link for room in flight, or for a node that is away. */
export const QUEUE_MAX = 65536;

/** Results that a node keeps per connection; a client can have missed no more. */
export const RECORD_RESULTS = IN_FLIGHT_MAX;
/** Reply bodies of calls that are kept with them; all fit into one hello's answer. */
export const RECORD_BODY_BYTES_MAX = 64 * KiB;
/** Clients without a connection whose record is kept: about 16 KiB each. */
export const RECORDS_CLOSED_MAX = 1024;
/** Longer than the 10 s that an operation waits by default, and than most network repairs. */
export const RECORD_KEEP_MS = 60_000;

/** Connections that one process serves; each costs up to 2 MiB of buffers while it is busy. */
export const SESSIONS_MAX = 4096;
/** Clients that one process knows at a time: those connected, and those that may return. */
export const CLIENT_SLOTS_MAX = SESSIONS_MAX + RECORDS_CLOSED_MAX;
/** A connection that has not said hello by then is closed: it is not one of ours. */
export const HELLO_WITHIN_MS = 5_000;
/** A link whose requests stay unanswered for this long makes a new connection. */
export const SILENCE_MS = 2_000;
/** A link over which nothing came for this long asks whether the other side is still there. */
export const PING_MS = 10_000;
/**
 * A session that has heard nothing for this long ends, three pings being lost, or more: a machine
 * that is gone says no goodbye. What its client had here goes a minute later (`RECORD_KEEP_MS`).
 */
export const SESSION_SILENCE_MS = 30_000;
/** How often a serving side says that it is still at work on the next request. */
export const WORKING_MS = 500;
/** Between two attempts to connect; doubled after each failure, with jitter. */
export const RECONNECT_MS_MIN = 1;
export const RECONNECT_MS_MAX = 200;
/** How long one attempt to connect, hello included, may take. */
export const CONNECT_WITHIN_MS = 2_000;

/** The part of an address space that one node owns: large, so that clients can list them all. */
export const REGION_BYTES = GiB;
/** Addresses are integers below this, so that they stay exact in a JavaScript number. */
export const ADDRESS_END = 2 ** 53;
export const REGIONS_PER_SPACE_MAX = ADDRESS_END / REGION_BYTES;
/** Numbers of spaces are below this: a node packs one beside the high bits of a page number. */
export const SPACE_ID_END = 2 ** 27;

export const PAGE_BYTES_MIN = 64 * KiB;
export const PAGE_BYTES_MAX = GiB;
/** Windows and reservations are named in 16 bits each. */
export const WINDOWS_END = 2 ** 16;
/** The number of a reservation is from 1 on; its client chose it: one per operation and node. */
export const RESERVATIONS_END = 2 ** 16;
/** Nonces of allocations are below this: a node keeps each in 24 bits of its page table. */
export const NONCE_END = 2 ** 24;
/** A huge page of the processor; Clio's default is 4 MB (section 4.2), LegoOS uses 4 KiB. */
export const PAGE_BYTES_DEFAULT = 2 * MiB;

/** Names of spaces, nodes, hosts, machines, and addresses. */
export const NAME_BYTES_MAX = 255;
/** Keys of files. */
export const KEY_BYTES_MAX = 1024;
/** A SHA-256 in hexadecimal. */
export const DIGEST_BYTES_MAX = 64;
/** Why a call was refused, for people. */
export const REASON_BYTES_MAX = 1024;
/** Who asks a node to measure may have gone meanwhile. */
export const STATIONS_MS_MAX = 60_000;
/** JSON texts (counters, status). */
export const JSON_BYTES_MAX = 96 * KiB;

/** Elements of a list of regions in one message; more are asked for page by page. */
export const REGIONS_PER_MESSAGE_MAX = 4096;
/** Copies of slabs in one message; more are asked for page by page. */
export const SLABS_PER_MESSAGE_MAX = 1024;
/** Copies of slabs that are given back by one call: to free some takes milliseconds. */
export const COPIES_DROPPED_MAX = 16;
/** Pages of one copy that may have half of a write: after more than that all of it is named. */
export const TORN_PAGES_MAX = 64;
/** Copies of slabs that a node asks about at a time, and those that are to go. */
export const SLABS_ASKED_MAX = 64;
/** Regions that a node names when it is asked which are to go: it is asked again for each. */
export const REGIONS_TO_GIVE_MAX = 16;
/** Runs of pages in one message of a move; more follow in the next. */
export const MOVE_RUNS_MAX = 4096;
/** Moves that a node names when it is asked which are under way: one each way, and what is old. */
export const MOVES_TOLD_MAX = 64;
/** Nodes and hosts of a rack, all named in one message. */
export const NODES_MAX = 128;
/** Nodes of one lease: the copies of what it is about. */
export const LEASE_NODES_MAX = 16;
/** Regions granted by one call: the largest single allocation is 1 TiB. */
export const GRANT_REGIONS_MAX = 1024;
/** Directory entries in one message; a sender also stops at `BODY_BYTES_MAX`. */
export const FILES_PER_MESSAGE_MAX = 1000;
/** Of one durable file, that a node remembers. */
export const OPENINGS_MAX = 8;
/** Of files in which one region was before. */
export const MOVE_OPENINGS_MAX = 16;
/** Spaces in one message; more are asked for page by page. */
export const SPACES_PER_MESSAGE_MAX = 256;

/** Devices are cut into sectors of so many bytes: what every client of block devices can do. */
export const SECTOR_BYTES = 512;
/** 128 TiB: two million of the smallest slabs. */
export const DEVICE_BYTES_MAX = 2 ** 47;
/** Smaller slabs make many rows at the controller. */
export const SLAB_BYTES_MIN = 64 * MiB;
/** Larger ones take long to copy; and a slab lies within one region. */
export const SLAB_BYTES_MAX = GiB;
/** Copies of a slab: with three, one can be lost while another is made again. */
export const SLAB_COPIES_MAX = 3;
/** Copies of a slab, with the one in a file of a host. */
export const SLAB_MEMBERS_MAX = SLAB_COPIES_MAX + 1;
/** Of a copy in a file of a host, which is in no space. */
export const BACKUP_SPACE = 0;
/** What a device is to do beyond its size, as JSON. */
export const DEVICE_OPTIONS_BYTES_MAX = 4 * KiB;
/** In one message; a sender also stops at `BODY_BYTES_MAX`. */
export const DEVICES_PER_MESSAGE_MAX = 256;
/** Sets of slabs in one message; a sender also stops at `BODY_BYTES_MAX`. */
export const SETS_PER_MESSAGE_MAX = 1024;

/** What a host tells of its devices in one message; more follow in the next. */
export const DEVICE_REPORTS_PER_MESSAGE_MAX = 64;
/** The first bound of what their reads and writes take: over shared memory it is not much more. */
export const DEVICE_TIME_LEAST_S = 4e-6;
/** Bounds double up to half a minute: after that reads and writes are given up. */
export const DEVICE_TIME_BUCKETS = 24;

assert(PIECE_BYTES_MAX + 64 * MESSAGE_HEADER_BYTES + FRAME_HEADER_BYTES <= FRAME_BYTES_MAX);
assert(PIECE_BYTES_MAX <= PAGE_BYTES_MIN && PAGE_BYTES_MAX <= REGION_BYTES);
assert(PAGE_BYTES_DEFAULT >= PAGE_BYTES_MIN && PAGE_BYTES_DEFAULT <= PAGE_BYTES_MAX);
assert(RECORD_RESULTS >= IN_FLIGHT_MAX, 'a client could miss a result that is no longer kept');
assert((IN_FLIGHT_MAX & (IN_FLIGHT_MAX - 1)) === 0, 'the record is indexed by a mask');
assert(RECORD_RESULTS * 32 + RECORD_BODY_BYTES_MAX + 4 * KiB <= BODY_BYTES_MAX);
assert(QUEUE_MAX >= IN_FLIGHT_MAX && (QUEUE_MAX & (QUEUE_MAX - 1)) === 0);
assert(3 * WORKING_MS < SILENCE_MS, 'one that is lost does no harm');
assert(3 * PING_MS <= SESSION_SILENCE_MS && SILENCE_MS < PING_MS);
assert(SILENCE_MS < RECORD_KEEP_MS && HELLO_WITHIN_MS > CONNECT_WITHIN_MS);
assert(FRAME_BYTES_MAX % ALIGNMENT_BYTES === 0 && JSON_BYTES_MAX < BODY_BYTES_MAX);
assert(NODES_MAX * 3 * (NAME_BYTES_MAX + 16) + 64 <= BODY_BYTES_MAX, 'all nodes in one message');
assert(MOVE_RUNS_MAX * 16 + 64 <= BODY_BYTES_MAX);
assert(SLABS_PER_MESSAGE_MAX * 56 + 64 <= BODY_BYTES_MAX);
assert(REGIONS_PER_MESSAGE_MAX * 16 + 2 * (NAME_BYTES_MAX + 16) * 50 <= BODY_BYTES_MAX);
assert(DEVICE_REPORTS_PER_MESSAGE_MAX * (160 + 16 * (DEVICE_TIME_BUCKETS + 2)) <= BODY_BYTES_MAX);
assert(SLAB_BYTES_MAX <= REGION_BYTES && DEVICE_BYTES_MAX < ADDRESS_END);
