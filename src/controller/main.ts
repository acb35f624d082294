/** The controller's process: what it serves, and how it begins and ends. */
import { createEndpoint, type Endpoint } from '../fabric/endpoint.js';
import { placementPolicy } from '../policies/placement/placement-policies.js';
import { rebalancingPolicy } from '../policies/rebalancing/rebalancing-policies.js';
import type { Clock } from '../runtime/clock.js';
import { DiskError } from '../runtime/disk.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';
import type { ControllerApi } from './api.js';
import { checkConfig, type ControllerConfig } from './config.js';
import { Controller } from './controller.js';
import { serveController } from './handlers.js';
import { localApi } from './local-api.js';
import { commitMetrics, fabricMetrics } from './metrics.js';
import { NODE_COUNTERS_MS, NodeMetrics } from './node-metrics.js';
import { openMetadata } from './metadata/open.js';
import { PeerLeaseCalls } from './lease-calls.js';
import { PeerCalls } from './peer-calls.js';
import { isLocalAddress } from './report.js';
import { TimedDatabases } from './timed-databases.js';

/** What is stored is known only after a restart. */
const EXIT_METADATA_FAILED = 1;
const ROOM_IS_NEEDED =
  'make room on that disk: what was told is stored, and it goes on when it is started again';

export interface RunningController extends RunningRole {
  readonly api: ControllerApi;
}

/** What the process tells its parent once it serves. */
export interface ControllerReady {
  readonly address: string;
  readonly pid: number;
}

/** Rejects with `ConfigError`, `DiskError` (metadata) or `NetworkError` (the address). */
export const controllerMain: RoleMain<ControllerConfig> = (runtime, config) =>
  startController(runtime, config);

export async function startController(
  runtime: Runtime,
  config: ControllerConfig,
): Promise<RunningController> {
  const checked = checkConfig(config);
  const { clock, timers, entropy } = runtime;
  const databases = new TimedDatabases(runtime.databases, clock);
  const { metadata, identity } = await openMetadata({
    databases,
    entropy,
    clock,
    folder: checked.data,
    failed: (reason) => endForMetadata(runtime, reason),
  });
  const endpoint = createEndpoint(runtime, identity);
  const calls = new PeerCalls(
    (address, memoryId) => endpoint.peer(address, memoryId),
    (before) => endpoint.numberConnectionsFrom(before),
  );
  const policy = placementPolicy(checked.placement);
  const { awayMs } = checked;
  const controller = new Controller({
    clock,
    timers,
    entropy,
    metadata,
    calls,
    leaseCalls: new PeerLeaseCalls((node) => calls.at(node)),
    policy,
    rebalancing: rebalancingPolicy(checked.rebalancing),
    awayMs,
    slabBytesMin: checked.slabBytesMin,
    restorationNoted: (what) => noteRestoration(runtime, what),
    drainNoted: (id, what) => noteDrain(runtime, id, what),
  });
  await controller.resume();
  const place = { address: '' };
  const nodeMetrics = metricsOfNodes(clock, controller, calls);
  const api = localApi(controller, {
    clock,
    timers,
    address: () => place.address,
    machine: checked.machine,
    isDurable: checked.data !== undefined,
    otherMetrics: async () => [
      ...commitMetrics(databases.commits.counts()),
      ...fabricMetrics(endpoint.counters),
      ...(await nodeMetrics.read()),
    ],
  });
  serveController((type, handler) => endpoint.serve(type, handler), {
    controller,
    api,
    heartbeatMs: checked.heartbeatMs,
    log: runtime.log,
  });
  const end = endOf(endpoint, calls, controller);
  try {
    place.address = (await endpoint.listen(checked.listen)).address;
  } catch (error) {
    await end();
    throw error;
  }
  const { address } = place;
  warnIfPublic(runtime, address);
  runtime.processes.ready({ address, pid: runtime.processes.pid } satisfies ControllerReady);
  return { address, api, stop: end };
}

function metricsOfNodes(clock: Clock, controller: Controller, calls: PeerCalls): NodeMetrics {
  const nodes = () =>
    controller.membership.serving().map(({ row }) => ({
      id: row.id,
      ask: () => calls.at(row).call(MessageType.Counters, {}, NODE_COUNTERS_MS),
    }));
  return new NodeMetrics({ clock, nodes });
}

function warnIfPublic({ log }: Runtime, address: string): void {
  if (isLocalAddress(address)) return;
  const code = 'LISTENING_WITHOUT_AUTHENTICATION';
  log.write('warn', 'whoever reaches this address can do everything', { code, address });
}

function noteRestoration({ log }: Runtime, what: 'begun' | 'ended'): void {
  const text = what === 'begun' ? 'all nodes are asked' : 'all nodes have told what they hold';
  log.write('warn', `the metadata is an older copy: ${text}`, { code: 'METADATA_OLDER_COPY' });
}

const DRAIN_NOTES = {
  draining: 'everything is to move away from a memory node',
  drained: 'a memory node holds nothing any more',
  ended: 'the memory of a node was gone before everything had moved away',
  cancelled: 'a memory node is used again that was to be emptied',
} as const;

function noteDrain({ log }: Runtime, id: string, what: keyof typeof DRAIN_NOTES): void {
  log.write(what === 'ended' ? 'warn' : 'info', DRAIN_NOTES[what], { code: 'NODE_DRAIN', id });
}

/** Not from within the commit that failed: it has a caller, who is to hear nothing any more. */
function endForMetadata({ log, processes, timers }: Runtime, reason: unknown): void {
  const text = reason instanceof Error ? reason.message : String(reason);
  const isFull = reason instanceof DiskError && reason.kind === 'full';
  const remedy = isFull ? `; ${ROOM_IS_NEEDED}` : '';
  log.write('error', `metadata could not be stored, the controller ends: ${text}${remedy}`, {
    code: 'METADATA_NOT_STORED',
  });
  timers.soon(() => processes.exit(EXIT_METADATA_FAILED));
}

/** In order, once. */
function endOf(endpoint: Endpoint, calls: PeerCalls, controller: Controller): () => Promise<void> {
  let ended: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    calls.close();
    await endpoint.close();
    await controller.close();
  };
  return () => (ended ??= end());
}
