/**
 * Figure 4.12: how long allocating and freeing takes, by size. Figure 4.13: how often the search
 * for an address is pushed on by a full bucket of the page table, as memory fills.
 */

import type { Space } from '../../../src/apps/library.js';
import { MemrackError } from '../../../src/apps/library.js';
import type { Series } from '../series.js';
import { allocationRetries, nodeOf } from './asked-node.js';
import { inWorld } from './clients.js';
import { Curves } from './curves.js';
import { median } from './latency.js';

const SIZES = Array.from({ length: 10 }, (_, i) => 2 ** (21 + i));
const ALLOCATIONS = 12;

export async function allocationBySize(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.12');
  await inWorld({ memory: '2GiB' }, async ({ clients }) => {
    for (let round = -1; round < rounds; round += 1) {
      for (const bytes of SIZES) {
        for (const { system, space } of clients) {
          const { allocate, free } = await allocateAndFree(space, bytes);
          if (round < 0) continue;
          curves.add('allocate', system, bytes, allocate);
          curves.add('free', system, bytes, free);
        }
      }
    }
  });
  return curves.series('median; pages of 2 MiB, none of them touched; calls go over the stream');
}

/** Medians in microseconds. */
async function allocateAndFree(
  space: Space,
  bytes: number,
): Promise<{ allocate: number; free: number }> {
  const allocating = new Float64Array(ALLOCATIONS);
  const freeing = new Float64Array(ALLOCATIONS);
  for (let i = 0; i < ALLOCATIONS; i += 1) {
    const start = performance.now();
    const at = await space.alloc(bytes);
    const between = performance.now();
    await space.free(at);
    allocating[i] = (between - start) * 1000;
    freeing[i] = (performance.now() - between) * 1000;
  }
  return { allocate: median(allocating.sort()), free: median(freeing.sort()) };
}

const LENT_BYTES = 2 ** 31;
const PAGE_BYTES = 2 ** 19;
/** In pages: 512 KiB, 8 MiB, 128 MiB. */
const FILL_PAGES = [1, 16, 256];
const FILL_NAMES = ['512 KiB', '8 MiB', '128 MiB'];
/** Between two looks at the counters, in percent of what is lent. */
const STEP_PERCENT = 12.5;

export async function retriesWhileFilling(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.13');
  const world = { memory: '2GiB', pageBytes: '512KiB', links: ['tcp'] } as const;
  await inWorld(world, async ({ bench, space }) => {
    const node = await nodeOf(bench.url);
    try {
      for (let round = 0; round < rounds; round += 1) {
        for (const [i, pages] of FILL_PAGES.entries()) {
          const name = `Memrack, ${FILL_NAMES[i]}`;
          const addresses: number[] = [];
          const add = (percent: number, retries: number): void =>
            curves.add('retries', name, percent, retries);
          const retriesOfNode = (): Promise<number> => allocationRetries(node);
          await fill(space, { pages, addresses, retriesOfNode }, add);
          await Promise.all(addresses.map((at) => space.free(at)));
        }
      }
    } finally {
      await node.close();
    }
  });
  const note = 'a node allocates up to twice what it lends; at 100 every page can have a frame';
  return curves.series(note);
}

interface Filling {
  readonly pages: number;
  /** Of what was allocated. */
  readonly addresses: number[];
  readonly retriesOfNode: () => Promise<number>;
}

/** Allocates until there is no room; `add` is told of every step that was filled whole. */
async function fill(
  space: Space,
  { pages, addresses, retriesOfNode }: Filling,
  add: (percent: number, retries: number) => void,
): Promise<void> {
  const perStep = Math.max(1, (LENT_BYTES * STEP_PERCENT) / 100 / (pages * PAGE_BYTES));
  let before = await retriesOfNode();
  for (let percent = STEP_PERCENT; ; percent += STEP_PERCENT) {
    const allocating = Array.from({ length: perStep }, () => space.alloc(pages * PAGE_BYTES));
    const made = await Promise.allSettled(allocating);
    for (const one of made) if (one.status === 'fulfilled') addresses.push(one.value);
    const refused = made.find((one) => one.status === 'rejected');
    if (refused !== undefined) {
      const { reason } = refused;
      if (reason instanceof MemrackError && reason.code === 'NoSpace') return;
      throw reason;
    }
    const now = await retriesOfNode();
    add(percent, (now - before) / perStep);
    before = now;
  }
}
