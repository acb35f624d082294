/** Puts the real runtime together. All of one thread share its poller. */

import { threadId } from 'node:worker_threads';
import type { LogLevel, Runtime } from '../runtime.js';
import { nodeChecksum } from './node-checksum.js';
import { NodeTimers, nodeClock } from './node-clock.js';
import { nodeDatabases } from './node-database.js';
import { nodeDisk } from './node-disk.js';
import { nodeDurables } from './node-durable.js';
import { NodeEntropy } from './node-entropy.js';
import { createLog, type LogFormat } from './node-log.js';
import { NodeFuse } from './node-fuse.js';
import { nodeMemory } from './node-memory.js';
import { NodeNetwork } from './node-network.js';
import { NodeProcesses } from './node-processes.js';
import { NodeThreads } from './node-threads.js';
import { NodeTls } from './node-tls.js';
import { Poller } from './poller.js';
import { SoonQueue } from './soon.js';

/** Plain values, because they are handed on to threads. */
export interface NodeRuntimeOptions {
  /** Whether to poll for a moment instead of sleeping at once. Default: true. */
  readonly poll?: boolean;
  /** The part of one CPU that each thread may spend on polling in vain. Default: 0.5. */
  readonly pollShare?: number;
  /** Default: info. */
  readonly logLevel?: LogLevel;
  /** Default: text where stderr is a terminal, else JSON. */
  readonly logFormat?: LogFormat;
  /** Who logs: a role's name. Default: memrack. */
  readonly source?: string;
  /** The file that calls `runRole`; needed by `processes.spawn`. */
  readonly rolesEntry?: string;
  /** The file that calls `runThread`; needed by `threads.spawn`. */
  readonly threadsEntry?: string;
}

const POLL_SHARE = 0.5;

export interface NodeRuntime extends Runtime {
  /** With `serveHttp`, which only applications may know. */
  readonly network: NodeNetwork;
}

/** This thread's. Two that poll in turns would wait for each other. */
const soon = new SoonQueue();
const pollers: Map<number, Poller> = new Map();

function pollerOf(share: number): Poller {
  let poller = pollers.get(share);
  if (poller === undefined) {
    poller = new Poller(soon, { share });
    pollers.set(share, poller);
  }
  return poller;
}

export function createRuntime(options: NodeRuntimeOptions = {}): NodeRuntime {
  const poller = pollerOf(options.poll === false ? 0 : (options.pollShare ?? POLL_SHARE));
  const source = options.source ?? 'memrack';
  const log = createLog({
    level: options.logLevel ?? 'info',
    format: options.logFormat ?? 'auto',
    role: threadId === 0 ? source : `${source}/${threadId}`,
  });
  return {
    clock: nodeClock,
    timers: new NodeTimers(soon),
    network: new NodeNetwork({ poller, soon, log }),
    tls: new NodeTls({ poller, soon }),
    disk: nodeDisk,
    databases: nodeDatabases,
    memory: nodeMemory,
    durables: nodeDurables,
    fuse: new NodeFuse(poller, log),
    threads: new NodeThreads(poller, options.threadsEntry, options),
    processes: new NodeProcesses(options.rolesEntry),
    entropy: new NodeEntropy(),
    checksum: nodeChecksum,
    log,
  };
}
