/**
 * A memory node is lost with its memory while a device with two copies is read: how long the
 * longest read waits, how fast the lost copies are made again, and what that costs who reads.
 */

import { readFileSync } from 'node:fs';
import { connect } from '../../src/apps/library.js';
import { createDevice, deviceUri } from '../../src/block/manage.js';
import { Memories } from '../../src/block/memories.js';
import { readRows } from '../../src/block/open-device.js';
import { countStates, type SlabStates } from '../../src/block/slab-states.js';
import type { NumberedDevice } from '../../src/block/world.js';
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
const FRAME_BYTES = 2 * MIB;
const DEVICE_BYTES = 512 * MIB;
const COPIES = 2;
const READ_BYTES = 4096;
const READS_MAX = 2_000_000;
const BASE_MS = 2_000;
const LOOK_MS = 20;
const SEEN_WITHIN_MS = 20_000;
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
  /** The first read that failed, after which no more are made. */
  failure: string | undefined;

  constructor(client: NbdClient) {
    this.#client = client;
  }

  begin(): void {
    this.#count = 0;
    this.#isOver = false;
    this.#running = this.#run().catch((error: unknown) => {
      this.failure = (error as Error).message;
    });
  }

  async #run(): Promise<void> {
    let state = 4711;
    while (!this.#isOver && this.#count < READS_MAX) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const at = (state % (DEVICE_BYTES / READ_BYTES)) * READ_BYTES;
      const before = performance.now();
      const { error, message } = await this.#client.read(at, READ_BYTES);
      if (error !== 0) {
        this.failure = `a read at ${at} failed: ${message}, error ${error}`;
        return;
      }
      this.#times[this.#count++] = performance.now() - before;
    }
  }

  /** Sorted, in milliseconds. */
  async end(): Promise<Float64Array> {
    this.#isOver = true;
    await this.#running;
    if (this.failure !== undefined) throw new Error(this.failure);
    return this.#times.slice(0, this.#count).sort();
  }
}

class Bench {
  readonly #rack: Rack;
  readonly #endpoint: Endpoint;
  readonly #device: NumberedDevice;
  readonly #reader: Reader;

  constructor(rack: Rack, endpoint: Endpoint, device: NumberedDevice, client: NbdClient) {
    this.#rack = rack;
    this.#endpoint = endpoint;
    this.#device = device;
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

  /** By the rows of the controller: what a host told may be a second old. */
  async #states(): Promise<SlabStates> {
    const { core } = this.#rack;
    const rows = await readRows(core, this.#device.device);
    const nodes = await new Memories(core.runtime.clock, core.control).list();
    if (typeof rows === 'number' || nodes === undefined) {
      throw new Error('the controller does not answer');
    }
    return countStates(rows, nodes, COPIES);
  }

  /** Every copy counts, at memory that is there: another node may be lost. */
  async #isWhole(): Promise<boolean> {
    const { degraded, away, lost } = await this.#states();
    return degraded + away + lost === 0;
  }

  async #until(what: string, withinMs: number, look: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + withinMs;
    while (!(await look())) {
      const why = this.#reader.failure ?? (performance.now() > end ? `never ${what}` : undefined);
      if (why !== undefined) throw new Error(`${why}: ${JSON.stringify(await this.#states())}`);
      await sleep(LOOK_MS);
    }
  }

  async #lose(isRead: boolean): Promise<Turn> {
    const before = await this.#used();
    if (isRead) this.#reader.begin();
    await sleep(BASE_MS);
    const base = isRead ? await this.#reader.end() : new Float64Array(0);
    const [victim = '', lost = 0] = [...before].sort((a, b) => b[1] - a[1])[0] ?? [];
    const host = (await this.#rack.nodes()).find(({ kind }) => kind === 'host')?.pid ?? 0;
    const cpu = cpuMicroseconds(host);
    if (isRead) this.#reader.begin();
    const pid = (await this.#memoryNodes()).find(({ id }) => id === victim)?.pid ?? 0;
    process.kill(parentOf(pid), 'SIGKILL');
    const value = await this.#copied(sumOf(before) - lost);
    const during = isRead ? await this.#reader.end() : new Float64Array(0);
    const p99 = quantileOf(during, 0.99);
    const extra = isRead
      ? {
          'p99 us before': quantileOf(base, 0.99) * 1000,
          'p99 us': p99 * 1000,
          'p99 of before': p99 / quantileOf(base, 0.99),
          'longest read ms': during.at(-1) ?? Number.NaN,
        }
      : {};
    const cpuPerOperation = (cpuMicroseconds(host) - cpu) / ((lost * FRAME_BYTES) / MIB);
    return { value, cpuPerOperation, extra };
  }

  /**
   * How fast, from the first look that finds more than the `left` frames to the one by which all
   * copies count.
   */
  async #copied(left: number): Promise<number> {
    const isSeen = async (): Promise<boolean> => !(await this.#isWhole());
    await this.#until('seen to be lost', SEEN_WITHIN_MS, isSeen);
    let began = 0;
    let frames = left;
    await this.#until('whole again', WHOLE_WITHIN_MS, async () => {
      if (frames <= left) {
        frames = sumOf(await this.#used());
        began = performance.now();
      }
      return this.#isWhole();
    });
    const ms = performance.now() - began;
    const copied = sumOf(await this.#used()) - frames;
    return (copied * FRAME_BYTES * 1000) / ms;
  }
}

const sumOf = (used: ReadonlyMap<string, number>): number =>
  [...used.values()].reduce((sum, frames) => sum + frames, 0);

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
    const wish = { name: 'disk', bytes: DEVICE_BYTES, copies: COPIES };
    const device = await createDevice(client.core, wish);
    const { host } = new URL(await deviceUri(client.core, 'disk'));
    const nbd = await NbdClient.connect(runtime.network, `tcp://${host}`);
    await nbd.structured();
    await nbd.go('disk');
    const piece = new Uint8Array(MIB).fill(7);
    for (let at = 0; at < DEVICE_BYTES; at += MIB) await nbd.write(at, piece);
    const bench = new Bench(client, endpoint, device, nbd);
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
