/**
 * Every message of the protocol, declared once.
 *
 * A message is a header of 16 bytes and a body. Requests and replies have the same type; a reply
 * has the flag `REPLY` and a status. A reply whose status is not `Ok` carries a `Refusal` (calls)
 * or nothing (data messages) in place of its body. To add a call: its number in `MessageType`, its
 * structs, its line in `CALLS`; numbers are never used again for another meaning.
 */

import { Status } from '../base/status.js';
import {
  CreateDeviceRequest,
  DeviceFacts,
  GetSetsReply,
  GetSetsRequest,
  GrantSlabRegionReply,
  GrantSlabRegionRequest,
  GrantSlabRoomRequest,
  ListDevicesReply,
  ListDevicesRequest,
  OpenDeviceRequest,
  PutSetReply,
  PutSetRequest,
  RemoveDeviceRequest,
  ResizeDeviceRequest,
  SetDeviceOptionsRequest,
} from './device-messages.js';
import {
  NoteDevicesRequest,
  SeeDevicesReply,
  SeeDevicesRequest,
} from './device-report-messages.js';
import { ListDoorsReply, NoteDoorRequest } from './door-messages.js';
import {
  FileEntry,
  FileRequest,
  ForgetGarbageRequest,
  ListFilesReply,
  ListFilesRequest,
  PutFilesReply,
  PutFilesRequest,
  TakeGarbageReply,
  TakeGarbageRequest,
} from './file-messages.js';
import {
  AcquireLeaseReply,
  AcquireLeaseRequest,
  ExtendLeaseReply,
  ExtendLeaseRequest,
  GrantLeaseRequest,
  HeldBeforeReply,
  InspectLeaseReply,
  InspectLeaseRequest,
  LeaseEpochRequest,
  RaiseLeaseRequest,
  ReleaseLeaseRequest,
  ShrinkLeaseRequest,
} from './lease-messages.js';
import * as limits from './limits.js';
import { ListMemoriesReply, ListMemoriesRequest } from './memory-messages.js';
import {
  MoveEntriesRequest,
  MoveOpeningsRequest,
  MoveOutRequest,
  MovePagesRequest,
  MoveProgressReply,
  MoveRequest,
  NodeMovesReply,
  NodeMovesRequest,
  RegionSizesReply,
  RegionsToGiveReply,
  WhereIsReply,
  WhereIsRequest,
} from './move-messages.js';
import { placeRule, regionRule, spaceRule } from './rules.js';
import {
  DropCopiesRequest,
  ListSlabsReply,
  ListSlabsRequest,
  MarkSlabRequest,
  SlabActivityReply,
  SlabActivityRequest,
  SlabRequest,
  TakeSlabRequest,
  TornPagesReply,
  TornPagesRequest,
  TrimSlabRequest,
} from './slab-messages.js';
import { bytes, type Fields, list, pad, struct, text, u8, u16, u32, u53, u64 } from './struct.js';

export * from './device-messages.js';
export * from './device-report-messages.js';
export * from './door-messages.js';
export * from './file-messages.js';
export * from './lease-messages.js';
export * from './memory-messages.js';
export * from './move-messages.js';
export * from './slab-messages.js';

const name = text(limits.NAME_BYTES_MAX);

export const MessageType = {
  // The connection itself.
  Hello: 1,
  Goodbye: 2,
  Working: 3,

  // Data: executed by the memory node without an object per message.
  Read: 16,
  Write: 17,
  CompareAndSwap: 18,
  FetchAndAdd: 19,
  Reserve: 20,
  Unreserve: 21,
  Fence: 22,
  Ping: 23,

  // Calls to a memory node.
  OpenWindow: 32,
  CloseWindow: 33,
  Alloc: 34,
  ConfirmAlloc: 35,
  Free: 36,
  Inspect: 37,
  Protect: 38,
  Counters: 39,
  NodeRegions: 40,
  Attach: 41,
  Detach: 42,
  OpenRange: 43,
  RevokeWindow: 44,
  Relocate: 45,
  MeasureStations: 46,
  PingSlowPath: 47,
  GrantRegion: 48,
  RemoveSpace: 49,
  RaiseLease: 50,
  GrantLease: 51,
  RenewLease: 52,
  EndLease: 53,
  InspectLease: 54,
  NoteMark: 55,
  Flush: 56,
  TakeSlab: 57,
  GiveSlab: 58,
  ListSlabs: 59,
  OpenSlab: 60,
  MarkSlab: 61,
  SlabActivity: 62,
  TrimSlab: 63,

  // Calls to the controller.
  JoinNode: 64,
  Heartbeat: 65,
  NodeEnded: 66,
  JoinHost: 67,
  HostHeartbeat: 68,
  DescribeNode: 69,
  NoteDoor: 70,
  ListDoors: 71,
  OpenSpace: 72,
  ListSpaces: 73,
  RemoveSpaceByName: 74,
  SpaceRegions: 75,
  GrantRegions: 76,
  PutFiles: 80,
  GetFile: 81,
  ListFiles: 82,
  RemoveFile: 83,
  TakeGarbage: 84,
  ForgetGarbage: 85,
  ListNodes: 88,
  RackStatus: 89,
  AcquireLease: 90,
  ReleaseLease: 91,
  ExtendLease: 92,
  ShrinkLease: 93,
  ListMemories: 94,
  HeldBefore: 95,

  // Moves of regions: calls to a memory node, from the controller, from another node, from clients.
  MoveOut: 96,
  MoveProgress: 97,
  MovePrepare: 98,
  MoveEntries: 99,
  MovePages: 100,
  MoveTake: 101,
  MoveCancel: 102,
  MoveEnd: 103,
  WhereIs: 104,
  MoveOutForced: 105,
  RegionsToGive: 106,
  MoveOpenings: 107,
  RegionSizes: 108,
  NodeMoves: 109,
  DropCopies: 110,
  TornPages: 111,

  // Block devices: calls to the controller.
  CreateDevice: 112,
  OpenDevice: 113,
  ListDevices: 114,
  RemoveDevice: 115,
  GetSets: 116,
  PutSet: 117,
  GrantSlabRegion: 118,
  NoteDevices: 119,
  SeeDevices: 120,
  ResizeDevice: 121,
  SetDeviceOptions: 122,
  GrantSlabRoom: 123,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Whether a type is one of the data messages, which no call ever has. */
export function isDataType(type: number): boolean {
  return type >= MessageType.Read && type <= MessageType.Ping;
}

/** Whether a data message is to bytes at an address. */
export function isAccess(type: number): boolean {
  return type <= MessageType.Reserve;
}

// ------------------------------------------------------------------------------- frame, header

/** In front of every frame. Never changes, so that any two versions can refuse each other. */
export const FrameHeader = struct('FrameHeader', 16, {
  magic: u32, // `MRK1`.
  length: u32, // Of the whole frame, this header included; a multiple of 8.
  checksum: u32, // CRC-32C of the whole frame with this field as 0.
  count: u16, // Messages in the frame; at least 1.
  version: u16, // The version that both sides agreed on; the lowest known one before that.
});

/** In front of every message. */
export const MessageHeader = struct('MessageHeader', 16, {
  type: u8, // One of `MessageType`.
  flags: u8, // Bit 0: this is a reply. The others are zero.
  status: u16, // Of a reply, one of `Status`; zero in a request.
  length: u32, // Of the whole message, this header included; a multiple of 8.
  sequence: u32, // Requests are numbered one by one, modulo 2^32; a reply repeats the number.
  extra: u32, // In data requests `dataExtra`; in replies to Read bytes, to Reserve pages.
});

export const MessageFlag = { REPLY: 1 } as const;

/** Why a call was refused, for people; the status is in the header. */
export const Refusal = struct('Refusal', 0, { reason: text(limits.REASON_BYTES_MAX) });

// -------------------------------------------------------------------------------------- hello

/**
 * The first request of every connection; nothing else is sent before its reply. Its sequence, 1 as
 * a rule, is where the numbers of the connection begin.
 */
export const HelloRequest = struct(
  'HelloRequest',
  48,
  {
    versionMin: u16, // The versions that the client speaks.
    versionMax: u16,
    capabilities: u32, // Bits of `Capability` that the client knows.
    client: u53, // Random, chosen when the client's process started.
    connection: u32, // Number of this connection: rises with each that this client opens.
    previous: u32, // The connection whose requests are still open at the client, or 0.
    acknowledged: u32, // The last sequence of `previous` whose reply has arrived.
    reserved: pad(4),
    instance: u53, // `instance` of the process that `previous` led to, or 0.
    memoryId: u53, // The memory that is meant; refused where it is not, before anything is fenced.
  },
  (hello) =>
    hello.connection > hello.previous && hello.client > 0 ? null : 'a number that no client gives',
);

/** What became of one write, atomic or call that the client may have missed. */
export const MissedResult = struct('MissedResult', 16, {
  sequence: u32, // On the previous connection.
  status: u16,
  type: u8,
  bodyKept: u8, // 1: `body` is the reply's body; 0: a data message, or the body was too large.
  low: u32, // Of an atomic the old word; of Reserve the pages in `low`.
  high: u32,
  body: bytes(limits.RECORD_BODY_BYTES_MAX),
});

/**
 * Status Stale: a later connection of this client is open. Unsupported: no version in common.
 * NotFound: another memory than the one that is meant, or none.
 */
export const HelloReply = struct('HelloReply', 32, {
  version: u16, // The version that is spoken from here on.
  recordKnown: u8, // 1: `executed` and `missed` tell everything about `previous`.
  reserved: pad(1),
  capabilities: u32, // Bits that both sides know.
  instance: u53, // Random, chosen when this process started: another one has no old windows.
  executed: u32, // The last sequence of `previous` that was executed; no later one ever will be.
  inFlightMax: u32, // Requests that may be unanswered on this connection.
  incarnation: u32, // Of the memory node, else 0.
  opening: u32, // Of the node's file, where it has one: see FlushRequest; else 0.
  missed: list(MissedResult, limits.RECORD_RESULTS),
});

/** Ends a client in order: its record, windows and reservations go at once. Has no reply. */
export const GoodbyeRequest = struct('GoodbyeRequest', 0, {});

/**
 * Never asked for: from the serving side, with the flag `REPLY`, as long as the request with that
 * sequence takes longer. So that who waits can tell a slow answer from a connection that is lost.
 */
export const WorkingReply = struct('WorkingReply', 0, {});

/** Bits of `capabilities`. None yet: a bit is added with the first feature that is optional. */
export const Capability = {} as const;
export const CAPABILITIES = 0;

// --------------------------------------------------------------------------------------- data

/**
 * `extra` of a data request: the window in the low half. In the high half the number of a
 * reservation of this client: of Reserve the new one, of Write the one that pays a first touch, of
 * Unreserve the one that ends; 0: none.
 */
export const dataExtra = (window: number, reservation: number): number =>
  window | (reservation << 16);
export const windowOf = (extra: number): number => extra & 0xffff;
export const reservationOf = (extra: number): number => extra >>> 16;

/** What every data request begins with. */
const target = {
  address: u53, // In the window's space.
  bytes: u32, // Within one page, but for Reserve. Of atomics 8.
  epoch: u32, // Of the window; a stale one is refused.
} as const;

/** Reply: `extra` bytes of data, then zeros up to a multiple of 8. */
export const ReadRequest = struct('ReadRequest', 16, { ...target });

/** Followed by `bytes` bytes of data, then zeros up to a multiple of 8. */
export const WriteRequest = struct('WriteRequest', 16, { ...target });

export const CompareAndSwapRequest = struct('CompareAndSwapRequest', 32, {
  ...target,
  expected: u64, // The word is changed if it has this value,
  desired: u64, // to this one.
});

export const FetchAndAddRequest = struct('FetchAndAddRequest', 24, {
  ...target,
  delta: u64, // Added modulo 2^64.
});

/** Reply to both atomics. */
export const OldValue = struct('OldValue', 8, {
  old: u64, // The word before; the swap was made if it equals `expected`.
});

/**
 * Promises frames for untouched pages of a range; the reply's `extra` says for how many. Under a
 * number that is in use the promises add up. Invalid without a number.
 */
export const ReserveRequest = struct('ReserveRequest', 16, { ...target });

/**
 * Unreserve (it gives back what is left of a reservation), Fence and Ping have an empty body, and
 * so have their replies.
 */
export const EmptyRequest = struct('EmptyRequest', 0, {});

// ------------------------------------------------------------------------ calls: memory node

export const Right = { READ: 1, WRITE: 2 } as const;
const RIGHTS_MAX = 3;

const rightsRule = (value: { readonly rights: number }): string | null =>
  value.rights <= RIGHTS_MAX ? null : `rights ${value.rights} are none of 0 to ${RIGHTS_MAX}`;

/** Beside the rights: the window that all share who ask so, which is kept for no client. */
export const WINDOW_FOR_ALL = 4;

/**
 * The client's own window, or the one for all; each is opened once for the same rights. Refused
 * with NotFound where the node holds no region of the space.
 */
export const OpenWindowRequest = struct(
  'OpenWindowRequest',
  8,
  {
    space: u32,
    rights: u32, // Of `Right`, and WINDOW_FOR_ALL.
  },
  (value) => spaceRule(value) ?? rightsRule({ rights: value.rights & ~WINDOW_FOR_ALL }),
);
export const OpenWindowReply = struct('OpenWindowReply', 16, {
  window: u32,
  epoch: u32,
  pageBytes: u32,
  reserved: pad(4),
});

export const CloseWindowRequest = struct('CloseWindowRequest', 8, {
  window: u32,
  reserved: pad(4),
});

/**
 * A slot of this node's memory files for one thread of the caller, and their names. Unsupported
 * where the caller is not on this machine, in this boot and pid namespace, so that the node could
 * prove that it has ended; Busy when all slots are taken. See docs/internals/one-sided.md.
 */
export const AttachRequest = struct('AttachRequest', 8, {
  token: u53, // Random, made by the thread: the same one means the same slot again.
  identity: name, // Of the process that will use the slot (`Processes.identity`).
});
export const AttachReply = struct('AttachReply', 16, {
  slot: u32,
  incarnation: u32, // Of the process that serves: what `alive` in the table file must be.
  isDurable: u8, // 1: the frames are a file on a disk, to be held with its lock.
  reserved: pad(7),
  table: name, // Names for `Memory.open`.
  frames: name,
  slots: name,
  ring: name, // An address of the same process for those who can open its memory; empty: none.
});

/** The slot's thread has ended, or is not in a step and will begin none. NotFound: not its slot. */
export const DetachRequest = struct('DetachRequest', 16, {
  token: u53, // That of the attachment.
  slot: u32,
  reserved: pad(4),
});

/**
 * A window over a part of a space. NotFound as OpenWindow; Stale where the lease has another epoch
 * here by now. Closed when its parent is, when the lease's epoch is raised, or by RevokeWindow.
 */
export const OpenRangeRequest = struct(
  'OpenRangeRequest',
  56,
  {
    space: u32,
    rights: u32, // At most those of the parent.
    base: u53,
    bytes: u53, // Within one region, and within the parent.
    parent: u32, // The window that it is cut from, plus 1; 0: none.
    parentEpoch: u32,
    lease: u53, // The lease it is good as long as; 0: none.
    leaseEpoch: u32,
    isShared: u32, // 1: for whoever names it and its epoch; the epoch is drawn at random.
    reserved: pad(8),
  },
  (value) => spaceRule(value) ?? rightsRule(value),
);

/**
 * Closes the window and all that were cut from it. Done when no thread can still be in a step that
 * began before. Stale: there is no such window, or of another epoch.
 */
export const RevokeWindowRequest = struct('RevokeWindowRequest', 8, { window: u32, epoch: u32 });

/** Moves every page of the range that has a frame to another frame of this node. */
export const RelocateRequest = struct(
  'RelocateRequest',
  24,
  { space: u32, reserved: pad(4), address: u53, bytes: u53 },
  spaceRule,
);
export const RelocateReply = struct('RelocateReply', 8, {
  moved: u32, // Pages that were moved.
  cancelled: u32, // Pages that a stopped thread held back, or for which there was no frame.
});

export const AllocFlag = {
  /** This is not the first piece of an allocation over several regions. */
  CONTINUATION: 1,
  /** Another piece follows in the next region. */
  CONTINUES: 2,
  /** Not confirmed yet; only told, never asked for: every allocation begins so. */
  PROVISIONAL: 4,
} as const;
const ALLOC_FLAGS_ALL = 3;

/**
 * Refused with NoSpace where the region has no free range that is long enough, or, of a piece, no
 * room at its address. What is made goes after 30 s unless it is confirmed; a continuation then
 * goes, or stays, as the piece before it.
 */
export const AllocRequest = struct(
  'AllocRequest',
  32,
  {
    space: u32,
    region: u32,
    bytes: u53, // Rounded up to pages by the node.
    wish: u53, // The address to allocate at if it is free there; 0: any.
    flags: u32, // Of `AllocFlag`.
    nonce: u32, // Chosen by the client, from 1 on; the same for all pieces of an allocation.
  },
  (value) => {
    if (value.flags > ALLOC_FLAGS_ALL) return `flags ${value.flags} cannot be asked for`;
    const isNonce = value.nonce > 0 && value.nonce < limits.NONCE_END;
    return isNonce ? placeRule(value) : `${value.nonce} is no nonce`;
  },
);
export const AllocReply = struct('AllocReply', 8, { address: u53 });

/**
 * A whole allocation, or piece of one, by the address of its first byte. NotAllocated where none
 * begins, or one of another nonce; NotFound where the region is not held. Confirming is idempotent.
 */
export const AllocationRequest = struct(
  'AllocationRequest',
  16,
  {
    space: u32,
    nonce: u32, // To confirm that of its allocation; else 0 for any.
    address: u53,
  },
  spaceRule,
);
export const FreeReply = struct('FreeReply', 8, { bytes: u53 });

/** Of the allocation that `address` lies in. */
export const InspectReply = struct('InspectReply', 24, {
  base: u53,
  bytes: u53, // Within this region.
  flags: u32, // Of `AllocFlag`.
  rights: u32, // Of the page of the address that was asked for.
});

export const ProtectRequest = struct(
  'ProtectRequest',
  24,
  {
    space: u32,
    rights: u32, // Bits of `Right`; 0: none.
    address: u53, // Where a page begins.
    bytes: u53, // Rounded up to pages.
  },
  (value) => spaceRule(value) ?? rightsRule(value),
);

/**
 * Ok when everything that was stored in the range before survives the machine. Unsupported where
 * the memory does not outlive its supervisor. DataLost: the file was opened anew since the opening
 * that is named, and what was not flushed before that may be gone.
 */
export const FlushRequest = struct(
  'FlushRequest',
  32,
  {
    space: u32,
    opening: u32, // Under which the bytes were written; 0: nothing was written since a flush.
    address: u53,
    bytes: u53, // Within one region.
    reserved: pad(8),
  },
  spaceRule,
);
export const FlushReply = struct('FlushReply', 8, { opening: u32, reserved: pad(4) });

export const RegionHeld = struct(
  'RegionHeld',
  16,
  {
    space: u32,
    region: u32,
    epoch: u32,
    reserved: pad(4),
  },
  placeRule,
);

/**
 * Idempotent: the same space, region and epoch any number of times. Stale: a lower epoch, or meant
 * for a memory that is gone, whose node has come back with another one.
 */
export const GrantRegionRequest = struct(
  'GrantRegionRequest',
  24,
  {
    space: u32,
    region: u32,
    epoch: u32,
    pageBytes: u32, // Of the space; refused with Unsupported where the node has another size.
    memoryId: u53, // Of the memory that is to hold it.
  },
  placeRule,
);

export const RemoveSpaceRequest = struct(
  'RemoveSpaceRequest',
  8,
  { space: u32, reserved: pad(4) },
  spaceRule,
);

/** Measures where requests spend their time at the node; what was measured stays when it ends. */
export const MeasureStationsRequest = struct(
  'MeasureStationsRequest',
  8,
  {
    every: u32, // Of so many looks at what has arrived one is measured; 0: none from here on.
    forMs: u32, // For how long; at most `STATIONS_MS_MAX`.
  },
  ({ forMs }) => (forMs <= limits.STATIONS_MS_MAX ? null : 'a time that is too long'),
);
/** Sums since the start of the node's process, in nanoseconds; see src/fabric/stations.ts. */
export const StationSums = struct('StationSums', 64, {
  kind: u32, // 0: reads, 1: writes, 2: atomics, 3: pings.
  reserved: pad(4),
  requests: u53, // Those that were measured.
  checkNs: u53,
  recordNs: u53,
  translateNs: u53,
  accessNs: u53,
  replyNs: u53,
  sendNs: u53,
});
export const MeasureStationsReply = struct('MeasureStationsReply', 8, {
  clockNs: u32, // What reading the clock takes, which was taken off the times.
  reserved: pad(4),
  sums: list(StationSums, 16),
});
/** The slow path was asked, and has answered. */
export const PingSlowPathReply = struct('PingSlowPathReply', 8, {
  waitedUs: u32, // From asking it to its answer.
  reserved: pad(4),
});

export const JsonReply = struct('JsonReply', 0, { json: text(limits.JSON_BYTES_MAX) });

/** Regions that the node holds, from the given place in its list on. */
export const NodeRegionsRequest = struct('NodeRegionsRequest', 8, { after: u32, reserved: pad(4) });
export const NodeRegionsReply = struct('NodeRegionsReply', 8, {
  more: u32, // `after` of the next request, or 0 when these were the last.
  reserved: pad(4),
  regions: list(RegionHeld, limits.REGIONS_PER_MESSAGE_MAX),
});

// ------------------------------------------------------------------------- calls: controller

export const NodeState = { SERVING: 0, DRAINING: 1, AWAY: 2, LOST: 3, ENDED: 4 } as const;
export type NodeState = (typeof NodeState)[keyof typeof NodeState];

/**
 * How far the database of a controller had come. Nodes keep it with their memory, so that a
 * controller on an older copy finds out: docs/internals/restore.md.
 */
const CONTROLLER_MARK = {
  controller: u53, // The controller's client id; 0: no mark.
  commit: u53, // Number of the last durable change.
  life: u32, // How often a controller was started on the database.
  nextSpace: u32, // The next numbers that it would give out.
  nextEpoch: u32,
  instance: u32, // Random, of the controller's process.
} as const;

/** To a memory node, before a client is told of what no node would remember otherwise. */
export const NoteMarkRequest = struct('NoteMarkRequest', 32, { ...CONTROLLER_MARK });

/** Random, made each time that the file of a persistent memory is opened. */
export const OpeningOfFile = struct('OpeningOfFile', 8, { opening: u32, reserved: pad(4) });

export const JoinNodeRequest = struct('JoinNodeRequest', 64, {
  memoryId: u53, // Random, made with the memory: another one means that the old contents are gone.
  bytesLent: u53,
  incarnation: u32,
  pageBytes: u32,
  pid: u32, // Of the process that serves.
  kind: u8, // Of `SpaceKind`: what spaces its memory is good for.
  isTrusted: u8, // 1: an operator has said that a file is to be served although it is older.
  reserved: pad(2),
  ...CONTROLLER_MARK, // The highest that was told to this memory.
  id: name,
  address: name, // Where it listens.
  machine: name,
  keeper: name, // Identity of the process that made the memory and keeps it; empty: not known.
  process: name, // Identity of the process that serves; empty: not known.
  fileSystem: name, // That its file is on, where nobody has shown that it keeps what it says.
  openings: list(OpeningOfFile, limits.OPENINGS_MAX), // Of its file, the one of now last.
  regions: list(RegionHeld, limits.REGIONS_PER_MESSAGE_MAX), // All that it holds.
});
export const JoinReply = struct('JoinReply', 40, {
  heartbeatMs: u32,
  reserved: pad(4),
  ...CONTROLLER_MARK, // To be kept with the memory; all 0 to a host.
});

/** What a node says of how it watches the memory of its machine; bits. */
export const DonorFlag = { UNMEASURED: 1 } as const;

export const HeartbeatRequest = struct('HeartbeatRequest', 56, {
  memoryId: u53,
  bytesLent: u53,
  bytesUsed: u53, // In frames that hold something.
  bytesCommitted: u53, // In pages that are allocated.
  incarnation: u32,
  state: u32, // Of `NodeState`.
  bytesToGive: u53, // Used, and more than is lent now: it waits to be moved away.
  donor: u32, // Bits of `DonorFlag`.
  reserved: pad(4),
  id: name,
});
export const HeartbeatReply = struct('HeartbeatReply', 40, {
  known: u8, // 0: join again.
  reserved: pad(7),
  ...CONTROLLER_MARK, // To be kept with the memory; all 0 to a host.
});

/** From whoever can prove that the memory is gone: its supervisor, or who started that. */
export const NodeEndedRequest = struct('NodeEndedRequest', 8, { memoryId: u53, id: name });

/** Whose memory the id stands for, so that who wants to take its place can look for it. */
export const DescribeNodeRequest = struct('DescribeNodeRequest', 0, { id: name });
export const DescribeNodeReply = struct('DescribeNodeReply', 16, {
  memoryId: u53,
  state: u32, // Of `NodeState`.
  kind: u8, // Of `SpaceKind`.
  reserved: pad(3),
  machine: name,
  keeper: name, // As in its last JoinNode.
  process: name,
});

export const JoinHostRequest = struct('JoinHostRequest', 8, {
  pid: u32,
  reserved: pad(4),
  id: name,
  address: name,
  machine: name,
});
export const HostHeartbeatRequest = struct('HostHeartbeatRequest', 0, { id: name });

export const SpaceKind = { DRAM: 0, PERSISTENT: 1 } as const;

/** Refused with NotFound where there is none and `create` is 0. */
export const OpenSpaceRequest = struct('OpenSpaceRequest', 8, {
  create: u8, // 1: make it if there is none.
  kind: u8, // Of `SpaceKind`; of one that is created.
  reserved: pad(2),
  pageBytes: u32, // Of one that is created; 0: the rack's default.
  name,
});
export const OpenSpaceReply = struct('OpenSpaceReply', 16, {
  space: u32, // Never used for another space.
  pageBytes: u32,
  regions: u32, // How many are granted.
  kind: u8,
  created: u8,
  reserved: pad(2),
});

export const ListSpacesRequest = struct('ListSpacesRequest', 0, {
  after: name, // Names that are greater than this one.
});
export const SpaceFacts = struct('SpaceFacts', 16, {
  space: u32,
  pageBytes: u32,
  regions: u32,
  kind: u8,
  removing: u8, // 1: being removed, until every node has forgotten it.
  reserved: pad(2),
  name,
});
export const ListSpacesReply = struct('ListSpacesReply', 8, {
  more: u8, // 1: ask again after the last name.
  reserved: pad(7),
  spaces: list(SpaceFacts, limits.SPACES_PER_MESSAGE_MAX),
});

export const RemoveSpaceByNameRequest = struct('RemoveSpaceByNameRequest', 0, { name });

export const NodePlace = struct('NodePlace', 16, {
  memoryId: u53, // For the hello, because others may listen there by then; 0: it is lost.
  state: u32, // Of `NodeState`.
  reserved: pad(4),
  id: name,
  address: name,
});
export const RegionPlace = struct(
  'RegionPlace',
  16,
  {
    region: u32,
    epoch: u32,
    node: u32, // Index in the list of nodes of the same message.
    lost: u32, // 1: the memory that held it is gone; its contents are DataLost.
  },
  regionRule,
);
export const SpaceRegionsRequest = struct(
  'SpaceRegionsRequest',
  8,
  {
    space: u32,
    after: u32, // Regions above this one; 0: all, because region 0 is never used.
  },
  spaceRule,
);
export const SpaceRegionsReply = struct('SpaceRegionsReply', 8, {
  more: u8, // 1: ask again after the last region.
  mayLack: u8, // 1: others may be granted, or elsewhere, and the controller has not heard of it.
  reserved: pad(6),
  nodes: list(NodePlace, limits.NODES_MAX),
  regions: list(RegionPlace, limits.REGIONS_PER_MESSAGE_MAX),
});

export const GrantRegionsRequest = struct(
  'GrantRegionsRequest',
  16,
  {
    space: u32,
    count: u32, // Neighbours in the space, for one allocation.
    bytes: u53, // To be allocated in each: nodes with less room are not chosen; 0: a page.
    near: name, // The node to prefer, or empty.
  },
  spaceRule,
);

export const MemberFacts = struct('MemberFacts', 40, {
  bytesLent: u53,
  bytesUsed: u53,
  bytesCommitted: u53,
  pid: u32,
  state: u32, // Of `NodeState`.
  incarnation: u32,
  isHost: u8, // 1: a host, which lends nothing.
  reserved: pad(3),
  id: name,
  address: name,
  machine: name,
});
export const ListNodesReply = struct('ListNodesReply', 0, {
  members: list(MemberFacts, 2 * limits.NODES_MAX),
});

// -------------------------------------------------------------------------------- the tables

interface CallFacts {
  readonly request: unknown;
  readonly reply: unknown;
  /** Doing it twice is as good as once: its result is not kept, a lost reply is asked for anew. */
  readonly repeatable: boolean;
}

const Empty = EmptyRequest;
const M = MessageType;

/** Every call: what it carries, and whether it may be repeated after a lost reply. */
export const CALLS = {
  [M.OpenWindow]: { request: OpenWindowRequest, reply: OpenWindowReply, repeatable: true },
  [M.CloseWindow]: { request: CloseWindowRequest, reply: Empty, repeatable: false },
  [M.Alloc]: { request: AllocRequest, reply: AllocReply, repeatable: false },
  [M.ConfirmAlloc]: { request: AllocationRequest, reply: Empty, repeatable: true },
  [M.Free]: { request: AllocationRequest, reply: FreeReply, repeatable: false },
  [M.Inspect]: { request: AllocationRequest, reply: InspectReply, repeatable: true },
  [M.Flush]: { request: FlushRequest, reply: FlushReply, repeatable: true },
  [M.TakeSlab]: { request: TakeSlabRequest, reply: AllocReply, repeatable: true },
  [M.OpenSlab]: { request: SlabRequest, reply: OpenWindowReply, repeatable: true },
  [M.MarkSlab]: { request: MarkSlabRequest, reply: Empty, repeatable: true },
  [M.GiveSlab]: { request: SlabRequest, reply: Empty, repeatable: true },
  [M.ListSlabs]: { request: ListSlabsRequest, reply: ListSlabsReply, repeatable: true },
  [M.TornPages]: { request: TornPagesRequest, reply: TornPagesReply, repeatable: true },
  [M.DropCopies]: { request: DropCopiesRequest, reply: Empty, repeatable: true },
  [M.SlabActivity]: { request: SlabActivityRequest, reply: SlabActivityReply, repeatable: true },
  // Not repeatable: done late it would undo what was written since.
  [M.TrimSlab]: { request: TrimSlabRequest, reply: Empty, repeatable: false },
  [M.Protect]: { request: ProtectRequest, reply: Empty, repeatable: false },
  [M.Counters]: { request: Empty, reply: JsonReply, repeatable: true },
  [M.MeasureStations]: {
    request: MeasureStationsRequest,
    reply: MeasureStationsReply,
    repeatable: true,
  },
  [M.PingSlowPath]: { request: Empty, reply: PingSlowPathReply, repeatable: true },
  [M.NodeRegions]: { request: NodeRegionsRequest, reply: NodeRegionsReply, repeatable: true },
  [M.GrantRegion]: { request: GrantRegionRequest, reply: Empty, repeatable: true },
  [M.Attach]: { request: AttachRequest, reply: AttachReply, repeatable: true },
  [M.Detach]: { request: DetachRequest, reply: Empty, repeatable: true },
  [M.OpenRange]: { request: OpenRangeRequest, reply: OpenWindowReply, repeatable: false },
  [M.RevokeWindow]: { request: RevokeWindowRequest, reply: Empty, repeatable: true },
  [M.Relocate]: { request: RelocateRequest, reply: RelocateReply, repeatable: true },
  [M.RaiseLease]: { request: RaiseLeaseRequest, reply: Empty, repeatable: true },
  [M.GrantLease]: { request: GrantLeaseRequest, reply: Empty, repeatable: true },
  [M.RenewLease]: { request: LeaseEpochRequest, reply: Empty, repeatable: true },
  [M.EndLease]: { request: LeaseEpochRequest, reply: Empty, repeatable: true },
  [M.InspectLease]: { request: InspectLeaseRequest, reply: InspectLeaseReply, repeatable: true },
  [M.NoteMark]: { request: NoteMarkRequest, reply: Empty, repeatable: true },
  [M.RemoveSpace]: { request: RemoveSpaceRequest, reply: Empty, repeatable: true },
  [M.JoinNode]: { request: JoinNodeRequest, reply: JoinReply, repeatable: true },
  [M.Heartbeat]: { request: HeartbeatRequest, reply: HeartbeatReply, repeatable: true },
  [M.NodeEnded]: { request: NodeEndedRequest, reply: Empty, repeatable: true },
  [M.JoinHost]: { request: JoinHostRequest, reply: JoinReply, repeatable: true },
  [M.HostHeartbeat]: { request: HostHeartbeatRequest, reply: HeartbeatReply, repeatable: true },
  [M.DescribeNode]: { request: DescribeNodeRequest, reply: DescribeNodeReply, repeatable: true },
  [M.OpenSpace]: { request: OpenSpaceRequest, reply: OpenSpaceReply, repeatable: false },
  [M.ListSpaces]: { request: ListSpacesRequest, reply: ListSpacesReply, repeatable: true },
  [M.RemoveSpaceByName]: { request: RemoveSpaceByNameRequest, reply: Empty, repeatable: false },
  [M.SpaceRegions]: { request: SpaceRegionsRequest, reply: SpaceRegionsReply, repeatable: true },
  [M.GrantRegions]: { request: GrantRegionsRequest, reply: SpaceRegionsReply, repeatable: false },
  [M.PutFiles]: { request: PutFilesRequest, reply: PutFilesReply, repeatable: false },
  [M.GetFile]: { request: FileRequest, reply: FileEntry, repeatable: true },
  [M.ListFiles]: { request: ListFilesRequest, reply: ListFilesReply, repeatable: true },
  [M.RemoveFile]: { request: FileRequest, reply: FileEntry, repeatable: false },
  [M.TakeGarbage]: { request: TakeGarbageRequest, reply: TakeGarbageReply, repeatable: true },
  [M.ForgetGarbage]: { request: ForgetGarbageRequest, reply: Empty, repeatable: true },
  [M.NoteDoor]: { request: NoteDoorRequest, reply: Empty, repeatable: true },
  [M.ListDoors]: { request: Empty, reply: ListDoorsReply, repeatable: true },
  [M.ListNodes]: { request: Empty, reply: ListNodesReply, repeatable: true },
  [M.ListMemories]: { request: ListMemoriesRequest, reply: ListMemoriesReply, repeatable: true },
  [M.RackStatus]: { request: Empty, reply: JsonReply, repeatable: true },
  [M.MoveOut]: { request: MoveOutRequest, reply: Empty, repeatable: true },
  [M.MoveProgress]: { request: MoveRequest, reply: MoveProgressReply, repeatable: true },
  [M.MovePrepare]: { request: MoveRequest, reply: Empty, repeatable: true },
  [M.MoveEntries]: { request: MoveEntriesRequest, reply: Empty, repeatable: false },
  [M.MovePages]: { request: MovePagesRequest, reply: Empty, repeatable: false },
  [M.MoveTake]: { request: MoveRequest, reply: Empty, repeatable: true },
  [M.MoveCancel]: { request: MoveRequest, reply: MoveProgressReply, repeatable: true },
  [M.MoveEnd]: { request: MoveRequest, reply: Empty, repeatable: true },
  [M.MoveOutForced]: { request: MoveOutRequest, reply: Empty, repeatable: true },
  [M.WhereIs]: { request: WhereIsRequest, reply: WhereIsReply, repeatable: true },
  [M.RegionsToGive]: { request: Empty, reply: RegionsToGiveReply, repeatable: true },
  [M.RegionSizes]: { request: Empty, reply: RegionSizesReply, repeatable: true },
  [M.NodeMoves]: { request: NodeMovesRequest, reply: NodeMovesReply, repeatable: true },
  [M.MoveOpenings]: { request: MoveOpeningsRequest, reply: Empty, repeatable: true },
  [M.AcquireLease]: { request: AcquireLeaseRequest, reply: AcquireLeaseReply, repeatable: false },
  [M.ExtendLease]: { request: ExtendLeaseRequest, reply: ExtendLeaseReply, repeatable: true },
  [M.HeldBefore]: { request: LeaseEpochRequest, reply: HeldBeforeReply, repeatable: true },
  [M.ShrinkLease]: { request: ShrinkLeaseRequest, reply: Empty, repeatable: true },
  [M.ReleaseLease]: { request: ReleaseLeaseRequest, reply: Empty, repeatable: true },
  [M.CreateDevice]: { request: CreateDeviceRequest, reply: Empty, repeatable: true },
  [M.OpenDevice]: { request: OpenDeviceRequest, reply: DeviceFacts, repeatable: true },
  [M.ListDevices]: { request: ListDevicesRequest, reply: ListDevicesReply, repeatable: true },
  [M.RemoveDevice]: { request: RemoveDeviceRequest, reply: Empty, repeatable: true },
  [M.ResizeDevice]: { request: ResizeDeviceRequest, reply: Empty, repeatable: true },
  [M.SetDeviceOptions]: { request: SetDeviceOptionsRequest, reply: Empty, repeatable: true },
  [M.NoteDevices]: { request: NoteDevicesRequest, reply: Empty, repeatable: true },
  [M.SeeDevices]: { request: SeeDevicesRequest, reply: SeeDevicesReply, repeatable: true },
  [M.GetSets]: { request: GetSetsRequest, reply: GetSetsReply, repeatable: true },
  [M.GrantSlabRegion]: {
    request: GrantSlabRegionRequest,
    reply: GrantSlabRegionReply,
    repeatable: true,
  },
  [M.GrantSlabRoom]: {
    request: GrantSlabRoomRequest,
    reply: GrantSlabRegionReply,
    repeatable: true,
  },
  [M.PutSet]: { request: PutSetRequest, reply: PutSetReply, repeatable: false },
} as const satisfies Partial<Record<MessageType, CallFacts>>;

export type CallType = keyof typeof CALLS;

/** What is sent with a call of type `T`. */
export type Request<T extends MessageType> = T extends CallType
  ? Fields<(typeof CALLS)[T]['request']>
  : never;

/** A call that was refused; `reason` is for people and may be empty. */
export interface Refused {
  readonly status: Exclude<Status, typeof Status.Ok>;
  readonly reason: string;
}

/** What comes back: the declared fields with status Ok, or why there are none. */
export type Reply<T extends MessageType> = T extends CallType
  ? ({ readonly status: typeof Status.Ok } & Fields<(typeof CALLS)[T]['reply']>) | Refused
  : never;

export function isCallType(type: number): type is CallType {
  return Object.hasOwn(CALLS, type);
}

const NAMES = new Map<number, string>(
  Object.entries(MessageType).map(([key, value]) => [value, key]),
);

/** For people: the name of a message type that may have come from outside. */
export function messageName(type: number): string {
  return NAMES.get(type) ?? `type ${type}`;
}
