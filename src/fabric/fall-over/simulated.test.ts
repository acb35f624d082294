import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import type { RunningRole, Runtime } from '../../runtime/runtime.js';
import { FaultKind, ROUGH_FAULTS, SimulatedWorld } from '../../runtime/simulated/world.js';
import { MessageType } from '../../wire/messages.js';
import { createEndpoint } from '../endpoint.js';
import { fabricFaults } from '../planted.js';
import { ShmLink } from '../shm/shm-link.js';
import { FakeMemory } from '../testing/fake-memory.js';
import { FallOver } from './fall-over.js';
import type { FallOverCounters } from './fall-over-counters.js';

/**
 * Clients with many operations in flight against one node, whose streams and datagrams are cut in
 * turn. Word 0 is everybody's counter; each client has a word of its own that it writes rising
 * numbers to: a read gives the last number written before it, in the order of starting, or, where a
 * write had an unknown outcome, that one or the one before.
 */

const OPERATIONS = 300;
const IN_FLIGHT = 16;
const PATIENCE_MS = 5_000;

interface Finished extends RunningRole {
  readonly done: () => boolean;
  readonly complaints: string[];
  /** Additions that were told as done, and of unknown outcome. */
  readonly additions: { done: number; unknown: number };
  readonly counters: FallOverCounters;
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
    const { address } = await endpoint.listen('tcp://0.0.0.0:7070');
    await endpoint.listenDatagrams('udp://0.0.0.0:7070');
    return { address, stop: () => endpoint.close() };
  };
}

/** What the reads of a client's own word may show: the number of each write, in their order. */
class OwnWord {
  readonly complaints: string[] = [];
  /** By number: 'may' have been done, until it is told. */
  readonly #writes: ('may' | 'done' | 'not')[] = ['done'];
  readonly #numberOf = new Map<number, number>();
  /** Of reads. */
  readonly #lastBefore = new Map<number, number>();
  readonly #seen = new Map<number, number>();

  writes(token: number): number {
    const number = this.#writes.push('may') - 1;
    this.#numberOf.set(token, number);
    return number;
  }

  reads(token: number): void {
    this.#lastBefore.set(token, this.#writes.length - 1);
  }

  wrote(token: number, status: Status, outcome: string): void {
    const number = this.#numberOf.get(token) as number;
    if (outcome !== 'unknown') this.#writes[number] = status === Status.Ok ? 'done' : 'not';
  }

  saw(token: number, number: number): void {
    this.#seen.set(token, number);
  }

  /** When everything has been told. */
  check(): void {
    for (const [token, seen] of this.#seen) {
      const last = this.#lastBefore.get(token) as number;
      if (!this.#isRight(seen, last)) this.complaints.push(`read ${token}: ${seen}, not ${last}`);
    }
    this.#seen.clear();
  }

  #isRight(seen: number, last: number): boolean {
    if (seen > last || this.#writes[seen] === 'not') return false;
    return !this.#writes.slice(seen + 1, last + 1).includes('done');
  }
}

async function client(
  runtime: Runtime,
  config: { address: string; index: number },
): Promise<Finished> {
  const tcp = createEndpoint(runtime).link(config.address);
  const address = config.address.replace('tcp:', 'udp:');
  const fallOver = new FallOver({ runtime, link: tcp, address });
  const link = ShmLink.open({ runtime, link: tcp, fallOver });
  const word = new OwnWord();
  const additions = { done: 0, unknown: 0 };
  const mine = 64 * (1 + config.index);
  const buffers = Array.from({ length: OPERATIONS }, () => new Uint8Array(8));
  const valueOf = (token: number) => new DataView((buffers[token] as Uint8Array).buffer);
  let window = await link.openWindow(1, PATIENCE_MS);
  while (typeof window !== 'object') window = await link.openWindow(1, PATIENCE_MS);
  const opened = window;
  let started = 0;
  let ended = 0;
  const sink = {
    completed(token: number, status: Status, outcome: string): void {
      ended++;
      if (token % 3 === 1) word.wrote(token, status, outcome);
      else if (token % 3 === 2 && status === Status.Ok) {
        word.saw(token, valueOf(token).getUint32(0, true));
      } else if (token % 3 === 0 && status === Status.Ok) additions.done++;
      else if (outcome === 'unknown') additions.unknown++;
      if (ended === OPERATIONS) word.check();
      else runtime.timers.after(1, fill);
    },
  };
  function fill(): void {
    while (started < OPERATIONS && started - ended < IN_FLIGHT) {
      const token = started++;
      const deadline = runtime.clock.now() + PATIENCE_MS;
      const buffer = buffers[token] as Uint8Array;
      if (token % 3 === 0) link.fetchAndAdd(opened, 0, 1, 0, sink, token, deadline);
      else if (token % 3 === 1) {
        valueOf(token).setUint32(0, word.writes(token), true);
        link.write(opened, mine, buffer, 0, 8, sink, token, deadline);
      } else {
        word.reads(token);
        link.read(opened, mine, buffer, 0, 8, sink, token, deadline);
      }
    }
  }
  fill();
  const done = (): boolean => ended === OPERATIONS;
  const { complaints } = word;
  const stop = async (): Promise<void> => link.close();
  return { address: '', stop, done, complaints, additions, counters: fallOver.counters };
}

type Only = 'streams' | 'datagrams';

async function day(seed: number) {
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
  let only: Only = 'streams';
  for (let i = 0; i < 8 && !isDone(); i++) {
    await world.run({ until: isDone, forMs: 2 + world.prng.below(40) });
    const oneWay = world.prng.below(2) === 0;
    const [from, to] = world.prng.below(2) === 0 ? [machines, [machine]] : [[machine], machines];
    const cut = world.partition(from, to, { only, oneWay });
    await world.run({ until: isDone, forMs: 500 + world.prng.below(2_500) });
    world.heal(cut);
    only = only === 'streams' ? 'datagrams' : 'streams';
  }
  world.calm();
  const end = await world.run({ until: isDone, forMs: 120_000 });
  return { world, memory, clients: running(), end };
}

/** What is wrong with what clients saw. */
function wrongs({ memory, clients, end }: Awaited<ReturnType<typeof day>>): string[] {
  const wrong: string[] = end === 'condition' ? [] : ['it never ends'];
  let done = 0;
  let unknown = 0;
  for (const each of clients) {
    wrong.push(...(each?.complaints ?? []));
    done += each?.additions.done ?? 0;
    unknown += each?.additions.unknown ?? 0;
  }
  const sum = memory.view.getUint32(0, true);
  if (sum < done || sum > done + unknown) wrong.push(`${sum}, not ${done} to ${done + unknown}`);
  return wrong;
}

test('whatever is cut, everything counts once and keeps its order', async () => {
  const total = { toDatagrams: 0, toStream: 0, asked: 0, operationsMoved: 0 };
  let cuts = 0;
  for (let seed = 1; seed <= 25; seed++) {
    const seen = await day(seed);
    expect(wrongs(seen), `seed ${seed}`).toEqual([]);
    const { injected } = seen.world.faults;
    cuts += injected[FaultKind.StreamsCut] + injected[FaultKind.DatagramsCut];
    for (const each of seen.clients) {
      for (const name of Object.keys(total) as (keyof FallOverCounters)[]) {
        total[name] += each?.counters[name] ?? 0;
      }
    }
  }
  expect(cuts).toBeGreaterThan(50);
  for (const count of Object.values(total)) expect(count).toBeGreaterThan(10);
});

test.each(['doubtsIgnored', 'sentBothWays', 'datagramsOvertaken'] as const)(
  'a planted bug is seen by clients: %s',
  async (name) => {
    fabricFaults[name] = true;
    try {
      const found: string[] = [];
      for (let seed = 1; seed <= 60 && found.length === 0; seed++)
        found.push(...wrongs(await day(seed)));
      expect(found).not.toEqual([]);
    } finally {
      fabricFaults[name] = false;
    }
  },
);
