/**
 * The world, as one value that is passed in.
 *
 * `runtime/node` is the real one, `runtime/simulated` a whole rack from one seed; the suite in
 * `conformance.ts` holds both to the same behaviour. Everything in the core reaches the outside
 * through this and nothing else.
 */

import type { Clock, Timers } from './clock.js';
import type { Databases } from './database.js';
import type { Disk } from './disk.js';
import type { DurableFiles } from './durable.js';
import type { Fuse } from './fuse.js';
import type { Memory } from './memory.js';
import type { Network } from './network.js';
import type { Processes } from './processes.js';
import type { Threads } from './threads.js';
import type { Tls } from './tls.js';

export interface Entropy {
  /** An integer in [0, 2^32). */
  u32(): number;
  /** An integer in [1, 2^53). */
  u53(): number;
  /** In [0, 1). */
  fraction(): number;
}

export interface Checksum {
  /** CRC-32C (Castagnoli) of `bytes[start, end)`, continuing from `seed` (0 to begin). */
  crc32c(bytes: Uint8Array, start: number, end: number, seed?: number): number;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface Log {
  /** One event. `fields` are plain values. Not for the data path. */
  write(level: LogLevel, message: string, fields?: Record<string, unknown>): void;
}

export interface Runtime {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly network: Network;
  readonly tls: Tls;
  readonly disk: Disk;
  readonly databases: Databases;
  readonly memory: Memory;
  readonly durables: DurableFiles;
  readonly fuse: Fuse;
  readonly threads: Threads;
  readonly processes: Processes;
  readonly entropy: Entropy;
  readonly checksum: Checksum;
  readonly log: Log;
}

/** What every role's `main` returns once it serves. */
export interface RunningRole {
  /** Where it listens; empty for a role that does not. */
  readonly address: string;
  /** Ends it in order; idempotent. */
  stop(): Promise<void>;
}

/** The `main` of a role: the same function on a real machine and in the simulator. */
export type RoleMain<Config> = (runtime: Runtime, config: Config) => Promise<RunningRole>;
