import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { EntryFlag } from '../disk/page-table.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { AttachedThread } from './testing/attached-thread.js';
import { Harness, PAGE, SPACE } from './testing/harness.js';
import type { HarnessOptions, TestWorld, WorldParts } from './testing/harness.js';
import { give, hold, LEASE, open, take, TAKE, trim } from './testing/slab-calls.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const BLOCK = 4096;
/** Of the smallest copy: its last page is the node's. */
const DATA_PAGES = TAKE.bytes / PAGE - 1;
const word = (value: bigint): Uint8Array => new Uint8Array(new BigUint64Array([value]).buffer);

interface Copy {
  readonly node: Harness;
  readonly address: number;
  readonly window: { readonly window: number; readonly epoch: number };
}

/** A copy whose holder is client 0, in epoch 1. */
async function start(options: Partial<HarnessOptions> = {}): Promise<Copy> {
  return begin(await new Harness({ makeWorld, ...options }).start());
}

async function begin(node: Harness): Promise<Copy> {
  await hold(node, 1);
  const address = await take(node);
  return { node, address, window: await open(node, address) };
}

async function write({ node, address, window }: Copy, at: number, value: bigint): Promise<void> {
  const request = { ...window, address: address + at, data: word(value) };
  expect((await node.data('write', request)).status).toBe(Status.Ok);
}

async function read({ node, address, window }: Copy, at: number): Promise<bigint> {
  const { bytes } = await node.data('read', { ...window, address: address + at, bytes: 8 });
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

const framesUsed = ({ node }: Copy): number | undefined => node.counters()['framesUsed'];

test('pages that are trimmed as a whole give their memory back, and read as zeros', async () => {
  const copy = await start();
  const { node, address } = copy;
  for (let page = 0; page < DATA_PAGES; page++) await write(copy, page * PAGE + 8, 5n);
  expect(framesUsed(copy)).toBe(DATA_PAGES + 1);
  for (const page of [0, 2]) {
    const pages = { from: page * PAGE, bytes: PAGE };
    expect(await trim(node, pages, { address })).toBe(Status.Ok);
    expect(await trim(node, pages, { address })).toBe(Status.Ok);
  }
  expect(framesUsed(copy)).toBe(DATA_PAGES - 1);
  for (const [page, value] of [0n, 5n, 0n, 5n].entries()) {
    expect(await read(copy, page * PAGE + 8)).toBe(value);
  }
  await node.kill();
  await node.start();
  expect(framesUsed(copy)).toBe(DATA_PAGES - 1);
  const after = { ...copy, window: await open(node, address) };
  expect(await read(after, 8)).toBe(0n);
  await write(after, 8, 6n);
  expect(await read(after, 8)).toBe(6n);
  expect(framesUsed(copy)).toBe(DATA_PAGES);
});

test('a part of a page is filled with zeros, and takes no memory', async () => {
  const copy = await start();
  const { node, address } = copy;
  const blocks = { from: 2 * BLOCK, bytes: 3 * BLOCK };
  expect(await trim(node, blocks, { address })).toBe(Status.Ok);
  expect(framesUsed(copy)).toBe(1);
  for (const block of [1, 2, 4, 5]) {
    await write(copy, block * BLOCK, 7n);
    await write(copy, (block + 1) * BLOCK - 8, 7n);
  }
  expect(await trim(node, blocks, { address })).toBe(Status.Ok);
  expect(framesUsed(copy)).toBe(2);
  for (const [block, value] of [
    [1, 7n],
    [2, 0n],
    [4, 0n],
    [5, 7n],
  ] as const) {
    expect(await read(copy, block * BLOCK)).toBe(value);
    expect(await read(copy, (block + 1) * BLOCK - 8)).toBe(value);
  }
  // Over the border of two pages.
  await write(copy, PAGE, 8n);
  const over = { from: BLOCK, bytes: PAGE };
  expect(await trim(node, over, { address })).toBe(Status.Ok);
  // Nothing else is in either.
  expect(framesUsed(copy)).toBe(1);
  expect([await read(copy, BLOCK), await read(copy, PAGE)]).toEqual([0n, 0n]);
});

test('memory that was given back can be used at once, also where all is used', async () => {
  const copy = await start({ frames: 3, zeroedFrames: 1, commitPages: 80, tableEntries: 512 });
  const { node, address, window } = copy;
  for (const page of [0, 1]) await write(copy, page * PAGE, 9n);
  const full = { ...window, address: address + 2 * PAGE, data: word(1n) };
  expect((await node.data('write', full)).status).toBe(Status.NoSpace);
  for (let round = 0; round < 5; round++) {
    expect(await trim(node, { from: 0, bytes: PAGE }, { address })).toBe(Status.Ok);
    await write(copy, 2 * PAGE, 1n);
    expect(await read(copy, 2 * PAGE + 8)).toBe(0n);
    expect(await trim(node, { from: 2 * PAGE, bytes: PAGE }, { address })).toBe(Status.Ok);
    await write(copy, 0, 2n);
  }
  expect(await read(copy, PAGE)).toBe(9n);
});

test('only blocks of the copy are trimmed, and only by who holds the lease', async () => {
  const copy = await start();
  const { node, address } = copy;
  await write(copy, 0, 5n);
  const page = { from: 0, bytes: PAGE };
  const bad = [
    { from: DATA_PAGES * PAGE, bytes: PAGE },
    { from: DATA_PAGES * PAGE - BLOCK, bytes: 2 * BLOCK },
    { from: 512, bytes: BLOCK },
    { from: 0, bytes: 512 },
    { from: 0, bytes: 2 * PAGE },
  ];
  for (const range of bad) expect(await trim(node, range, { address })).toBe(Status.Invalid);
  expect(await trim(node, page, { address, copy: 78 })).toBe(Status.NotAllocated);
  expect(await trim(node, page, { address }, 1)).toBe(Status.Stale);
  expect(await trim(node, page, { address, leaseEpoch: 2 })).toBe(Status.Stale);
  await hold(node, 1, 0, LEASE + 1);
  expect(await trim(node, page, { address, lease: LEASE + 1 })).toBe(Status.Denied);
  expect(await read(copy, 0)).toBe(5n);
  await hold(node, 2, 1);
  expect(await trim(node, page, { address })).toBe(Status.Stale);
  expect(await trim(node, page, { address, leaseEpoch: 2 }, 1)).toBe(Status.Ok);
});

test('a page that is paused is not trimmed now', async () => {
  const copy = await start();
  const { node, address } = copy;
  for (const at of [0, PAGE]) await write(copy, at, 5n);
  const { pages } = node.node.table;
  const entry = pages.find(SPACE, address / PAGE + 1);
  const flags = pages.flagsOf(entry);
  pages.setFlags(entry, flags | EntryFlag.PAUSED);
  const both = { from: BLOCK, bytes: PAGE };
  expect(await trim(node, both, { address })).toBe(Status.Busy);
  pages.setFlags(entry, flags);
  expect([await read(copy, 0), await read(copy, PAGE)]).toEqual([5n, 5n]);
  expect(await trim(node, both, { address })).toBe(Status.Ok);
  expect(await read(copy, PAGE)).toBe(0n);
});

test('the frame of a thread that stands still rests until the thread goes on', async () => {
  const node = await new Harness({ makeWorld }).start();
  // Before there is a copy: its window is over the space.
  const thread = await AttachedThread.start(node);
  const copy = await begin(node);
  const { address, window } = copy;
  await write(copy, 0, 5n);
  thread.use({ ...window, space: SPACE, rights: 6 });
  thread.begin(address, 'write', 6n);
  expect(thread.toTheCopy()).toBe(true);
  expect(await trim(node, { from: 0, bytes: PAGE }, { address })).toBe(Status.Ok);
  expect(await read(copy, 0)).toBe(0n);
  expect(node.counters()).toMatchObject({ framesUsed: 1, framesResting: 1 });
  await write(copy, 0, 7n);
  thread.end();
  expect(await read(copy, 0)).toBe(7n);
  await node.world.run({ forMs: 500 });
  expect(node.counters()).toMatchObject({ framesUsed: 2, framesResting: 0 });
  // As do all others, it finds the page where that is now.
  thread.begin(address, 'write', 8n);
  thread.end();
  expect(await read(copy, 0)).toBe(8n);
});

test('a copy that was trimmed is given back as any other', async () => {
  const copy = await start();
  const { node, address } = copy;
  for (const at of [0, PAGE]) await write(copy, at, 5n);
  expect(await trim(node, { from: 0, bytes: PAGE }, { address })).toBe(Status.Ok);
  expect(await give(node, address)).toBe(Status.Ok);
  expect(node.counters()).toMatchObject({ framesUsed: 0, pagesCommitted: 0 });
});
