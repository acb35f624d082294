/**
 * The entry of the package: what `import { connect } from 'memrack'` gives.
 *
 * One real runtime per process and polling choice, made at the first `connect`.
 */

import type { BlockingSpace } from '../client/blocking/blocking-space.js';
import { joinBlockingSpace } from '../client/blocking/join.js';
import type { BlockingStart } from '../client/blocking/port.js';
import { isServedHere } from '../client/blocking/service.js';
import { MemrackError } from '../client/error.js';
import type { ConnectOptions } from '../client/options.js';
import { connectRack, type Rack } from '../client/rack.js';
import { createRuntime, type NodeRuntime } from '../runtime/node/create-runtime.js';

export type { BlockingSpace } from '../client/blocking/blocking-space.js';
export type { BlockingOptions } from '../client/blocking/options.js';
export type { BlockingStart } from '../client/blocking/port.js';
export type { BlockingService } from '../client/blocking/service.js';
export { type ErrorCode, MemrackError } from '../client/error.js';
export type { Rights } from '../client/held-memory.js';
export type { Member } from '../client/control.js';
export type { NodeNumbers } from '../client/node-watch.js';
export type { FabricCounts, LinkCounts, RackCounters } from '../client/counters.js';
export type { FileFacts, FileDirectory } from '../client/files.js';
export type { Lease, LeaseWindow } from '../client/lease.js';
export type { LeaseOptions } from '../client/leases.js';
export type { ConnectOptions } from '../client/options.js';
export type { AcquireOptions, HeldLock, Lock } from '../client/locks/lock.js';
export type { Rack, SpaceOptions, SpaceSummary } from '../client/rack.js';
export type {
  AllocOptions,
  ReadItem,
  RemoteSpace,
  RemoteSpace as Space,
  WriteItem,
} from '../client/space.js';
export type { RangeWindow } from '../client/window.js';
export type { WindowRights } from '../client/window-token.js';
export type { Outcome } from '../base/status.js';

const runtimes = new Map<boolean, NodeRuntime>();

function runtimeFor(poll: boolean): NodeRuntime {
  let runtime = runtimes.get(poll);
  if (runtime === undefined) {
    runtime = createRuntime({ poll, source: 'client', logLevel: 'warn' });
    runtimes.set(poll, runtime);
  }
  return runtime;
}

/**
 * Connects to a rack, for example `memrack://127.0.0.1:7070`. Rejects with `Unavailable` when no
 * controller answers there in time.
 */
export function connect(url: string, options: ConnectOptions = {}): Promise<Rack> {
  return connectRack(runtimeFor(options.poll ?? true), url, options);
}

/**
 * In a worker thread that was handed the `start` of `space.blocking()`: the space, with verbs that
 * are done when they return. One thread to a start, and not the one that made it: that serves it.
 */
export function joinBlocking(start: BlockingStart): BlockingSpace {
  if (isServedHere(start)) {
    const remedy = 'hand the start over to a worker thread, and join there';
    throw new MemrackError('Invalid', 'this thread itself serves the space', { remedy });
  }
  return joinBlockingSpace(runtimeFor(true), start);
}
