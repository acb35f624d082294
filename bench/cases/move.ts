/**
 * A region on its way to another node: bytes per second, and how long a client that goes on has to
 * wait at most, against the same client copying the bytes by itself.
 */

import { connect, type Space } from '../../src/apps/library.js';
import { alternate, compare, type Result, rowOf, type Side, type Turn } from '../harness.js';
import { type BenchRack, measured, startRack } from '../rack.js';

const MIB = 2 ** 20;
const BYTES = 256 * MIB;
const REGION_BYTES = 2 ** 30;
/** A source takes a region back only after its datagrams are surely gone. */
const BACK_MS = 2_200;
const LANES = 8;

interface Load {
  readonly name: string;
  /** Where the client writes meanwhile; 0: it reads. */
  readonly writtenBytes: number;
}

const LOADS: readonly Load[] = [
  { name: 'while a client reads', writtenBytes: 0 },
  { name: 'while a client writes to 2 MiB of it', writtenBytes: 2 * MIB },
  { name: 'while a client writes to all of it', writtenBytes: BYTES },
];

/** One client's lone operations of 64 bytes, until it is told to end; its longest wait. */
class Client {
  readonly #space: Space;
  readonly #at: number;
  readonly #writtenBytes: number;
  isOver = false;
  longestMs = 0;
  operations = 0;

  constructor(space: Space, at: number, writtenBytes: number) {
    this.#space = space;
    this.#at = at;
    this.#writtenBytes = writtenBytes;
  }

  async run(): Promise<void> {
    const bytes = new Uint8Array(64);
    let state = 4711;
    while (!this.isOver) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const place = (state % ((this.#writtenBytes || BYTES) / 64)) * 64;
      const before = performance.now();
      if (this.#writtenBytes > 0) await this.#space.write(this.#at + place, bytes);
      else await this.#space.read(this.#at + place, bytes);
      this.longestMs = Math.max(this.longestMs, performance.now() - before);
      this.operations += 1;
    }
  }
}

class Bench {
  readonly #rack: BenchRack;
  readonly #space: Space;
  readonly #at: number;
  readonly #http: string;

  constructor(rack: BenchRack, space: Space, at: number) {
    this.#rack = rack;
    this.#space = space;
    this.#at = at;
    this.#http = rack.url.replace('memrack:', 'http:');
  }

  get #pids(): number[] {
    return ['node-1', 'node-2'].map((id) => this.#rack.pids.get(id) ?? 0);
  }

  async #move(): Promise<void> {
    const region = Math.floor(this.#at / REGION_BYTES);
    const answer = await fetch(`${this.#http}/v1/regions?space=bench`);
    const rows = (await answer.json()) as { region: number; node: string }[];
    const from = rows.find((row) => row.region === region)?.node;
    const to = from === 'node-1' ? 'node-2' : 'node-1';
    const moved = await fetch(`${this.#http}/v1/moves`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ space: 'bench', region, to }),
    });
    if (!moved.ok) throw new Error(`the region did not move: ${await moved.text()}`);
  }

  moving({ name, writtenBytes }: Load): Side {
    const run = async (): Promise<Turn> => {
      await new Promise((resolve) => setTimeout(resolve, BACK_MS));
      const client = new Client(this.#space, this.#at, writtenBytes);
      const running = client.run();
      const moved = await measured(this.#pids, BYTES / MIB, () => this.#move()).finally(() => {
        client.isOver = true;
        return running;
      });
      const { wallMs, cpuPerOperation } = moved;
      const extra = { 'longest wait ms': client.longestMs };
      return { value: (BYTES / wallMs) * 1000, cpuPerOperation, extra };
    };
    return { name: `moved ${name}`, turn: run };
  }

  /** What the client could do without moves: it reads everything, and writes it elsewhere. */
  copying(elsewhere: Space, to: number): Side {
    const buffers = Array.from({ length: LANES }, () => new Uint8Array(MIB));
    const lane = async (first: number): Promise<void> => {
      const buffer = buffers[first] as Uint8Array;
      for (let done = first * MIB; done < BYTES; done += LANES * MIB) {
        await this.#space.read(this.#at + done, buffer);
        await elsewhere.write(to + done, buffer);
      }
    };
    const run = async (): Promise<Turn> => {
      const { wallMs, cpuPerOperation } = await measured(this.#pids, BYTES / MIB, async () => {
        await Promise.all(buffers.map((_, i) => lane(i)));
      });
      return { value: (BYTES / wallMs) * 1000, cpuPerOperation };
    };
    return { name: 'copied by a client, with nothing beside', turn: run };
  }
}

export async function move(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 2, memory: '768MiB' });
  const memrack = await connect(rack.url, { link: 'tcp' });
  try {
    const space = await memrack.space('bench', { create: true });
    const elsewhere = await memrack.space('copies', { create: true });
    const at = await space.alloc(BYTES);
    const to = await elsewhere.alloc(BYTES);
    const chunk = new Uint8Array(MIB).fill(7);
    for (let done = 0; done < BYTES; done += MIB) {
      await space.write(at + done, chunk);
      await elsewhere.write(to + done, chunk);
    }
    const bench = new Bench(rack, space, at);
    const sides = [...LOADS.map((load) => bench.moving(load)), bench.copying(elsewhere, to)];
    const turns = await alternate(sides, rounds);
    const one = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'move',
      what: 'a region with 256 MiB goes to another node, over tcp, while a client works on it',
      unit: 'B/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: LOADS.map((_, i) => compare(one(i), one(LOADS.length), {})),
      notes: [
        'processor time is of both nodes and the client, for each MiB that was to be moved',
        'the longest wait of lone operations of 64 B has the pause in it',
      ],
    };
  } finally {
    await memrack.close();
    await rack.close();
  }
}
