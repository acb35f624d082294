/** Regions that go from file to file, between whole nodes in the simulated world. */

import { setImmediate } from 'node:timers';
import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { createEndpoint, type Endpoint } from '../../fabric/endpoint.js';
import type { CompletionSink, Link, Window } from '../../fabric/link.js';
import { type SimulatedProcess, SimulatedWorld } from '../../runtime/simulated/world.js';
import { DEADLINE_AHEAD_MS_MAX } from '../../wire/datagram.js';
import { type CallType, MessageType, MoveState, type Request } from '../../wire/messages.js';
import { memoryNodeMain } from '../main.js';
import { MEMORY_NODE_ROLE } from '../process.js';
import { SLOW_PATH_THREAD } from '../slow/records.js';
import { slowPathThread } from '../slow/worker.js';
import { supervisorMain, type SupervisorReady } from '../supervisor.js';

const PAGE = 65536;
const FRAMES = 8;
const CALL_MS = 5_000;
const PLACE = { space: 1, region: 1 };

/** One node, as a client of its own sees it. */
class Node {
  readonly #world: SimulatedWorld;
  readonly #endpoint: Endpoint;
  readonly name: string;
  readonly #isDurable: boolean;
  #supervisor: SimulatedProcess | undefined;
  #link: Link | undefined;

  constructor(world: SimulatedWorld, endpoint: Endpoint, name: string, isDurable: boolean) {
    this.#world = world;
    this.#endpoint = endpoint;
    this.name = name;
    this.#isDurable = isDurable;
  }

  get #machine() {
    return this.#world.machine(this.name);
  }

  async start(create: boolean): Promise<void> {
    if (!this.#machine.up) this.#world.restart(this.#machine);
    const persistent = { path: '/memory', create, logBytes: 65536 };
    const supervisor = this.#world.start(this.#machine, 'supervisor', {
      id: this.name,
      // Nobody is there: only that a node reaches others.
      join: [`tcp://${this.#world.machine('nobody').host}:1`],
      listen: `tcp://${this.#machine.host}:7100`,
      memoryBytes: FRAMES * PAGE,
      pageBytes: PAGE,
      protectDonor: false,
      ...(this.#isDurable ? { persistent } : {}),
    });
    this.#supervisor = supervisor;
    const isOver = (): boolean => supervisor.readyMessage !== undefined || !supervisor.alive;
    expect(await this.#world.run({ until: isOver, forMs: 60_000 })).toBe('condition');
    expect(supervisor.alive).toBe(true);
  }

  /** Power goes away, and comes back. */
  async crash(): Promise<void> {
    this.#world.crash(this.#machine);
    await this.start(false);
  }

  get ready(): SupervisorReady {
    return this.#supervisor?.readyMessage as SupervisorReady;
  }

  get link(): Link {
    this.#link ??= this.#endpoint.link(this.ready.address, this.ready.memoryId);
    return this.#link;
  }

  /** Of now. */
  async opening(): Promise<number> {
    await this.state(1);
    return this.link.opening ?? 0;
  }

  call<T extends CallType>(type: T, request: Request<T>) {
    return this.#world.drive(this.link.call(type, request, CALL_MS));
  }

  async grant(epoch: number): Promise<void> {
    const { memoryId } = this.ready;
    const grant = { ...PLACE, epoch, pageBytes: PAGE, memoryId };
    expect((await this.call(MessageType.GrantRegion, grant)).status).toBe(Status.Ok);
  }

  async alloc(pages: number): Promise<number> {
    const request = { ...PLACE, bytes: pages * PAGE, wish: 0, flags: 0, nonce: 5 };
    const reply = await this.call(MessageType.Alloc, request);
    if (reply.status !== Status.Ok) throw new Error(reply.reason);
    const { address } = reply;
    await this.call(MessageType.ConfirmAlloc, { space: 1, nonce: 5, address });
    return address;
  }

  async window(): Promise<Window> {
    const window = await this.#world.drive(this.link.openWindow(1, CALL_MS));
    if (typeof window === 'number') throw new Error(`no window: ${window}`);
    return window;
  }

  async write(at: number, value: number): Promise<Status> {
    const window = await this.window();
    const bytes = new Uint8Array(8).fill(value);
    return this.#operation((sink, deadline) =>
      this.link.write(window, at, bytes, 0, 8, sink, 0, deadline),
    );
  }

  async read(at: number): Promise<number> {
    const window = await this.window();
    const into = new Uint8Array(8);
    const status = await this.#operation((sink, deadline) =>
      this.link.read(window, at, into, 0, 8, sink, 0, deadline),
    );
    return status === Status.Ok ? (into[0] as number) : -status;
  }

  #operation(start: (sink: CompletionSink, deadline: number) => void): Promise<Status> {
    const ended = new Promise<Status>((resolve) => {
      const sink = { completed: (_token: number, status: Status) => resolve(status) };
      start(sink, this.#world.nowMs + CALL_MS);
    });
    return this.#world.drive(ended);
  }

  async flush(at: number, opening: number): Promise<Status> {
    const request = { space: 1, opening, address: at, bytes: 8 };
    return (await this.call(MessageType.Flush, request)).status;
  }

  async state(epoch: number): Promise<number> {
    const reply = await this.call(MessageType.MoveProgress, { ...PLACE, epoch, more: 0 });
    return reply.status === Status.Ok ? reply.state : -reply.status;
  }
}

class Rack {
  readonly world: SimulatedWorld;
  readonly #endpoint: Endpoint;

  constructor(seed: number) {
    this.world = new SimulatedWorld({
      seed,
      immediate: setImmediate,
      roles: { supervisor: supervisorMain, [MEMORY_NODE_ROLE]: memoryNodeMain },
      threads: { [SLOW_PATH_THREAD]: slowPathThread },
    });
    this.#endpoint = createEndpoint(this.world.program(this.world.machine('c'), 'client').runtime);
  }

  async node(name: string, isDurable = true): Promise<Node> {
    const node = new Node(this.world, this.#endpoint, name, isDurable);
    await node.start(true);
    return node;
  }

  /** Returns what the source says at the end. */
  async move(from: Node, to: Node, held: number, epoch: number): Promise<number> {
    const { address, memoryId } = to.ready;
    const order = { ...PLACE, held, epoch, id: to.name, address, memoryId };
    expect(await from.call(MessageType.MoveOut, order)).toEqual({ status: Status.Ok });
    for (let i = 0; i < 1000; i++) {
      const state = await from.state(epoch);
      if (state === MoveState.GONE || state === MoveState.CANCELLED) return state;
      await this.world.run({ forMs: 2 });
    }
    throw new Error('the move does not end');
  }
}

/** Two nodes; the first one has a region with four pages, and has flushed a 7 in the first one. */
async function pair(seed: number) {
  const rack = new Rack(seed);
  const [a, b] = [await rack.node('a'), await rack.node('b')];
  await a.grant(1);
  const at = await a.alloc(4);
  expect(await a.write(at, 7)).toBe(Status.Ok);
  expect(await a.flush(at, await a.opening())).toBe(Status.Ok);
  return { rack, a, b, at };
}

test('what had not been flushed at the source is durable at the target', async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const { rack, a, b, at } = await pair(seed);
    const opening = await a.opening();
    expect(await a.write(at + PAGE, 9)).toBe(Status.Ok);
    expect(await rack.move(a, b, 1, 2)).toBe(MoveState.GONE);
    expect(await a.flush(at, opening)).toBe(Status.Moved);
    const own = await b.opening();
    expect(await b.write(at + 2 * PAGE, 5)).toBe(Status.Ok);
    expect(await b.flush(at + PAGE, opening)).toBe(Status.Ok);
    await b.crash();
    await a.crash();
    expect([await b.read(at), await b.read(at + PAGE)]).toEqual([7, 9]);
    // What was written there, and not flushed, may be gone; what was moved there is not.
    expect(await b.flush(at + PAGE, opening)).toBe(Status.Ok);
    expect(await b.flush(at + 2 * PAGE, own)).toBe(Status.DataLost);
    expect(await b.flush(at, 12345)).toBe(Status.DataLost);
    expect(await a.flush(at, 0)).toBe(Status.Moved);
    expect(await a.state(2)).toBe(MoveState.UNSURE);
  }
});

test('what the source had lost before is not told as flushed by the target', async () => {
  const { rack, a, b, at } = await pair(10);
  const lost = await a.opening();
  expect(await a.write(at + PAGE, 9)).toBe(Status.Ok);
  await a.crash();
  const opening = await a.opening();
  expect(await rack.move(a, b, 1, 2)).toBe(MoveState.GONE);
  expect(await b.flush(at + PAGE, lost)).toBe(Status.DataLost);
  expect(await b.flush(at + PAGE, opening)).toBe(Status.Ok);
});

test('openings go on from node to node, and not under the one of the file itself', async () => {
  const { rack, a, b, at } = await pair(20);
  const c = await rack.node('c1');
  const [first, second] = [await a.opening(), await b.opening()];
  expect(await rack.move(a, b, 1, 2)).toBe(MoveState.GONE);
  expect(await rack.move(b, c, 2, 3)).toBe(MoveState.GONE);
  expect(await c.flush(at, first)).toBe(Status.Ok);
  expect(await c.flush(at, second)).toBe(Status.Ok);
  await rack.world.run({ forMs: 2 * DEADLINE_AHEAD_MS_MAX + 1 });
  expect(await rack.move(c, a, 3, 4)).toBe(MoveState.GONE);
  expect(await a.write(at, 8)).toBe(Status.Ok);
  await a.crash();
  // Written here, the second time, under the opening of the first: it may be gone.
  expect(await a.flush(at, first)).toBe(Status.DataLost);
  expect(await a.flush(at, second)).toBe(Status.Ok);
});

test('a write that names an older opening of the file it comes back to may be lost', async () => {
  const { rack, a, b, at } = await pair(25);
  const [first, second] = [await a.opening(), await b.opening()];
  expect(await rack.move(a, b, 1, 2)).toBe(MoveState.GONE);
  await a.crash();
  expect(await a.opening()).not.toBe(first);
  await rack.world.run({ forMs: 2 * DEADLINE_AHEAD_MS_MAX + 1 });
  expect(await rack.move(b, a, 2, 3)).toBe(MoveState.GONE);
  // The link of a client that was idle meanwhile notes it under the opening it knows.
  expect(await a.write(at, 8)).toBe(Status.Ok);
  await a.crash();
  expect(await a.flush(at, first)).toBe(Status.DataLost);
  expect(await a.flush(at, second)).toBe(Status.Ok);
});

test('an older copy of a source lets go of what it serves when another node holds it', async () => {
  const { a, at } = await pair(28);
  const end = (epoch: number) => a.call(MessageType.MoveEnd, { ...PLACE, epoch, more: 1 });
  // An old word of the time before it came here.
  expect((await end(1)).status).toBe(Status.Ok);
  expect(await a.read(at)).toBe(7);
  expect((await end(2)).status).toBe(Status.Ok);
  expect(await a.state(2)).toBe(MoveState.UNSURE);
  expect(await a.flush(at, 0)).toBe(Status.Moved);
  await a.crash();
  expect(await a.state(2)).toBe(MoveState.UNSURE);
});

test('a region stays on a disk, or beside one', async () => {
  const { rack, a } = await pair(30);
  const dram = await rack.node('d', false);
  expect(await rack.move(a, dram, 1, 2)).toBe(MoveState.CANCELLED);
  expect(await dram.state(2)).toBe(MoveState.NEVER);
  const other = await rack.node('e', false);
  await other.grant(1);
  expect(await rack.move(other, await rack.node('f'), 1, 3)).toBe(MoveState.CANCELLED);
});
