/**
 * The controller's tables, and the rows that they hold.
 *
 * Columns are never renamed or given another meaning; a new one needs a new table. Counters hold
 * the next number to give out, so that a space id or an epoch is never used twice, not even after
 * what it named has been removed.
 */
import type { Epoch, RegionIndex, SpaceId } from '../../base/brands.js';
import type { Row, Schema } from '../../runtime/database.js';

export const SCHEMA = {
  counters: { columns: { name: 'text', next: 'integer' }, key: ['name'] },
  nodes: {
    columns: {
      id: 'text',
      memoryId: 'integer',
      incarnation: 'integer',
      address: 'text',
      machine: 'text',
      pid: 'integer',
      keeper: 'text',
      process: 'text',
      pageBytes: 'integer',
      bytesLent: 'integer',
      state: 'text',
    },
    key: ['id'],
  },
  /** Of nodes whose memory is on a disk. */
  disks: {
    columns: { node: 'text', opening: 'integer', fileSystem: 'text' },
    key: ['node'],
  },
  /** Regions that such a node has confirmed: it never holds them no more, unless told so. */
  kept: {
    columns: { space: 'integer', region: 'integer', epoch: 'integer' },
    key: ['space', 'region'],
  },
  spaces: {
    columns: {
      id: 'integer',
      name: 'text',
      kind: 'text',
      pageBytes: 'integer',
      nextRegion: 'integer',
      state: 'text',
    },
    key: ['id'],
  },
  regions: {
    columns: {
      space: 'integer',
      region: 'integer',
      epoch: 'integer',
      node: 'text',
      memoryId: 'integer',
      state: 'text',
    },
    key: ['space', 'region'],
  },
  files: {
    columns: {
      key: 'text',
      space: 'integer',
      address: 'integer',
      length: 'integer',
      sha256: 'text',
    },
    key: ['key'],
  },
  garbage: {
    columns: {
      space: 'integer',
      address: 'integer',
      length: 'integer',
      sinceMs: 'integer',
      taker: 'integer',
    },
    key: ['space', 'address'],
  },
  leases: {
    columns: { name: 'text', lease: 'integer', epoch: 'integer', nodes: 'text' },
    key: ['name'],
  },
  /** Keys of files that an older copy of the database knew: their places are never freed. */
  doubtfulFiles: { columns: { key: 'text' }, key: ['key'] },
  moves: {
    columns: {
      space: 'integer',
      region: 'integer',
      epoch: 'integer',
      fromNode: 'text',
      fromMemory: 'integer',
      fromEpoch: 'integer',
      toNode: 'text',
      toMemory: 'integer',
    },
    key: ['space', 'region'],
  },
  /** Nodes from which everything is to move away, by the word of an operator. */
  drains: {
    columns: { node: 'text', state: 'text', isForced: 'integer', sinceMs: 'integer' },
    key: ['node'],
  },
  /** What happened, the newest: see `history.ts`. */
  events: {
    columns: {
      sequence: 'integer',
      atMs: 'integer',
      kind: 'text',
      node: 'text',
      space: 'integer',
      spaceName: 'text',
      region: 'integer',
      epoch: 'integer',
      details: 'text',
    },
    key: ['sequence'],
  },
  devices: {
    columns: {
      name: 'text',
      device: 'integer',
      bytes: 'integer',
      slabBytes: 'integer',
      copies: 'integer',
      options: 'text',
      sinceMs: 'integer',
    },
    key: ['name'],
  },
  /** Which copies of a slab count: docs/internals/replication.md. */
  slabSets: {
    columns: { device: 'integer', slab: 'integer', generation: 'integer', copies: 'text' },
    key: ['device', 'slab'],
  },
  /** Numbers of devices that were removed: whatever a node has of them is nobody's. */
  removedDevices: { columns: { device: 'integer', sinceMs: 'integer' }, key: ['device'] },
  /** Ends of devices that were cut, until no node has copies beyond them. */
  cuts: { columns: { device: 'integer', slab: 'integer', epoch: 'integer' }, key: ['device'] },
  /** Processes since it was last known that this is the newest copy of the database. */
  starts: { columns: { commit: 'integer', instance: 'integer' }, key: ['commit'] },
} as const satisfies Schema;

/** `member`: it may come back with its memory. `ended`: its memory is proved to be gone. */
export type NodeRowState = 'member' | 'ended';

export interface NodeRow extends Row {
  readonly id: string;
  /** Random, made with the node's memory: another one means other, empty memory. */
  readonly memoryId: number;
  readonly incarnation: number;
  readonly address: string;
  readonly machine: string;
  readonly pid: number;
  /** Identities of the two processes that hold the memory: it is gone when both have ended. */
  readonly keeper: string;
  readonly process: string;
  readonly pageBytes: number;
  readonly bytesLent: number;
  readonly state: NodeRowState;
}

/** Of a node whose memory is on a disk. */
export interface DiskRow extends Row {
  readonly node: string;
  /** The opening of its file under which it joined last. */
  readonly opening: number;
  /** Where nobody has shown that it keeps what was flushed; else empty. */
  readonly fileSystem: string;
}

export interface KeptRow extends Row {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  readonly epoch: Epoch;
}

/** A space that is being removed stays until every node that holds a part of it has been told. */
export type SpaceRowState = 'active' | 'removing';

export interface SpaceRow extends Row {
  readonly id: SpaceId;
  readonly name: string;
  readonly kind: string;
  /** 0 until the first region is granted: the node that gets it decides. */
  readonly pageBytes: number;
  /** Regions below this one were given out, or found at a node, and are never granted again. */
  readonly nextRegion: RegionIndex;
  readonly state: SpaceRowState;
}

/** `lost`: the memory that held the only copy is gone. Final. */
export type RegionRowState = 'granted' | 'lost';

export interface RegionRow extends Row {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  readonly epoch: Epoch;
  readonly node: string;
  readonly memoryId: number;
  readonly state: RegionRowState;
}

export interface FileRow extends Row {
  readonly key: string;
  readonly space: SpaceId;
  readonly address: number;
  readonly length: number;
  readonly sha256: string;
}

export interface DoubtfulFileRow extends Row {
  readonly key: string;
}

/** A place that was a file's and is not freed yet. One at a time may free it, so it is once. */
export interface GarbageRow extends Row {
  readonly space: SpaceId;
  readonly address: number;
  readonly length: number;
  /** By the clock on the wall. */
  readonly sinceMs: number;
  /** Who frees it; 0: nobody yet. */
  readonly taker: number;
}

/** The highest epoch that may have been raised anywhere, and every node where that may be so. */
export interface LeaseRow extends Row {
  readonly name: string;
  /** By which nodes know it. */
  readonly lease: number;
  readonly epoch: number;
  /** As JSON: pairs of a node's id and the id of its memory. */
  readonly nodes: string;
}

/**
 * A region that is on its way from one memory to another, until both are known to know what became
 * of it. The region's own row says who owns it: the source, until the target has said that it holds
 * the region.
 */
export interface MoveRow extends Row {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  /** Under which the target is to hold it. */
  readonly epoch: Epoch;
  readonly fromNode: string;
  readonly fromMemory: number;
  readonly fromEpoch: Epoch;
  readonly toNode: string;
  readonly toMemory: number;
}

/** Something that happened. Numbers are 0 and texts empty where it has no such subject. */
export interface EventRow extends Row {
  /** Rises; the order of what happened, whatever the clock said. */
  readonly sequence: number;
  /** By the clock on the wall. */
  readonly atMs: number;
  /** Of `EventKind`; another version may have others. */
  readonly kind: string;
  readonly node: string;
  readonly space: number;
  readonly spaceName: string;
  readonly region: number;
  readonly epoch: number;
  /** As JSON: names and plain values. */
  readonly details: string;
}

/**
 * `drained`: nothing is there any more. `ended`: its memory was gone before that. In all three
 * nothing new comes to a node of this id, until an operator cancels or removes it.
 */
export type DrainState = 'draining' | 'drained' | 'ended';

/** Of an id, whatever memory stands behind it: a node that comes back is still not to be used. */
export interface DrainRow extends Row {
  readonly node: string;
  readonly state: DrainState;
  /** 1: also what clients would hold up. */
  readonly isForced: number;
  /** By the clock on the wall. */
  readonly sinceMs: number;
}

/** A block device: docs/internals/block-devices.md. */
export interface DeviceRow extends Row {
  readonly name: string;
  /** Random, chosen by who made it: nodes and leases know the device by it. */
  readonly device: number;
  readonly bytes: number;
  /** Memory of one slab. */
  readonly slabBytes: number;
  /** Of each slab, as many as are wanted. */
  readonly copies: number;
  /** As JSON, or empty. Read by who serves the device. */
  readonly options: string;
  /** By the clock on the wall. */
  readonly sinceMs: number;
}

/** A slab without a row was never written. */
export interface SlabSetRow extends Row {
  readonly device: number;
  readonly slab: number;
  /** Rises by one with each set. */
  readonly generation: number;
  /** As JSON: see `copiesText`. */
  readonly copies: string;
}

export interface RemovedDeviceRow extends Row {
  readonly device: number;
  /** By the clock on the wall. */
  readonly sinceMs: number;
}

export interface CutRow extends Row {
  readonly device: number;
  /** From this one on there is none any more. */
  readonly slab: number;
  /** Of the device's lease: whatever was taken under it, or before, is nobody's. */
  readonly epoch: number;
}

/** A process of the controller, in whose time nodes have not all answered, or not yet. */
export interface StartRow extends Row {
  /** The number of its first one. */
  readonly commit: number;
  /** Random: what nodes know of it. */
  readonly instance: number;
}

/**
 * `space`, `epoch`: the next number to give out. `client`: what the controller calls itself towards
 * nodes, the same in all its lives. `life`: how often it was started on this database, the run of
 * now included. `leaseEpoch`: of leases that have no row; every one that had has had a lower epoch.
 * `commit`: how many changes were made durable. `restoring`: not 0 while the database is known to
 * be older than the truth; `restores`: how often that has come to its end. `event`: the sequence of
 * the next event.
 */
export interface Numbers {
  readonly space: SpaceId;
  readonly epoch: Epoch;
  readonly client: number;
  readonly life: number;
  readonly leaseEpoch: number;
  readonly commit: number;
  readonly restoring: number;
  readonly restores: number;
  readonly event: number;
}

export type CounterName = keyof Numbers;

export const COUNTER_NAMES: readonly CounterName[] = [
  'space',
  'epoch',
  'client',
  'life',
  'leaseEpoch',
  'commit',
  'restoring',
  'restores',
  'event',
];
