/**
 * What people and programs ask of a rack: the controller as doors and the command line see it.
 *
 * Everything here is plain data, ready for JSON. Refusals are returned.
 */
import type { Metric } from '../base/metric.js';
import type { EventPage, EventQuery } from './event-pages.js';
import type { FileRow } from './metadata/schema.js';
import type { Finding } from './findings.js';
import type { FilePage } from './files.js';
import type { Result } from './refusal.js';

export interface RackStatus {
  /** `down`: nothing can be read or written. `degraded`: there is a finding that is an error. */
  readonly state: 'serving' | 'degraded' | 'down';
  readonly findings: readonly Finding[];
  /** Findings that were left out because there are too many. */
  readonly findingsOmitted: number;
  readonly nodes: { readonly serving: number; readonly away: number; readonly ended: number };
  readonly hosts: number;
  /** Memory nodes that are to be emptied, or have been. */
  readonly drains: readonly { readonly node: string; readonly state: DrainFacts['state'] }[];
  /** Regions on their way, the longest under way first. */
  readonly moves: readonly MoveFacts[];
  /** Those that were left out because there are too many. */
  readonly movesOmitted: number;
  readonly spaces: number;
  readonly regions: { readonly granted: number; readonly lost: number };
  readonly files: number;
  /** Names that somebody has held; who holds which the nodes know. */
  readonly leases: number;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  /** Block devices, those first that something is wrong with. */
  readonly devices: readonly DeviceFacts[];
  /** Those that were left out because there are too many. */
  readonly devicesOmitted: number;
  readonly uptimeMs: number;
}

/** A block device, and what its host told of it last. */
export interface DeviceFacts {
  readonly name: string;
  readonly bytes: number;
  /** Copies that each slab is to have. */
  readonly replicas: number;
  readonly slabBytes: number;
  /** Of the device, in slabs that have copies. */
  readonly bytesMapped: number;
  readonly slabsAbsent: number;
  readonly slabsKept: number;
  /** `waiting`: its host has no lease; `away`: the host that served it is silent; `idle`: none. */
  readonly state: 'served' | 'waiting' | 'away' | 'idle';
  readonly host?: string;
  /** Only where it is served: nobody else looks at them. */
  readonly slabs?: {
    readonly whole: number;
    readonly degraded: number;
    readonly away: number;
    readonly lost: number;
    /** Kept by a file of a host alone. */
    readonly inFile: number;
    readonly inDoubt: number;
  };
  /** Those that are used much, of a device that is served. */
  readonly slabsHot?: number;
  /** Counted since the process of the host began. */
  readonly activity?: {
    readonly read: OperationFacts;
    readonly write: OperationFacts;
    readonly waiting: number;
    readonly copiesMade: number;
    readonly copiesLost: number;
    readonly blocksRepaired: number;
    readonly blocksDamaged: number;
  };
}

export interface OperationFacts {
  readonly done: number;
  readonly bytes: number;
  readonly errors: number;
  /** Buckets whose bounds double, from 4 microseconds on; the last has no bound. */
  readonly times: readonly number[];
  /** What is counted there took in all. */
  readonly timesUs: number;
  /** Between what the host told last and before. */
  readonly perSecond?: { readonly done: number; readonly bytes: number };
  /** In that time; missing where none was timed. */
  readonly meanUs?: number;
  readonly p99Us?: number;
}

/** A region that is on its way. */
export interface MoveFacts {
  /** The name of its space. */
  readonly space: string;
  readonly region: number;
  readonly from: string;
  readonly to: string;
  /** Since it began, or since the controller started. */
  readonly ms: number;
}

export interface MemberFacts {
  readonly id: string;
  readonly kind: 'memory-node' | 'host';
  readonly address: string;
  readonly state: 'serving' | 'away' | 'ended';
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  readonly regions: number;
  /** 0 for hosts. */
  readonly pageBytes: number;
  readonly incarnation: number;
  readonly machine: string;
  /** Of the process that serves; only if it runs on the controller's machine. */
  readonly pid?: number;
  /** Only of a node that is to be emptied, or has been. */
  readonly drain?: DrainFacts['state'];
}

export interface SpaceFacts {
  readonly id: number;
  readonly name: string;
  readonly kind: string;
  /** 0 until the first region is granted. */
  readonly pageBytes: number;
  readonly regions: number;
  readonly regionsLost: number;
  readonly state: 'active' | 'removing';
}

/** A region of a space, and who has it. */
export interface RegionFacts {
  readonly region: number;
  readonly node: string;
  readonly epoch: number;
  /** `moving`: on its way from this node to another one. */
  readonly state: 'serving' | 'away' | 'lost' | 'moving';
}

/** Something that a drain waits for. */
export interface DrainWait {
  /** A region of a space, or a node. */
  readonly what: string;
  readonly reason: string;
  readonly remedy: string;
}

/** A memory node that is to be emptied, or has been. */
export interface DrainFacts {
  readonly node: string;
  /** `ended`: its memory was gone before everything had moved away. */
  readonly state: 'draining' | 'drained' | 'ended';
  readonly isForced: boolean;
  readonly regionsLeft: number;
  /** As of its last heartbeat. */
  readonly bytesLeft: number;
  readonly waits: readonly DrainWait[];
}

export interface ControllerApi {
  status(): RackStatus;
  /** Memory nodes and hosts, by id. */
  members(): MemberFacts[];
  /** By name. */
  spaces(): SpaceFacts[];
  createSpace(
    name: string,
    kind: string,
    pageBytes: number,
  ): Promise<Result<{ space: SpaceFacts; created: boolean }>>;
  removeSpace(name: string): Promise<Result<object>>;
  /** `isLost`: by the word of an operator its memory is gone, and with it what it holds. */
  removeNode(id: string, isLost: boolean): Promise<Result<{ regionsLost: number }>>;
  /** A copy of all metadata, as of now. Rejects with `DiskError`. */
  backup(): Promise<Uint8Array>;
  /** Of `SPACE_UNKNOWN`; `name` empty: `recovered-ID`. */
  adoptSpace(id: number, name: string): Promise<Result<{ space: SpaceFacts }>>;
  /** Of one space, in the order of their numbers. */
  regions(space: string): Result<{ regions: RegionFacts[] }>;
  /** Resolves when the region is at the node `to`, or with why it is not. */
  moveRegion(space: string, region: number, to: string): Promise<Result<object>>;
  /** Everything is to move away from the node, and nothing new comes to it. Idempotent. */
  drain(node: string, isForced: boolean): Promise<Result<{ drain: DrainFacts }>>;
  drains(): DrainFacts[];
  drainOf(node: string): Result<{ drain: DrainFacts }>;
  cancelDrain(node: string): Promise<Result<object>>;
  /** What happened, by sequence. */
  events(query: EventQuery): EventPage;
  files(prefix: string, after: string, limit: number): FilePage;
  file(key: string): Result<{ file: FileRow }>;
  /** Also asks the nodes that serve, and waits a second for them at most. */
  metrics(): Promise<Metric[]>;
}
