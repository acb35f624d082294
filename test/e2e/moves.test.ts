// Regions that move between memory nodes, in real processes: while clients over every link write,
// read and count, and while nodes are killed.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { connect, MemrackError, type Rack, type Space } from '../../src/apps/library.js';
import { Prng } from '../../src/base/prng.js';
import { runCli } from '../support/cli.js';
import { startRack, type TestRack, until } from '../support/rack.js';

const PAGE = 64 * 1024;
const PAGES = 64;
const REGION = 2 ** 30;
/** Of a move each. */
const ROUNDS = Number(process.env['MEMRACK_MOVE_ROUNDS'] ?? 3);
let rack: TestRack;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  rack = await startRack({ nodes: 3, memory: '64MiB', pageBytes: '64KiB' });
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

afterAll(async () => {
  await rack?.stop();
});

type LinkName = 'shm' | 'tcp' | 'udp';

async function opened(
  name: string,
  link: LinkName | 'auto',
): Promise<{ rack: Rack; space: Space }> {
  const made = await connect(rack.url, { link, timeoutMs: 30_000 });
  closing.push(() => made.close());
  return { rack: made, space: await made.space(name, { create: true }) };
}

interface RegionRow {
  readonly region: number;
  readonly node: string;
  readonly epoch: number;
  readonly state: string;
}

async function regionsOf(name: string): Promise<RegionRow[]> {
  const { code, stdout, stderr } = await runCli([
    'space',
    'regions',
    name,
    '-o',
    'json',
    '--rack',
    rack.url,
  ]);
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as RegionRow[];
}

function move(name: string, region: number, to: string) {
  const words = ['space', 'move', name, String(region), to, '-o', 'json', '--rack', rack.url];
  return runCli(words, { timeoutMs: 60_000 });
}

/** Another node than this one. */
async function anotherThan(id: string): Promise<string> {
  const nodes = await rack.nodes();
  const others = nodes.filter((row) => row.kind !== 'host' && row.id !== id);
  return (others[0] as { id: string }).id;
}

/**
 * One client's own pages of a region: it writes a pattern to one after the other, reads another
 * one, and counts in a word that all clients share, until it is told to stop.
 */
class Load {
  readonly #space: Space;
  readonly #at: number;
  readonly #counter: number;
  readonly #prng: Prng;
  readonly #written = new Map<number, number>();
  counted = 0;
  /** Additions of which nobody knows whether they were made. */
  unknown = 0;
  isStopped = false;

  constructor(space: Space, at: number, counter: number, seed: number) {
    this.#space = space;
    this.#at = at;
    this.#counter = counter;
    this.#prng = new Prng(seed);
  }

  /** Where processes are killed an operation may fail, and is made again then. */
  async run(areKilled: boolean): Promise<void> {
    while (!this.isStopped) {
      const page = this.#prng.below(PAGES);
      const byte = 1 + this.#prng.below(255);
      const from = new Uint8Array(8192).fill(byte);
      await this.#again(areKilled, () => this.#space.write(this.#placeOf(page), from));
      this.#written.set(page, byte);
      await this.#again(areKilled, () => this.#space.fetchAndAdd(this.#counter, 1n), true);
      this.counted += 1;
      await this.#again(areKilled, () => this.#verify(this.#prng.below(PAGES)));
    }
  }

  async verifyAll(): Promise<void> {
    for (let page = 0; page < PAGES; page += 1) await this.#verify(page);
  }

  #placeOf(page: number): number {
    return this.#at + page * PAGE + 4096;
  }

  async #again(
    isAllowed: boolean,
    work: () => Promise<unknown>,
    isAddition = false,
  ): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (!isAllowed || !(error instanceof MemrackError) || error.code === 'DataLost')
          throw error;
        if (isAddition && error.outcome === 'unknown') this.unknown += 1;
      }
    }
  }

  async #verify(page: number): Promise<void> {
    const byte = this.#written.get(page) ?? 0;
    const bytes = await this.#space.read(this.#placeOf(page), 8192);
    if (bytes.every((one) => one === byte)) return;
    throw new Error(`page ${page}: wanted ${byte}, found ${bytes.find((one) => one !== byte)}`);
  }
}

/** Three clients, one over each link, in one region; and how to end them. */
async function loaded(name: string, areKilled: boolean) {
  const links = ['shm', 'tcp', 'udp'] as const;
  const clients = await Promise.all(links.map((link) => opened(name, link)));
  const [first] = clients as [{ rack: Rack; space: Space }];
  const at = await first.space.alloc((links.length * PAGES + 1) * PAGE);
  const counter = at + links.length * PAGES * PAGE;
  const loads = clients.map(
    ({ space }, i) => new Load(space, at + i * PAGES * PAGE, counter, i + 1),
  );
  const running = loads.map((load) => load.run(areKilled));
  const stop = async (): Promise<void> => {
    for (const load of loads) load.isStopped = true;
    await Promise.all(running);
    for (const load of loads) await load.verifyAll();
    const words = await first.space.read(counter, 8);
    const found = Number(new DataView(words.buffer, words.byteOffset).getBigUint64(0, true));
    const counted = loads.reduce((sum, load) => sum + load.counted, 0);
    const unknown = loads.reduce((sum, load) => sum + load.unknown, 0);
    expect(found).toBeGreaterThanOrEqual(counted);
    expect(found).toBeLessThanOrEqual(counted + unknown);
    await first.space.free(at);
  };
  return { region: Math.floor(at / REGION), loads, running, stop };
}

test('a region moves while clients over all links go on', { timeout: 180_000 }, async () => {
  const { region, loads, running, stop } = await loaded('moving', false);
  // A client that fails ends the test at once.
  const failed = Promise.race(running.map((one) => one.then(() => undefined)));
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = (await regionsOf('moving')).find((row) => row.region === region) as RegionRow;
    const counted = loads.map((load) => load.counted);
    const to = await anotherThan(before.node);
    const moved = await Promise.race([move('moving', region, to), failed]);
    expect(moved).toMatchObject({ code: 0, stderr: '' });
    const after = (await regionsOf('moving')).find((row) => row.region === region) as RegionRow;
    expect(after).toMatchObject({ node: to, state: 'serving' });
    expect(after.epoch).toBeGreaterThan(before.epoch);
    // Each of them goes on at the new place.
    await until(20_000, () =>
      loads.every((load, i) => load.counted > (counted[i] ?? 0)) ? true : undefined,
    );
  }
  await stop();
});

test('pieces of one long operation come back together, and go on', {
  timeout: 60_000,
}, async () => {
  const { rack: idle, space } = await opened('long', 'tcp');
  const bytes = 16 * PAGE;
  const at = await space.alloc(bytes);
  const written = Uint8Array.from({ length: bytes }, (_, i) => i * 7 + (i >> 16));
  await space.write(at, written);
  const region = Math.floor(at / REGION);
  const { node } = (await regionsOf('long')).find((row) => row.region === region) as RegionRow;
  expect(await move('long', region, await anotherThan(node))).toMatchObject({ code: 0 });
  expect(Buffer.compare(await space.read(at, bytes), written)).toBe(0);
  await space.free(at);
  await idle.removeSpace('long');
});

test('nodes that are killed during a move lose nothing', { timeout: 180_000 }, async () => {
  const { region, stop } = await loaded('killed', true);
  const ends: (number | null)[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const row = (await regionsOf('killed')).find((one) => one.region === region) as RegionRow;
    const to = await anotherThan(row.node);
    const moving = move('killed', region, to);
    await new Promise((resolve) => setTimeout(resolve, 120 + 40 * round));
    const victim = round % 2 === 0 ? row.node : to;
    const { pid } = (await rack.nodes()).find(({ id }) => id === victim) as { pid: number };
    process.kill(pid, 'SIGKILL');
    ends.push((await moving).code);
    await until(20_000, async () => {
      const nodes = await rack.nodes();
      const rows = await regionsOf('killed');
      const isWell = nodes.every(({ kind, state }) => kind === 'host' || state === 'serving');
      return isWell && rows.every(({ state }) => state === 'serving') ? true : undefined;
    });
  }
  expect(ends.every((code) => code !== null)).toBe(true);
  await stop();
});

test('what cannot be moved is refused, with the reason', async () => {
  const { space } = await opened('refused', 'auto');
  const at = await space.alloc(PAGE);
  const region = Math.floor(at / REGION);
  const [row] = await regionsOf('refused');
  const refusals = [
    [await move('refused', region, 'nobody'), /no memory node "nobody"/],
    [await move('refused', region + 7, 'nobody'), /no region/],
    [await move('nowhere', region, 'nobody'), /no space "nowhere"/],
    [await move('refused', region, row?.node ?? ''), /holds it already/],
  ] as const;
  for (const [{ code, stderr }, why] of refusals) {
    expect(stderr).toMatch(why);
    expect(code).toBe(3);
  }
  await space.free(at);
});

test('a client that slept finds a region whose old node is switched off', async () => {
  const { space } = await opened('slept', 'tcp');
  const at = await space.alloc(PAGE);
  await space.write(at, Uint8Array.of(1, 2, 3));
  await space.fence();
  const region = Math.floor(at / REGION);
  const before = ((await regionsOf('slept'))[0] as RegionRow).node;
  expect((await move('slept', region, await anotherThan(before))).code).toBe(0);
  const { pid } = (await rack.nodes()).find(({ id }) => id === before) as { pid: number };
  process.kill(pid, 'SIGSTOP');
  try {
    const reads = [space.read(at, 3), space.read(at + 1, 2)];
    expect((await Promise.all(reads)).map((bytes) => [...bytes])).toEqual([
      [1, 2, 3],
      [2, 3],
    ]);
    await space.write(at, Uint8Array.of(4));
    expect((await space.read(at, 1))[0]).toBe(4);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await space.free(at);
});
