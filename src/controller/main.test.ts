/**
 * The controller's process among simulated nodes and clients: killed, paused, cut off, its disk
 * failing; then everything is calm, and what was answered is compared with what there is.
 */
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { createEndpoint } from '../fabric/endpoint.js';
import type { Peer } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import type { RoleMain, Runtime } from '../runtime/runtime.js';
import { ROUGH_FAULTS, SimulatedWorld, type SimulatedProcess } from '../runtime/simulated/world.js';
import {
  MessageType as M,
  NodeState,
  type CallType,
  type Reply,
  type Request,
} from '../wire/messages.js';
import { controllerMain } from './main.js';
import { NO_MARK } from './mark.js';

interface Held {
  readonly space: number;
  readonly region: number;
  readonly epoch: number;
}

/** What nodes hold; outlives their processes, as memory does. */
type Memories = Map<string, Map<string, Held>>;

const HEARTBEAT_MS = 100;
const AWAY_MS = 400;
const CONTROLLER = 'tcp://10.0.0.1:7070';

interface NodeConfig {
  readonly id: string;
  readonly incarnation: number;
}

function nodeMain(memories: Memories): RoleMain<NodeConfig> {
  return async (runtime, { id, incarnation }) => {
    const held = memories.get(id) ?? new Map<string, Held>();
    memories.set(id, held);
    const memoryId = memoryIdOf(id);
    const endpoint = createEndpoint(runtime, { incarnation, memoryId });
    endpoint.serve(M.GrantRegion, ({ space, region, epoch }) => {
      const known = held.get(`${space}/${region}`);
      if (known !== undefined && known.epoch > epoch) return { status: Status.Stale, reason: '' };
      held.set(`${space}/${region}`, { space, region, epoch });
      return { status: Status.Ok };
    });
    endpoint.serve(M.RemoveSpace, ({ space }) => {
      for (const [key, grant] of held) if (grant.space === space) held.delete(key);
      return { status: Status.Ok };
    });
    endpoint.serve(M.NodeRegions, () => ({
      status: Status.Ok,
      more: 0,
      regions: [...held.values()],
    }));
    endpoint.serve(M.NoteMark, () => ({ status: Status.Ok }));
    const { address } = await endpoint.listen(`tcp://${id}:7100`);
    void joinForEver(runtime, endpoint.peer(CONTROLLER), { id, incarnation, address, held });
    return { address, stop: () => endpoint.close() };
  };
}

const memoryIdOf = (id: string): number => 1 + Number(id.replaceAll('.', ''));

async function joinForEver(
  runtime: Runtime,
  controller: Peer,
  node: { id: string; incarnation: number; address: string; held: Map<string, Held> },
): Promise<void> {
  const { id, incarnation, address } = node;
  const memoryId = memoryIdOf(id);
  const bytes = { bytesLent: 2 ** 40, bytesUsed: 0, bytesCommitted: 0 };
  const donor = { bytesToGive: 0, donor: 0 };
  for (;;) {
    const regions = [...node.held.values()];
    const facts = { id, memoryId, incarnation, address, machine: id, pid: 1, pageBytes: 65536 };
    const kind = { kind: 0, isTrusted: 0, fileSystem: '', openings: [] };
    const own = { ...facts, ...kind, ...bytes, keeper: '', process: '' };
    const request = { ...own, ...NO_MARK, regions };
    const joined = await controller.call(M.JoinNode, request, 1_000);
    for (let known = joined.status === Status.Ok; known; ) {
      await sleep(runtime.timers, HEARTBEAT_MS);
      const beat = { id, memoryId, incarnation, state: NodeState.SERVING, ...bytes, ...donor };
      const reply = await controller.call(M.Heartbeat, beat, 1_000);
      known = reply.status === Status.Ok && reply.known === 1;
    }
    await sleep(runtime.timers, HEARTBEAT_MS);
  }
}

/** What clients were told, and must hold ever after. */
class Told {
  readonly grants = new Map<string, string>();
  readonly spaces = new Map<string, number>();
  readonly files = new Set<string>();
  readonly removed = new Set<number>();
  operations = 0;
  done = 0;
}

async function insist<T extends CallType>(
  runtime: Runtime,
  peer: Peer,
  type: T,
  request: Request<T>,
): Promise<Reply<T>> {
  for (;;) {
    const reply = await peer.call(type, request, 1_000);
    const { status } = reply as { status: Status };
    const passing: Status[] = [
      Status.Unavailable,
      Status.Timeout,
      Status.Busy,
      Status.OutcomeUnknown,
    ];
    if (!passing.includes(status)) return reply;
    await sleep(runtime.timers, 20);
  }
}

function clientMain(told: Told): RoleMain<{ name: string; rounds: number }> {
  return async (runtime, { name, rounds }) => {
    const endpoint = createEndpoint(runtime);
    const peer = endpoint.peer(CONTROLLER);
    const ask = <T extends CallType>(type: T, request: Request<T>): Promise<Reply<T>> => {
      told.operations++;
      return insist(runtime, peer, type, request);
    };
    void (async () => {
      for (let round = 0; round < rounds; round++) {
        // Two clients share each name, so that creating and granting race.
        const spaceName = `s${round % 5}`;
        const request = { name: spaceName, create: 1, kind: 0, pageBytes: 0 };
        const opened = await ask(M.OpenSpace, request);
        if (opened.status !== Status.Ok) throw new Error(opened.reason);
        const { space } = opened;
        expect(told.spaces.get(spaceName) ?? space).toBe(space);
        told.spaces.set(spaceName, space);
        const count = 1 + (round % 3);
        const granted = await ask(M.GrantRegions, { space, count, bytes: 0, near: '' });
        if (granted.status !== Status.Ok) throw new Error(granted.reason);
        for (const { region, epoch, node } of granted.regions) {
          const key = `${space}/${region}`;
          expect(told.grants.has(key), `${key} was granted before`).toBe(false);
          told.grants.set(key, `${epoch} ${granted.nodes[node]?.id}`);
        }
        const key = `${name}/${round}`;
        const file = { key, space, address: 2 ** 30, length: 1, sha256: '' };
        const put = await ask(M.PutFiles, { files: [file] });
        if (put.status === Status.Ok) told.files.add(key);
        const own = await ask(M.OpenSpace, { ...request, name: `own-${name}-${round}` });
        if (own.status !== Status.Ok) throw new Error(own.reason);
        await ask(M.GrantRegions, { space: own.space, count: 1, bytes: 0, near: '' });
        const removed = await ask(M.RemoveSpaceByName, { name: `own-${name}-${round}` });
        expect([Status.Ok, Status.NotFound]).toContain(removed.status);
        told.removed.add(own.space);
      }
      told.done++;
    })();
    return { address: '', stop: () => endpoint.close() };
  };
}

const FAULTS = { ...ROUGH_FAULTS, 'stream-corruption': 300, 'database-error': 5_000 };

const SEEDS = 20;
const NODES = ['10.0.0.2', '10.0.0.3', '10.0.0.4'];
const CLIENTS = ['c1', 'c2'];

class Rack {
  readonly world: SimulatedWorld;
  readonly memories: Memories = new Map();
  readonly told = new Told();
  controller: SimulatedProcess;
  readonly nodes = new Map<string, SimulatedProcess>();
  #incarnation = 1;

  constructor(seed: number, rounds: number) {
    const roles = {
      controller: controllerMain,
      node: nodeMain(this.memories),
      client: clientMain(this.told),
    };
    this.world = new SimulatedWorld({ seed, immediate: setImmediate, roles, faults: FAULTS });
    this.world.machine('controller');
    this.controller = this.startController();
    for (const id of NODES) this.startNode(id);
    for (const name of CLIENTS) {
      this.world.start(this.world.machine(name), 'client', { name, rounds });
    }
  }

  startController(): SimulatedProcess {
    const config = { listen: CONTROLLER, data: 'data', heartbeatMs: HEARTBEAT_MS, awayMs: AWAY_MS };
    return (this.controller = this.world.start(
      this.world.machine('controller'),
      'controller',
      config,
    ));
  }

  startNode(id: string): void {
    const config = { id, incarnation: this.#incarnation++ };
    this.nodes.set(id, this.world.start(this.world.machine(id), 'node', config));
  }

  /** What died is started again, as a supervisor would. */
  revive(): void {
    if (!this.controller.alive) this.startController();
    for (const [id, node] of this.nodes) if (!node.alive) this.startNode(id);
  }

  async disturb(): Promise<void> {
    const { world } = this;
    const { prng } = world;
    for (let i = 0; i < 30 && this.told.done < CLIENTS.length; i++) {
      await world.run({ forMs: prng.between(20, 400) });
      this.revive();
      const victim = prng.chance(0.5) ? this.controller : prng.pick([...this.nodes.values()]);
      const dice = prng.below(4);
      if (dice === 0) world.kill(victim);
      if (dice === 1) {
        world.pause(victim);
        await world.run({ forMs: prng.between(10, 1_500) });
        world.resume(victim);
      }
      if (dice === 2) {
        const cut = world.partition([this.controller.machine], [victim.machine]);
        await world.run({ forMs: prng.between(10, 1_500) });
        world.heal(cut);
      }
    }
  }

  async calm(): Promise<void> {
    const { world } = this;
    world.calm();
    this.revive();
    const end = await world.run({ until: () => this.told.done === CLIENTS.length, forMs: 60_000 });
    expect(end).toBe('condition');
    await world.run({ forMs: 5_000 });
  }
}

async function judge(rack: Rack): Promise<void> {
  const { told, world } = rack;
  const holders = new Map<string, string>();
  for (const [id, held] of rack.memories) {
    for (const [key, { space, epoch }] of held) {
      expect(holders.has(key), `${key} at two nodes`).toBe(false);
      expect(told.removed.has(space), `${key} of a removed space`).toBe(false);
      holders.set(key, `${epoch} ${id}`);
    }
  }
  for (const [key, place] of told.grants) expect(holders.get(key), key).toBe(place);
  const { runtime } = world.program(world.machine('judge'), 'judge');
  const peer = createEndpoint(runtime).peer(CONTROLLER);
  let isJudged = false;
  void (async () => {
    const listed = await insist(runtime, peer, M.ListSpaces, { after: '' });
    if (listed.status !== Status.Ok) throw new Error(listed.reason);
    const names = listed.spaces.map(({ name, space, removing }) => `${name} ${space} ${removing}`);
    expect(names.sort()).toEqual([...told.spaces].map(([name, id]) => `${name} ${id} 0`).sort());
    let regions = 0;
    for (const { space } of listed.spaces) {
      const reply = await insist(runtime, peer, M.SpaceRegions, { space, after: 0 });
      if (reply.status !== Status.Ok) throw new Error(reply.reason);
      regions += reply.regions.length;
      for (const { state } of reply.nodes) expect(state).toBe(NodeState.SERVING);
    }
    expect(regions).toBe(holders.size);
    for (const key of told.files) {
      expect((await insist(runtime, peer, M.GetFile, { key })).status).toBe(Status.Ok);
    }
    const status = await insist(runtime, peer, M.RackStatus, {});
    const json = status.status === Status.Ok ? status.json : '{}';
    const { findings } = JSON.parse(json) as { findings: { code: string }[] };
    // The addresses of this world are not loopback; nothing else is left to be said.
    expect(findings.map(({ code }) => code)).toEqual(['LISTENING_WITHOUT_AUTHENTICATION']);
    isJudged = true;
  })();
  expect(await world.run({ until: () => isJudged, forMs: 60_000 })).toBe('condition');
}

test('whatever happens to the controller and its nodes, what was told holds', async () => {
  let operations = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const rack = new Rack(seed, 6);
    await rack.disturb();
    await rack.calm();
    await judge(rack);
    operations += rack.told.operations;
  }
  expect(operations).toBeGreaterThan(1_000);
});
