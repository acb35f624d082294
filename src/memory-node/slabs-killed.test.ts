/** A process that is killed at any store while it makes or frees a copy of a slab. */
import { expect, test } from 'vitest';
import type { FrameIndex } from '../base/brands.js';
import { Status } from '../base/status.js';
import { NO_FRAME } from '../disk/page-table.js';
import { storeWord } from '../disk/layout.js';
import { recover, verify } from '../disk/table-changes.js';
import type { TableFile } from '../disk/table-file.js';
import {
  copyOf,
  Death,
  dyingAfter,
  FACTS,
  freshTable,
  mappingOf,
  openTable,
} from '../disk/testing/mapping.js';
import type { Mapping } from '../runtime/memory.js';
import { Access } from './access/access.js';
import { NodeCounters } from './counters.js';
import { OwnerBlocks } from './owner-blocks.js';
import { Slabs } from './slabs.js';
import { Allocations } from './slow/allocations.js';
import { Frames } from './store/frames.js';
import { TAKE } from './testing/slab-calls.js';

const PAGE = 65536;
const FRAMES = 8;
const SMALL = { ...FACTS, pageBytes: PAGE, frames: FRAMES, regionBytes: 16 * PAGE };
const PAGES = 6;
const REQUEST = { ...TAKE, bytes: PAGES * PAGE };
const GIVE = { ...TAKE, address: 16 * PAGE };

/** What a killed process leaves. */
interface Left {
  readonly table: Mapping;
  readonly frames: Mapping;
}

/** The parts of a node over its memory: each allocation behind the one before. */
function nodeOver({ table: mapping, frames: bytes }: Left, store = storeWord) {
  const table = openTable(mapping, store);
  const used = verify(table) as Uint8Array;
  let nextPage = 16;
  const pool = {
    promise: () => true,
    take: () => {
      const frame = used.indexOf(0);
      used[frame] = 1;
      return frame as FrameIndex;
    },
    retireAll: (frames: readonly FrameIndex[]) => frames.forEach((frame) => (used[frame] = 0)),
  };
  const source = {
    choose: () => {
      const firstPage = nextPage;
      nextPage += PAGES;
      return Promise.resolve({ firstPage, retries: 0 });
    },
    release: () => undefined,
    nudge: () => undefined,
  };
  const timers = { after: () => ({ cancel: () => undefined }) } as never;
  const counters = new NodeCounters();
  const parts = { table, pool: pool as never, source, timers, counters };
  const allocations = new Allocations(parts, 0);
  const file = { bytes: FRAMES * PAGE, map: () => bytes } as never;
  const frames = new Frames(file, PAGE, FRAMES);
  const written = { isOn: false } as never;
  const ownEntry = new Int32Array(1);
  const access = new Access(table.pages, frames, pool as never, {} as never, written, ownEntry);
  const owners = new OwnerBlocks(table.pages, PAGE, {
    read: (...where) => access.read(...where),
    write: (...what) => {
      // A record is a store as all others: death may come before it.
      store(new Int32Array(1), 0, 0);
      return access.write(...what);
    },
  });
  const windows = { closeOver: () => undefined, closeSpace: () => undefined } as never;
  const slabs = new Slabs({
    ...{ table, allocations, owners, timers, windows, pool, frames, ownEntry },
    settled: () => Promise.resolve(true),
    isGoing: () => false,
    leases: { refuseWindow: () => undefined },
    isDurable: false,
    awaitFrames: () => undefined,
  });
  allocations.slabs = slabs;
  return { table, slabs, allocations };
}

function fresh(): Left {
  const { mapping, table } = freshTable(SMALL);
  table.raiseIncarnation();
  table.regions.put({ space: TAKE.space, region: 1, epoch: 1 });
  return { table: mapping, frames: mappingOf(new ArrayBuffer(FRAMES * PAGE)) };
}

const same = ({ table, frames }: Left): Left => ({ table: copyOf(table), frames: copyOf(frames) });

/** Undefined: it was killed before it had an answer. */
async function beforeDeath<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Death) return undefined;
    throw error;
  }
}

function pagesOf(table: TableFile): { pages: number; frames: number } {
  const { pages } = table;
  let [count, frames] = [0, 0];
  for (let at = pages.next(0); at >= 0; at = pages.next(at + 4)) {
    count += 1;
    if (pages.frameOf(at) !== NO_FRAME) frames += 1;
  }
  return { pages: count, frames };
}

/** The next process: what it has is a whole copy with its record, or nothing at all. */
function successor(
  left: Left,
  stores: number,
): { isThere: boolean; node: ReturnType<typeof nodeOver> } {
  expect(recover(openTable(left.table))).toBeUndefined();
  const node = nodeOver(left);
  const { slabs } = node.slabs.list(0, 0);
  const { kept, withoutRecord } = node.slabs.counts();
  expect([kept, withoutRecord], `after ${stores} stores`).toEqual([slabs.length, 0]);
  const whole = { pages: PAGES, frames: 2 };
  expect(pagesOf(node.table)).toEqual(kept === 1 ? whole : { pages: 0, frames: 0 });
  if (kept === 1) {
    const { device, slab, copy, bytes, leaseEpoch } = REQUEST;
    expect(slabs[0]).toMatchObject({ device, slab, copy, bytes, leaseEpoch });
  }
  return { isThere: kept === 1, node };
}

test('a copy is whole, with its record, or not there, wherever its making ends', async () => {
  const outcomes = new Set<boolean>();
  for (let stores = 0; ; stores++) {
    const left = fresh();
    const { slabs } = nodeOver(left, dyingAfter(stores));
    const address = await beforeDeath(() => slabs.take(REQUEST, 1));
    const { isThere, node } = successor(left, stores);
    outcomes.add(isThere);
    // Asked for again it is the same one, or a new one; never two.
    const again = await node.slabs.take(REQUEST, 1);
    expect(again).toBeTypeOf('number');
    expect(node.slabs.counts().kept).toBe(1);
    expect(pagesOf(node.table).pages).toBe(PAGES);
    if (address === undefined) continue;
    expect([isThere, again]).toEqual([true, address]);
    break;
  }
  expect(outcomes.size).toBe(2);
});

test('a copy that is given back is whole, or gone, wherever that ends', async () => {
  const before = fresh();
  const address = await nodeOver(before).slabs.take(REQUEST, 1);
  expect(address).toBeTypeOf('number');
  const outcomes = new Set<boolean>();
  for (let stores = 0; ; stores++) {
    const left = same(before);
    const { slabs } = nodeOver(left, dyingAfter(stores));
    const given = await beforeDeath(async () => ({ end: await slabs.give(GIVE, 1) }));
    const { isThere, node } = successor(left, stores);
    outcomes.add(isThere);
    const again = await node.slabs.give(GIVE, 1);
    expect(again?.status).toBe(isThere ? undefined : Status.NotAllocated);
    expect(pagesOf(node.table).pages).toBe(0);
    if (given === undefined) continue;
    expect([given.end, isThere]).toEqual([undefined, false]);
    break;
  }
  expect(outcomes.size).toBe(2);
});
