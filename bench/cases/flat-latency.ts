/**
 * Whether latency stays flat: over the number of pages touched, over the number of clients, and
 * between a first touch and a later one (Clio, figures 4.4 to 4.6: shapes, not values).
 */

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { connect, type Rack, type Space } from '../../src/apps/library.js';
import { type Comparison, type Result, type Row, spread } from '../harness.js';
import { startRack } from '../rack.js';

const PAGE = 2 ** 16;

/** Median microseconds of `reads` lone 64-byte reads, at pages drawn by a fixed generator. */
async function medianRead(space: Space, at: number, pages: number, reads: number): Promise<number> {
  const target = new Uint8Array(64);
  const latencies = new Float64Array(reads);
  let state = 12345;
  for (let i = 0; i < reads; i += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const address = at + ((state >>> 4) % pages) * PAGE;
    const before = performance.now();
    await space.read(address, target);
    latencies[i] = performance.now() - before;
  }
  latencies.sort();
  return (latencies[reads >> 1] ?? 0) * 1000;
}

function flatness(name: string, base: readonly number[], others: ReadonlyMap<string, number[]>) {
  const rows: Row[] = [];
  const comparisons: Comparison[] = [];
  const nothing = { median: Number.NaN, min: Number.NaN, max: Number.NaN };
  rows.push({ side: name, value: spread(base), cpuPerOperation: nothing, extra: {} });
  for (const [label, values] of others) {
    rows.push({ side: label, value: spread(values), cpuPerOperation: nothing, extra: {} });
    const ratio = spread(values.map((value, i) => value / (base[i] ?? Number.NaN)));
    comparisons.push({ ours: label, peer: name, ratio, goal: '', met: true });
  }
  return { rows, comparisons };
}

function judged(comparisons: readonly Comparison[], most: number): Comparison[] {
  return comparisons.map((one) => ({
    ...one,
    goal: `at most ${most} x`,
    met: one.ratio.median <= most,
  }));
}

/** 2^0 to 2^14 touched pages of 64 KiB; rounds alternate over the sizes. */
export async function pagesFlat(rounds: number): Promise<Result> {
  const exponents = [0, 4, 8, 11, 14];
  const rack = await startRack({
    nodes: 1,
    memory: '1152MiB',
    extra: ['--page-bytes', '64KiB'],
  });
  const memrack = await connect(rack.url, { link: 'tcp' });
  try {
    const space = await memrack.space('bench', { create: true });
    const most = 2 ** 14;
    const at = await touched(space, most);
    await medianRead(space, at, most, 20_000);
    const values = new Map<string, number[]>(exponents.map((e) => [`2^${e} pages`, []]));
    for (let round = 0; round < rounds; round += 1) {
      for (const e of exponents) {
        values.get(`2^${e} pages`)?.push(await medianRead(space, at, 2 ** e, 15_000));
      }
    }
    const base = values.get('2^0 pages') ?? [];
    values.delete('2^0 pages');
    const { rows, comparisons } = flatness('2^0 pages', base, values);
    return {
      bench: 'pages-flat',
      what: 'median lone 64 B read over touched pages of 64 KiB',
      unit: 'us',
      rows,
      comparisons: judged(comparisons, 1.1),
      notes: [],
    };
  } finally {
    await memrack.close();
    await rack.close();
  }
}

/** One allocation of `pages` pages, each with its frame. */
async function touched(space: Space, pages: number): Promise<number> {
  const at = await space.alloc(pages * PAGE);
  const word = new Uint8Array(8).fill(1);
  for (let page = 0; page < pages; page += 512) {
    const items = Array.from({ length: Math.min(512, pages - page) }, (_, i) => ({
      at: at + (page + i) * PAGE,
      from: word,
    }));
    await space.writeMany(items);
  }
  return at;
}

/** First touches of fresh pages against later writes to the same ones. */
export async function firstTouch(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '1GiB', extra: ['--page-bytes', '64KiB'] });
  const memrack = await connect(rack.url, { link: 'tcp' });
  try {
    const space = await memrack.space('bench', { create: true });
    const pages = 1024;
    const first: number[] = [];
    const later: number[] = [];
    for (let round = -1; round < rounds; round += 1) {
      const at = await space.alloc(pages * PAGE);
      const cold = await medianWrite(space, at, pages);
      const warm = await medianWrite(space, at, pages);
      if (round >= 0) {
        first.push(cold);
        later.push(warm);
      }
      await space.free(at);
    }
    const values = new Map([['first touch', first]]);
    const { rows, comparisons } = flatness('later write', later, values);
    return {
      bench: 'first-touch',
      what: 'median lone 16 B write to a page never touched, against a later one',
      unit: 'us',
      rows,
      comparisons: judged(comparisons, 1.5),
      notes: [],
    };
  } finally {
    await memrack.close();
    await rack.close();
  }
}

async function medianWrite(space: Space, at: number, pages: number): Promise<number> {
  const bytes = new Uint8Array(16).fill(3);
  const latencies = new Float64Array(pages);
  for (let page = 0; page < pages; page += 1) {
    const before = performance.now();
    await space.write(at + page * PAGE, bytes);
    latencies[page] = performance.now() - before;
  }
  latencies.sort();
  return (latencies[pages >> 1] ?? 0) * 1000;
}

const LOAD_PER_SECOND = 2_000;

/** 1 to 200 clients share a fixed small load; one of them is measured. */
export async function clientsFlat(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const counts = [1, 10, 50, 200];
  const values = new Map<string, number[]>(counts.map((n) => [`${n} clients`, []]));
  const crowd = new Crowd(rack.url);
  try {
    const main = await connect(rack.url, { link: 'tcp' });
    const space = await main.space('bench', { create: true });
    const at = await space.alloc(2 ** 21);
    await space.write(at, new Uint8Array(2 ** 16));
    for (let round = -1; round < rounds; round += 1) {
      for (const count of counts) {
        await crowd.set(count, at);
        const median = await pacedMedian(space, at, LOAD_PER_SECOND / 2, 1_000);
        if (round >= 0) values.get(`${count} clients`)?.push(median);
      }
    }
    await main.close();
  } finally {
    crowd.close();
    await rack.close();
  }
  const base = values.get('1 clients') ?? [];
  values.delete('1 clients');
  const { rows, comparisons } = flatness('1 clients', base, values);
  return {
    bench: 'clients-flat',
    what: `median lone 64 B read while all clients together send ${LOAD_PER_SECOND}/s`,
    unit: 'us',
    rows,
    comparisons: judged(comparisons, 1.15),
    notes: ['half of the load comes from the measured client, half from the others in turn'],
  };
}

/** Median of reads that start at fixed times, as from a program with other work to do. */
async function pacedMedian(
  space: Space,
  at: number,
  perSecond: number,
  reads: number,
): Promise<number> {
  const target = new Uint8Array(64);
  const latencies = new Float64Array(reads);
  const start = performance.now();
  for (let i = 0; i < reads; i += 1) {
    const due = start + (i * 1000) / perSecond;
    while (performance.now() < due) await new Promise((resolve) => setImmediate(resolve));
    const before = performance.now();
    await space.read(at, target);
    latencies[i] = performance.now() - before;
  }
  latencies.sort();
  return (latencies[reads >> 1] ?? 0) * 1000;
}

/** Clients besides the measured one: many connections in one other process. */
class Crowd {
  readonly #child: ChildProcess;

  constructor(url: string) {
    this.#child = fork(fileURLToPath(import.meta.url), ['crowd', url]);
  }

  set(clients: number, at: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`crowd ended with ${code}`));
      this.#child.once('exit', ended);
      this.#child.once('message', () => {
        this.#child.off('exit', ended);
        resolve();
      });
      this.#child.send({ others: clients - 1, at });
    });
  }

  close(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
  }
}

async function crowdMain(url: string): Promise<void> {
  const racks: Rack[] = [];
  const spaces: Space[] = [];
  let wanted = 0;
  let at = 0;
  process.on('message', (message: { others: number; at: number }) => {
    void (async () => {
      while (racks.length < message.others) {
        const rack = await connect(url, { link: 'tcp', poll: false });
        racks.push(rack);
        spaces.push(await rack.space('bench'));
      }
      at = message.at;
      wanted = message.others;
      process.send?.('ready');
    })();
  });
  const target = new Uint8Array(64);
  let turn = 0;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (wanted === 0) continue;
    turn += 1;
    await spaces[turn % wanted]?.read(at, target);
  }
}

if (process.argv[2] === 'crowd') await crowdMain(process.argv[3] ?? '');
