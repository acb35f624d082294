/**
 * A memory node is lost with its memory while a device with two copies is read: how long the
 * longest read waits, how fast the lost copies are made again, and what that costs who reads.
 */

import { readFileSync } from 'node:fs';
import { connect } from '../../src/apps/library.js';
import { createDevice, deviceUri, seeDevices } from '../../src/block/manage.js';
import type { Rack } from '../../src/client/rack.js';
import { NbdClient } from '../../src/doors/nbd/testing/client.js';
import { createEndpoint, type Endpoint } from '../../src/fabric/endpoint.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { MessageType } from '../../src/wire/messages.js';
import {
  compare,
  compareTo,
  cpuMicroseconds,
  quantileOf,
  type Result,
  rowOf,
  type Side,
  type Turn,
} from '../harness.js';
import { startRack } from '../rack.js';

const MIB = 2 ** 20;
const DEVICE_BYTES = 512 * MIB;
const READ_BYTES = 4096;
const READS_MAX = 2_000_000;
const BASE_MS = 2_000;
const LOOK_MS = 20;
const WHOLE_WITHIN_MS = 60_000;
/** The longest that a read may wait for the other copy. */
const SERVED_MS = 2_000;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Reads all over the device, one after another, until it is told to end. */
class Reader {
  readonly #client: NbdClient;
  readonly #times = new Float64Array(READS_MAX);
  #count = 0;
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  constructor(client: NbdClient) {
    this.#client = client;
  }

  begin(): void {
    this.#count = 0;
    this.#isOver = false;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    let state = 4711;
    while (!this.#isOver && this.#count < READS_MAX) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const at = (state % (DEVICE_BYTES / READ_BYTES)) * READ_BYTES;
      const before = performance.now();
      const { error, message } = await this.#client.read(at, READ_BYTES);
      if (error !== 0) throw new Error(`a read failed: ${message}, error ${error}`);
      this.#times[this.#count++] = performance.now() - before;
    }
  }

  /** Sorted, in milliseconds. */
  async end(): Promise<Float64Array> {
    this.#isOver = true;
    await this.#running;
    return this.#times.slice(0, this.#count).sort();
  }
}

class Bench {
  readonly #rack: Rack;
  readonly #endpoint: Endpoint;
  readonly #reader: Reader;

  constructor(rack: Rack, endpoint: Endpoint, client: NbdClient) {
    this.#rack = rack;
    this.#endpoint = endpoint;
    this.#reader = new Reader(client);
  }

  async #memoryNodes() {
    const nodes = await this.#rack.nodes();
    return nodes.filter(({ kind, state }) => kind === 'memory-node' && state === 'serving');
  }

  /** What each node has, as it says itself. */
  async #used(): Promise<Map<string, number>> {
    const used = new Map<string, number>();
    for (const { id, address } of await this.#memoryNodes()) {
      const reply = await this.#endpoint.peer(address).call(MessageType.Counters, {}, 1_000);
      if (!('json' in reply)) continue;
      const { framesUsed = 0 } = JSON.parse(reply.json) as { framesUsed?: number };
      used.set(id, framesUsed);
    }
    return used;
  }

  /** With a client that reads meanwhile, or without. */
  losing(name: string, isRead: boolean): Side {
    return { name, turn: () => this.#lose(isRead) };
  }

  /** As the host has told last. */
  async #changes(): Promise<{ copiesMade: number; copiesLost: number }> {
    type Seen = { activity?: { copiesMade: number; copiesLost: number } };
    const [seen] = (await seeDevices(this.#rack.core)) as Seen[];
    return seen?.activity ?? { copiesMade: 0, copiesLost: 0 };
  }

  /** All that was lost counts again: another node may be lost. */
  async #isWhole(lostBefore: number): Promise<boolean> {
    const { copiesMade, copiesLost } = await this.#changes();
    return copiesLost > lostBefore && copiesMade === copiesLost;
  }

  async #lose(isRead: boolean): Promise<Turn> {
    const { copiesLost } = await this.#changes();
    const before = await this.#used();
    const wanted = [...before.values()].reduce((sum, frames) => sum + frames, 0);
    if (isRead) this.#reader.begin();
    await sleep(BASE_MS);
    const base = isRead ? await this.#reader.end() : new Float64Array(0);
    const [victim = '', lost = 0] = [...before].sort((a, b) => b[1] - a[1])[0] ?? [];
    const host = (await this.#rack.nodes()).find(({ kind }) => kind === 'host')?.pid ?? 0;
    const cpu = cpuMicroseconds(host);
    if (isRead) this.#reader.begin();
    const pid = (await this.#memoryNodes()).find(({ id }) => id === victim)?.pid ?? 0;
    process.kill(parentOf(pid), 'SIGKILL');
    const ms = await this.#copied(wanted, lost);
    const during = isRead ? await this.#reader.end() : new Float64Array(0);
    // A frame is two MiB.
    const bytes = lost * 2 * MIB;
    while (!(await this.#isWhole(copiesLost))) await sleep(LOOK_MS);
    const p99 = quantileOf(during, 0.99);
    const extra = isRead
      ? {
          'p99 us before': quantileOf(base, 0.99) * 1000,
          'p99 us': p99 * 1000,
          'p99 of before': p99 / quantileOf(base, 0.99),
          'longest read ms': during.at(-1) ?? Number.NaN,
        }
      : {};
    const cpuPerOperation = (cpuMicroseconds(host) - cpu) / (bytes / MIB);
    return { value: (bytes / ms) * 1000, cpuPerOperation, extra };
  }

  /** From the first copied frame to the last. */
  async #copied(wanted: number, lost: number): Promise<number> {
    const end = performance.now() + WHOLE_WITHIN_MS;
    let began = 0;
    while (performance.now() < end) {
      const used = [...(await this.#used()).values()].reduce((sum, frames) => sum + frames, 0);
      if (began === 0 && used > wanted - lost) began = performance.now();
      if (used >= wanted) return performance.now() - began;
      await sleep(LOOK_MS);
    }
    throw new Error('the lost copies were not made again');
  }
}

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

export async function nbdLoss(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 3, memory: '1GiB', extra: ['--nbd-port', '0'] });
  const runtime = createRuntime({ logLevel: 'error' });
  const endpoint = createEndpoint(runtime, {});
  const client = await connect(rack.url);
  try {
    await createDevice(client.core, { name: 'disk', bytes: DEVICE_BYTES, copies: 2 });
    const { host } = new URL(await deviceUri(client.core, 'disk'));
    const nbd = await NbdClient.connect(runtime.network, `tcp://${host}`);
    await nbd.structured();
    await nbd.go('disk');
    const piece = new Uint8Array(MIB).fill(7);
    for (let at = 0; at < DEVICE_BYTES; at += MIB) await nbd.write(at, piece);
    const bench = new Bench(client, endpoint, nbd);
    const used = bench.losing('copied while a client reads', true);
    const idle = bench.losing('copied while nobody reads', false);
    const turns: [Turn[], Turn[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      turns[0].push(await used.turn());
      turns[1].push(await idle.turn());
    }
    const read = { side: used, turns: turns[0] };
    const of = (key: string): readonly Turn[] =>
      turns[0].map((turn) => ({ ...turn, value: turn.extra?.[key] ?? Number.NaN }));
    const longest = { side: { ...used, name: 'longest read' }, turns: of('longest read ms') };
    const p99 = { side: { ...used, name: 'p99 of reads' }, turns: of('p99 of before') };
    nbd.close();
    return {
      bench: 'nbd-loss',
      what: 'a memory node is lost, and its copies of a device are made again',
      unit: 'bytes/s',
      rows: [rowOf(used, turns[0]), rowOf(idle, turns[1])],
      comparisons: [
        compare(read, { side: idle, turns: turns[1] }, { atLeast: 0.5 }),
        compareTo(p99, { name: 'before the loss', value: 1 }, { atMost: 2 }),
        compareTo(longest, { name: 'two seconds', value: SERVED_MS }, { atMost: 1 }),
      ],
      notes: ['device of 512 MiB in two copies; processor time of the host per MiB copied'],
    };
  } finally {
    await client.close();
    await endpoint.close();
    await rack.close();
  }
}
