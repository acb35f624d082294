import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { RunningRole, Runtime } from '../runtime/runtime.js';
import { ROUGH_FAULTS, SimulatedWorld } from '../runtime/simulated/world.js';
import { MessageType } from '../wire/messages.js';
import { createEndpoint } from './endpoint.js';
import { FakeMemory } from './testing/fake-memory.js';

/**
 * Clients with many operations in flight against one node in the simulated rack, on a rough day.
 * Word 0 is everybody's counter; word `8 * (1 + client)` belongs to one client, which writes
 * rising numbers to it: a read gives the last number written before it, in the order of starting.
 */

const OPERATIONS = 400;
const IN_FLIGHT = 24;
const PATIENCE_MS = 50_000;

interface Finished extends RunningRole {
  readonly done: () => boolean;
  readonly complaints: string[];
  /** Old values that this client's additions returned. */
  readonly olds: number[];
  readonly counts: Map<number, number>;
}

function node(memory: FakeMemory) {
  return async (runtime: Runtime): Promise<RunningRole> => {
    const endpoint = createEndpoint(runtime);
    endpoint.serveData(memory);
    endpoint.serve(MessageType.OpenWindow, () => ({
      status: Status.Ok,
      window: memory.window,
      epoch: memory.epoch,
      pageBytes: 65536,
    }));
    const listener = await endpoint.listen('tcp://0.0.0.0:7070');
    return { address: listener.address, stop: () => endpoint.close() };
  };
}

async function client(
  runtime: Runtime,
  config: { address: string; index: number },
): Promise<Finished> {
  // The numbers wrap in the middle of it.
  const firstSequence = 2 ** 32 - OPERATIONS / 2;
  const link = createEndpoint(runtime, { firstSequence }).link(config.address);
  const complaints: string[] = [];
  const olds: number[] = [];
  const counts = new Map<number, number>();
  const mine = 8 * (1 + config.index);
  const buffers = Array.from({ length: OPERATIONS }, () => new Uint8Array(8));
  const expected: number[] = [];
  let window = await link.openWindow(1, PATIENCE_MS);
  while (typeof window !== 'object') window = await link.openWindow(1, PATIENCE_MS);
  const opened = window;
  let started = 0;
  let ended = 0;
  let written = 0;
  const sink = {
    completed(token: number, status: Status, _outcome: string, low: number): void {
      ended++;
      counts.set(status, (counts.get(status) ?? 0) + 1);
      if (status === Status.Ok && token % 3 === 0) olds.push(low);
      const buffer = buffers[token];
      if (status === Status.Ok && token % 3 === 2 && buffer !== undefined) {
        const seen = new DataView(buffer.buffer).getUint32(0, true);
        if (seen !== expected[token])
          complaints.push(`read ${token}: ${seen}, not ${expected[token]}`);
      }
      fill();
    },
  };
  function fill(): void {
    while (started < OPERATIONS && started - ended < IN_FLIGHT) {
      const token = started++;
      const deadline = runtime.clock.now() + PATIENCE_MS;
      const buffer = buffers[token] ?? new Uint8Array(8);
      if (token % 3 === 0) link.fetchAndAdd(opened, 0, 1, 0, sink, token, deadline);
      else if (token % 3 === 1) {
        new DataView(buffer.buffer).setUint32(0, ++written, true);
        link.write(opened, mine, buffer, 0, 8, sink, token, deadline);
      } else {
        expected[token] = written;
        link.read(opened, mine, buffer, 0, 8, sink, token, deadline);
      }
    }
  }
  fill();
  const done = () => ended === OPERATIONS;
  return { address: '', stop: async () => link.close(), done, complaints, olds, counts };
}

async function roughDay(seed: number) {
  const memory = new FakeMemory(4096);
  const roles = { node: node(memory), client };
  const world = new SimulatedWorld({ seed, immediate: setImmediate, roles, faults: ROUGH_FAULTS });
  const machine = world.machine('node');
  const server = world.start(machine, 'node', {});
  await world.run({ until: () => server.running !== undefined, forMs: 10_000 });
  const address = `tcp://${machine.host}:7070`;
  const machines = [0, 1, 2].map((index) => world.machine(`client${index}`));
  const clients = machines.map((at, index) => world.start(at, 'client', { address, index }));
  const running = () => clients.map((process) => process.running as Finished | undefined);
  const isDone = () => running().every((each) => each?.done() === true);
  for (let i = 0; i < 6 && !isDone(); i++) {
    await world.run({ until: isDone, forMs: 2 + world.prng.below(30) });
    const victim = machines[world.prng.below(3)];
    if (victim === undefined || isDone()) continue;
    const cut = world.partition([victim], [machine], { oneWay: world.prng.below(2) === 0 });
    await world.run({ until: isDone, forMs: world.prng.below(4000) });
    world.heal(cut);
    if (i === 3) {
      world.pause(server);
      await world.run({ until: isDone, forMs: world.prng.below(5000) });
      world.resume(server);
    }
  }
  world.calm();
  const end = await world.run({ until: isDone, forMs: 120_000 });
  return { world, memory, clients: running(), end };
}

test('on a rough day everything counts once and keeps its order', async () => {
  let given = 0;
  for (let seed = 1; seed <= 25; seed++) {
    const { memory, clients, end } = await roughDay(seed);
    expect(end, `seed ${seed}`).toBe('condition');
    const olds: number[] = [];
    let unknown = 0;
    for (const each of clients) {
      expect(each?.complaints, `seed ${seed}`).toEqual([]);
      olds.push(...(each?.olds ?? []));
      for (const [status, count] of each?.counts ?? []) {
        // Nobody waits longer than the record is kept: nothing is unknown. A read may be given up.
        expect([Status.Ok, Status.Unavailable], `seed ${seed}`).toContain(status);
        if (status === Status.OutcomeUnknown) unknown += count;
        if (status === Status.Unavailable) given += count;
      }
    }
    expect(unknown).toBe(0);
    // Every addition counted once: the old values are 0, 1, 2, ... in some order.
    expect(memory.view.getUint32(0, true), `seed ${seed}`).toBe(olds.length);
    expect(new Set(olds).size, `seed ${seed}`).toBe(olds.length);
  }
  expect(given).toBeGreaterThan(0);
});
