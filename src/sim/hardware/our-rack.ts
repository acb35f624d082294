/**
 * Our own code under the same load as the models: the mains of a controller and a memory node, and
 * clients with the whole library, each with a socket of its own, in the simulated world. Its
 * network has the times of the models' (`NETWORK`), the node's link the width of Clio's board.
 *
 * The simulator's processes take no time by themselves, so without `work` what comes out is the
 * time of the protocol: trips, queues, waits. With it each datagram costs who receives it what
 * `OUR_WORK` says, and no two are worked on at once.
 */

import { setImmediate } from 'node:timers';
import { assert } from '../../base/assert.js';
import { connectRack, type Rack } from '../../client/rack.js';
import type { RemoteSpace } from '../../client/space.js';
import type { RangeWindow } from '../../client/window.js';
import { type SimulatedProcess, SimulatedWorld } from '../../runtime/simulated/world.js';
import { ReplyWord, RequestWord } from '../../wire/datagram.js';
import { Journal } from '../journal.js';
import { SimulatedRack } from '../rack.js';
import { ROLES, THREADS } from '../roles.js';
import { CLIO, type Constant, NETWORK } from './constants.js';
import type { Access, MemorySystem } from './load.js';

/** Of one side, as measured between processes of one machine (docs/benchmarks.md). */
export const OUR_WORK: { readonly datagramNs: Constant; readonly partNs: Constant } = {
  datagramNs: {
    value: 4_430,
    unit: 'ns',
    basis: 'derived',
    source: 'lone-read: half of 9.70 us is 4.85 us, system calls included; without partNs',
  },
  partNs: {
    value: 420,
    unit: 'ns',
    basis: 'derived',
    source: 'pipelined-read: half of 0.83 us of processor time an operation',
  },
};

export interface OurRackOptions {
  readonly seed: number;
  readonly clients: number;
  /** Allocated by the first client; touched too, unless they are to be fresh. */
  readonly pages: number;
  readonly areFresh?: boolean;
  /** Windows over one page each; accesses go through them if there are any. */
  readonly windows?: number;
  /** Processor time of the clients, and of the node. */
  readonly clientWork?: boolean;
  readonly nodeWork?: boolean;
}

const PAGE_BYTES = 2 ** 16;
const FRAMES_MIN = 64;
/** Simulated time in which a start, or a load, is over. */
const PATIENCE_MS = 600_000;
const LINE_BYTES = 64;

/** Bytes per microsecond. */
const widthOf = (gbps: number): number => Math.round((gbps * 1_000) / 8);

/** What a datagram costs its receiver, by the number of parts that it says it has. */
function workBy(countWord: number): (datagram: Uint8Array) => number {
  const at = 4 * countWord;
  return (datagram) => {
    const parts = (datagram[at] ?? 0) + ((datagram[at + 1] ?? 0) << 8);
    return OUR_WORK.datagramNs.value + parts * OUR_WORK.partNs.value;
  };
}

interface Client {
  readonly process: SimulatedProcess;
  readonly rack: Rack;
  readonly space: RemoteSpace;
  readonly target: Uint8Array;
  /** Counts accesses, so that those under way together meet different lines. */
  accesses: number;
}

export class OurRack implements MemorySystem {
  readonly name = 'Memrack over udp';
  readonly world: SimulatedWorld;
  readonly #options: OurRackOptions;
  readonly #rack: SimulatedRack;
  readonly #clients: Client[] = [];
  readonly #windows: RangeWindow[] = [];
  #at = 0;

  private constructor(options: OurRackOptions) {
    this.#options = options;
    this.world = new SimulatedWorld({
      seed: options.seed,
      shake: false,
      immediate: setImmediate,
      roles: ROLES,
      threads: THREADS,
      traceEvents: 20,
      knobs: {
        latencyNs: NETWORK.oneWayNs.value,
        jitterNs: 0,
        tailDoublingsMax: 0,
        timerSlackUs: 0,
        driftPpm: 0,
        gatherPerMillion: 0,
        pathBytes: NETWORK.datagramBytesMax.value,
      },
    });
    const node = options.nodeWork === true ? { workNs: workBy(RequestWord.COUNT) } : {};
    const client = options.clientWork === true ? { workNs: workBy(ReplyWord.COUNT) } : {};
    this.world.machine('node-1', { bytesPerUs: widthOf(CLIO.portGbps.value), ...node });
    for (let i = 0; i < NETWORK.computeNodes.value; i++) {
      const bytesPerUs = widthOf(NETWORK.cardGbps.value);
      this.world.machine(`client-${i}`, { bytesPerUs, ...client });
    }
    const shape = {
      nodes: 1,
      clients: options.clients,
      frames: Math.max(FRAMES_MIN, 2 * options.pages),
      pageBytes: PAGE_BYTES,
      heartbeatMs: 500,
      isOneSided: false,
    };
    this.#rack = new SimulatedRack(this.world, shape, new Journal());
  }

  static async start(options: OurRackOptions): Promise<OurRack> {
    const ours = new OurRack(options);
    const { world } = ours;
    const end = await world.run({ until: () => ours.#rack.isComplete, forMs: PATIENCE_MS });
    assert(end === 'condition', 'a rack did not start');
    await world.drive(ours.#open(), { forMs: PATIENCE_MS });
    return ours;
  }

  async #open(): Promise<void> {
    const { clients, pages, windows = 0 } = this.#options;
    const numbers = Array.from({ length: clients }, (_, i) => i);
    this.#clients.push(...(await Promise.all(numbers.map((i) => this.#connect(i)))));
    const { space } = this.client(0);
    this.#at = await space.alloc(pages * PAGE_BYTES);
    if (this.#options.areFresh !== true) await this.#touch(space);
    for (let i = 0; i < windows; i++) {
      const at = this.#at + (i % pages) * PAGE_BYTES;
      this.#windows.push(await space.window(at, PAGE_BYTES, 'rw'));
    }
    // Everybody has said hello by then, and has a window.
    for (const one of this.#clients) await one.space.read(this.#at, one.target.subarray(0, 8));
  }

  async #touch(space: RemoteSpace): Promise<void> {
    const word = new Uint8Array(8).fill(1);
    for (let page = 0; page < this.#options.pages; page++) {
      await space.write(this.#at + page * PAGE_BYTES, word);
    }
  }

  async #connect(index: number): Promise<Client> {
    const machine = this.world.machine(`client-${index % NETWORK.computeNodes.value}`);
    const process = this.world.program(machine, `client ${index}`);
    const rack = await connectRack(process.runtime, this.#rack.url, { link: 'udp' });
    const space = await rack.space('figures', { create: true });
    return { process, rack, space, target: new Uint8Array(PAGE_BYTES), accesses: 0 };
  }

  client(index: number): Client {
    return this.#clients[index % this.#clients.length] as Client;
  }

  get nowNs(): number {
    return Math.round(this.world.nowMs * 1e6);
  }

  after(ns: number, then: () => void): void {
    this.world.after(ns / 1e6, then);
  }

  async run(until: () => boolean): Promise<boolean> {
    return (await this.world.run({ until, forMs: PATIENCE_MS })) === 'condition';
  }

  access({ client, page, region, bytes, isWrite }: Access, done: () => void): void {
    const one = this.client(client);
    const line = Math.ceil(bytes / LINE_BYTES) * LINE_BYTES;
    const lines = Math.floor(PAGE_BYTES / line);
    const window = this.#windows[region];
    const within = this.#windows.length === 0 ? page : region % this.#options.pages;
    const at = this.#at + within * PAGE_BYTES + (one.accesses++ % lines) * line;
    const from = one.target.subarray(0, bytes);
    const path = window ?? one.space;
    const promise = isWrite ? path.write(at, from) : path.read(at, from);
    promise.then(done, (error: unknown) => this.world.fail(error));
  }

  /** Simulated nanoseconds of an allocation and of freeing it again, by the first client. */
  async allocate(bytes: number): Promise<{ allocNs: number; freeNs: number }> {
    const { space } = this.client(0);
    const startNs = this.nowNs;
    const at = await this.world.drive(space.alloc(bytes), { forMs: PATIENCE_MS });
    const allocNs = this.nowNs - startNs;
    const thenNs = this.nowNs;
    await this.world.drive(space.free(at), { forMs: PATIENCE_MS });
    return { allocNs, freeNs: this.nowNs - thenNs };
  }
}
