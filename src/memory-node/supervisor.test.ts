import { NO_MARK } from '../controller/mark.js';
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { createEndpoint, type Endpoint } from '../fabric/endpoint.js';
import type { CompletionSink, Window } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import { type SimulatedProcess, SimulatedWorld } from '../runtime/simulated/world.js';
import type { ThreadMain } from '../runtime/thread-main.js';
import { REGION_BYTES } from '../wire/limits.js';
import { type DescribeNodeReply, MessageType, NodeState } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { SupervisorConfig } from './config.js';
import { memoryNodeMain } from './main.js';
import { EXIT_CANNOT_ADOPT, MEMORY_NODE_ROLE } from './process.js';
import { SLOW_PATH_THREAD } from './slow/records.js';
import { slowPathThread } from './slow/worker.js';
import { type SupervisorReady, supervisorMain } from './supervisor.js';

const PAGE = 65536;
const CALL_MS = 5_000;

/** A controller that only notes what it is told. */
function fakeController(endpoint: Endpoint) {
  const joins: { incarnation: number; regions: number; memoryId: number; address: string }[] = [];
  const beats: { bytesUsed: number; bytesCommitted: number }[] = [];
  const ended: number[] = [];
  let isKnown = 1;
  /** What is known of the id, as the controller would tell it. */
  let described: Fields<typeof DescribeNodeReply> | undefined;
  let isBusy = false;
  endpoint.serve(MessageType.DescribeNode, () => {
    if (isBusy) return { status: Status.Busy, reason: '' };
    if (described === undefined) return { status: Status.NotFound, reason: '' };
    return { status: Status.Ok, ...described };
  });
  endpoint.serve(MessageType.JoinNode, (request) => {
    const { incarnation, regions, memoryId, address, machine, keeper, process } = request;
    if (described !== undefined && described.memoryId !== memoryId) {
      if (ended.at(-1) !== described.memoryId) return { status: Status.Exists, reason: 'other' };
    }
    joins.push({ incarnation, regions: regions.length, memoryId, address });
    const { kind } = request;
    described = { memoryId, machine, keeper, process, state: NodeState.SERVING, kind };
    isKnown = 1;
    return { status: Status.Ok, heartbeatMs: 100, ...NO_MARK };
  });
  endpoint.serve(MessageType.Heartbeat, ({ bytesUsed, bytesCommitted }) => {
    beats.push({ bytesUsed, bytesCommitted });
    return { status: Status.Ok, known: isKnown, ...NO_MARK };
  });
  endpoint.serve(MessageType.NodeEnded, ({ memoryId }) => {
    ended.push(memoryId);
    return { status: Status.Ok };
  });
  const describe = (change: object): void => {
    if (described !== undefined) described = { ...described, ...change };
  };
  const busy = (now: boolean): void => void (isBusy = now);
  return { joins, beats, ended, describe, busy, forget: () => (isKnown = 0) };
}

class Rack {
  readonly world: SimulatedWorld;
  readonly client: Endpoint;
  readonly controllerEndpoint: Endpoint;
  readonly controller: ReturnType<typeof fakeController>;
  supervisor: SimulatedProcess | undefined;

  constructor(seed: number, roles: object = {}, slowPath: ThreadMain = slowPathThread) {
    this.world = new SimulatedWorld({
      seed,
      immediate: setImmediate,
      roles: { supervisor: supervisorMain, [MEMORY_NODE_ROLE]: memoryNodeMain, ...roles },
      threads: { [SLOW_PATH_THREAD]: slowPath },
    });
    this.client = createEndpoint(this.world.program(this.world.machine('c'), 'client').runtime);
    const controller = this.world.program(this.world.machine('b'), 'controller');
    this.controllerEndpoint = createEndpoint(controller.runtime);
    this.controller = fakeController(this.controllerEndpoint);
  }

  async start(more: Partial<SupervisorConfig> = {}): Promise<this> {
    const listener = await this.wait(this.controllerEndpoint.listen('tcp://0.0.0.0:7070'));
    expect(listener.address).toContain('7070');
    return this.startNode('a', more);
  }

  startNode(machineName: string, more: Partial<SupervisorConfig> = {}): this {
    const machine = this.world.machine(machineName);
    const config: SupervisorConfig = {
      id: 'n1',
      listen: `tcp://${machine.host}:0`,
      join: [`tcp://${this.world.machine('b').host}:7070`],
      memoryBytes: 8 * PAGE,
      pageBytes: PAGE,
      ...more,
    };
    this.supervisor = this.world.start(machine, 'supervisor', config);
    return this;
  }

  get isReady(): boolean {
    return this.supervisor?.readyMessage !== undefined;
  }

  get ready(): SupervisorReady {
    return this.supervisor?.readyMessage as SupervisorReady;
  }

  get node(): SimulatedProcess | undefined {
    return this.world.processes.find((process) => process.role === MEMORY_NODE_ROLE);
  }

  async until(condition: () => boolean, forMs = 60_000): Promise<void> {
    expect(await this.world.run({ until: condition, forMs })).toBe('condition');
  }

  async wait<T>(promise: Promise<T>): Promise<T> {
    let result: { value: T } | undefined;
    void promise.then((value) => {
      result = { value };
    });
    await this.until(() => result !== undefined);
    return (result as { value: T }).value;
  }
}

/** One operation of a link, as a promise. */
function operation(start: (sink: CompletionSink) => void): Promise<[Status, number]> {
  return new Promise((resolve) => {
    start({ completed: (_token, status, _outcome, low) => resolve([status, low]) });
  });
}

test('a node serves, joins, is killed, and goes on with its memory and address', async () => {
  const rack = await new Rack(5).start();
  await rack.until(() => rack.controller.beats.length > 0 && rack.isReady);
  const { address, memoryId } = rack.ready;
  expect(rack.controller.joins).toEqual([{ incarnation: 1, regions: 0, memoryId, address }]);
  const link = rack.client.link(address);
  const grant = { space: 1, region: 1, epoch: 1, pageBytes: PAGE, memoryId };
  await rack.wait(link.call(MessageType.GrantRegion, grant, CALL_MS));
  const request = { space: 1, region: 1, bytes: PAGE, wish: 0, flags: 0, nonce: 3 };
  const alloc = await rack.wait(link.call(MessageType.Alloc, request, CALL_MS));
  const at = alloc.status === Status.Ok ? alloc.address : 0;
  expect(at).toBeGreaterThanOrEqual(REGION_BYTES);
  const made = { space: 1, address: at, nonce: 3 };
  await rack.wait(link.call(MessageType.ConfirmAlloc, made, CALL_MS));
  const window = (await rack.wait(link.openWindow(1, CALL_MS))) as Window;
  const add = (): Promise<[Status, number]> => {
    const deadline = rack.world.nowMs + 1e9;
    return rack.wait(operation((sink) => link.fetchAndAdd(window, at, 1, 0, sink, 0, deadline)));
  };
  expect([await add(), await add()]).toEqual([
    [Status.Ok, 0],
    [Status.Ok, 1],
  ]);
  const node = rack.node;
  if (node !== undefined) rack.world.kill(node);
  await rack.until(() => rack.controller.joins.length === 2);
  expect(rack.controller.joins[1]).toEqual({ incarnation: 2, regions: 1, memoryId, address });
  expect(await add()).toEqual([Status.Ok, 2]);
  await rack.world.run({ forMs: 1_000 });
  expect(rack.controller.beats.at(-1)).toEqual({ bytesUsed: PAGE, bytesCommitted: PAGE });
  rack.controller.forget();
  await rack.until(() => rack.controller.joins.length === 3);
});

test('stopped in order it says that its memory is gone, and ends its process', async () => {
  const rack = await new Rack(6).start();
  await rack.until(() => rack.supervisor?.running !== undefined);
  const { memoryId } = rack.ready;
  if (rack.supervisor !== undefined) rack.world.terminate(rack.supervisor);
  await rack.until(() => rack.supervisor?.alive === false);
  expect(rack.supervisor?.exit?.code).toBe(0);
  expect(rack.controller.ended).toEqual([memoryId]);
  await rack.world.run({ forMs: 100 });
  expect(rack.node).toBeUndefined();
});

test('with its supervisor the node dies', async () => {
  const rack = await new Rack(7).start();
  await rack.until(() => rack.supervisor?.running !== undefined);
  if (rack.supervisor !== undefined) rack.world.kill(rack.supervisor);
  await rack.until(() => rack.node === undefined);
});

test('a process that cannot run is given up, with its reason', async () => {
  const fails = (code: number) => (runtime: { processes: { exit(code: number): never } }) =>
    Promise.resolve().then(() => runtime.processes.exit(code));
  for (const [code, reason] of [
    [EXIT_CANNOT_ADOPT, 'cannot be taken over'],
    [3, '8 times in a row'],
  ] as const) {
    const rack = await new Rack(8, { [MEMORY_NODE_ROLE]: fails(code) }).start();
    await rack.until(() => rack.supervisor?.alive === false, 600_000);
    expect(rack.supervisor?.exit?.reason).toContain(reason);
  }
});

test('a slow path that dies takes its process along, and a new one goes on', async () => {
  let starts = 0;
  const dying: ThreadMain = (runtime, start) => {
    starts += 1;
    const main = slowPathThread(runtime, start);
    if (starts > 1) return main;
    return Promise.race([
      main,
      sleep(runtime.timers, 500).then(() => Promise.reject(new Error('x'))),
    ]);
  };
  const rack = await new Rack(11, {}, dying).start();
  await rack.until(() => rack.controller.joins.length === 2);
  expect(rack.controller.joins.map((join) => join.incarnation)).toEqual([1, 2]);
  expect(starts).toBe(2);
});

test('memory that is damaged is given up, and the controller is told so', async () => {
  const rack = await new Rack(12).start();
  await rack.until(() => rack.supervisor?.running !== undefined);
  const { runtime } = rack.supervisor ?? {};
  const { memoryId } = rack.ready;
  const table = runtime?.memory.adopt(3);
  expect(table?.name).toContain('table');
  table?.map(0, 4096).words.fill(0x5a5a5a5a, 0, 8);
  const { node } = rack;
  if (node !== undefined) rack.world.kill(node);
  await rack.until(() => rack.supervisor?.alive === false);
  expect(rack.controller.ended).toEqual([memoryId]);
  expect(rack.supervisor?.exit?.code).toBe(1);
});

test('too little memory is said before anything is started', async () => {
  const rack = await new Rack(9).start({ memoryBytes: 2 ** 50, pageBytes: 2 ** 30 });
  await rack.until(() => rack.supervisor?.alive === false);
  expect(rack.supervisor?.exit?.reason).toMatch(/lending 1024 TiB needs .* only .* available/);
});

test('a taken port is replaced by a free one after a restart', async () => {
  const rack = await new Rack(10).start();
  await rack.until(() => rack.supervisor?.running !== undefined);
  const { address } = rack.ready;
  const { node } = rack;
  if (node !== undefined) rack.world.kill(node);
  const thief = createEndpoint(rack.world.program(rack.world.machine('a'), 'thief').runtime);
  await rack.wait(thief.listen(address));
  await rack.until(() => rack.controller.joins.length === 2);
  expect(rack.controller.joins[1]?.address).not.toBe(address);
});

async function joined(seed: number): Promise<Rack> {
  const rack = await new Rack(seed).start({ machine: 'a' });
  await rack.until(() => rack.controller.joins.length === 1 && rack.ready !== undefined);
  return rack;
}

test('a successor on the same machine proves that the memory before is gone', async () => {
  const rack = await joined(21);
  const { memoryId } = rack.ready;
  const [supervisor, node] = [rack.supervisor, rack.node];
  if (supervisor === undefined || node === undefined) throw new Error('not started');
  rack.controller.describe({ state: NodeState.AWAY });
  // Stopped, it answers nobody and its memory is there.
  rack.world.pause(supervisor);
  rack.world.pause(node);
  rack.startNode('a', { machine: 'a' });
  expect(await rack.world.run({ forMs: 30_000 })).toBe('time');
  expect([rack.controller.ended, rack.controller.joins.length]).toEqual([[], 1]);
  // One of the two is not enough: either may hold it.
  rack.world.kill(node);
  expect(await rack.world.run({ forMs: 10_000 })).toBe('time');
  expect([rack.controller.ended, rack.controller.joins.length]).toEqual([[], 1]);
  rack.world.kill(supervisor);
  await rack.until(() => rack.controller.joins.length === 2);
  expect(rack.controller.ended).toEqual([memoryId]);
});

test('a successor elsewhere, or after a crash of the machine, proves nothing', async () => {
  const rack = await joined(22);
  const machine = rack.world.machine('a');
  rack.world.crash(machine);
  rack.controller.describe({ state: NodeState.AWAY });
  rack.world.restart(machine);
  rack.startNode('a', { machine: 'a' });
  rack.startNode('d', { machine: 'd' });
  expect(await rack.world.run({ forMs: 30_000 })).toBe('time');
  expect([rack.controller.ended, rack.controller.joins.length]).toEqual([[], 1]);
});

test('an operator can say that the memory before is gone, unless it is served', async () => {
  const rack = await joined(23);
  const { memoryId } = rack.ready;
  rack.startNode('d', { machine: 'd', replace: true });
  expect(await rack.world.run({ forMs: 10_000 })).toBe('time');
  expect([rack.controller.ended, rack.controller.joins.length]).toEqual([[], 1]);
  rack.world.crash(rack.world.machine('a'));
  rack.controller.describe({ state: NodeState.AWAY });
  await rack.until(() => rack.controller.joins.length === 2);
  expect(rack.controller.ended).toEqual([memoryId]);
});

test("an operator's word is kept until the controller has heard it", async () => {
  const rack = await joined(24);
  rack.world.crash(rack.world.machine('a'));
  rack.controller.describe({ state: NodeState.AWAY });
  rack.controller.busy(true);
  rack.startNode('d', { machine: 'd', replace: true });
  await rack.until(() => rack.node?.running !== undefined);
  if (rack.node !== undefined) rack.world.kill(rack.node);
  await rack.until(() => rack.node?.running !== undefined);
  expect(rack.controller.joins.length).toBe(1);
  rack.controller.busy(false);
  await rack.until(() => rack.controller.joins.length === 2);
  expect(rack.controller.joins[1]?.incarnation).toBe(2);
});
