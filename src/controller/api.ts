/**
 * What people and programs ask of a rack: the controller as doors and the command line see it.
 *
 * Everything here is plain data, ready for JSON. Refusals are returned.
 */
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
  readonly spaces: number;
  readonly regions: { readonly granted: number; readonly lost: number };
  readonly files: number;
  /** Names that somebody has held; who holds which the nodes know. */
  readonly leases: number;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  readonly uptimeMs: number;
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

/** One number of one series, as Prometheus understands it. */
export interface Metric {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly samples: readonly MetricSample[];
}

export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
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
  files(prefix: string, after: string, limit: number): FilePage;
  file(key: string): Result<{ file: FileRow }>;
  /** Also asks the nodes that serve, and waits a second for them at most. */
  metrics(): Promise<Metric[]>;
}
