/** The controller's process: what it serves, and how it begins and ends. */
import type { FabricCounters } from '../fabric/counters.js';
import { createEndpoint, type Endpoint } from '../fabric/endpoint.js';
import { placementPolicy } from '../policies/placement/placement-policies.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';
import type { ControllerApi, Metric } from './api.js';
import { checkConfig, type ControllerConfig } from './config.js';
import { Controller } from './controller.js';
import { serveController } from './handlers.js';
import { localApi } from './local-api.js';
import { NODE_COUNTERS_MS, NodeMetrics } from './node-metrics.js';
import { openMetadata } from './metadata/open.js';
import { PeerLeaseCalls } from './lease-calls.js';
import { PeerCalls } from './peer-calls.js';
import { isLocalAddress } from './report.js';

/** What is stored is known only after a restart. */
const EXIT_METADATA_FAILED = 1;

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
  const { clock, timers, databases, entropy } = runtime;
  const { metadata, identity } = await openMetadata({
    databases,
    entropy,
    folder: checked.data,
    failed: (reason) => endForMetadata(runtime, reason),
  });
  const endpoint = createEndpoint(runtime, identity);
  const calls = new PeerCalls((address, memoryId) => endpoint.peer(address, memoryId));
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
    awayMs,
  });
  await controller.resume();
  const place = { address: '' };
  const nodeMetrics = new NodeMetrics({
    clock,
    nodes: () =>
      controller.membership.serving().map(({ row }) => ({
        id: row.id,
        ask: () => calls.at(row).call(MessageType.Counters, {}, NODE_COUNTERS_MS),
      })),
  });
  const api = localApi(controller, {
    clock: runtime.clock,
    address: () => place.address,
    machine: checked.machine,
    isDurable: checked.data !== undefined,
    otherMetrics: async () => [...fabricMetrics(endpoint.counters), ...(await nodeMetrics.read())],
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
  if (!isLocalAddress(address)) {
    runtime.log.write('warn', 'whoever reaches this address can do everything', { address });
  }
  runtime.processes.ready({ address, pid: runtime.processes.pid } satisfies ControllerReady);
  return { address, api, stop: end };
}

/** Not from within the commit that failed: it has a caller, who is to hear nothing any more. */
function endForMetadata({ log, processes, timers }: Runtime, reason: unknown): void {
  const text = reason instanceof Error ? reason.message : String(reason);
  log.write('error', `metadata could not be stored, the controller ends: ${text}`);
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

function fabricMetrics({ malformed, ...counters }: FabricCounters): Metric[] {
  const plain = Object.entries(counters).map(
    ([key, value]): Metric => ({
      name: `memrack_fabric_${snakeCase(key)}_total`,
      kind: 'counter',
      help: 'Of the connections of the controller; see src/fabric/counters.ts.',
      samples: [{ labels: {}, value }],
    }),
  );
  const kinds = Object.entries(malformed).map(([kind, value]) => ({ labels: { kind }, value }));
  const help = 'Connections closed because of what came over them.';
  return [
    ...plain,
    { name: 'memrack_fabric_malformed_total', kind: 'counter', help, samples: kinds },
  ];
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
