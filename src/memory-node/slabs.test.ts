import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { EntryFlag } from '../disk/page-table.js';
import { OWNER_BLOCK_BYTES, OWNER_RECORD_BYTES, putOwner } from '../disk/slab-owner.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { REGION_BYTES, SLABS_PER_MESSAGE_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { AttachedThread } from './testing/attached-thread.js';
import { BASE, Harness, PAGE, SPACE } from './testing/harness.js';
import type { HarnessOptions, TestWorld, WorldParts } from './testing/harness.js';
import { DEVICE, give, hold, LEASE, listed, mark, open, TAKE } from './testing/slab-calls.js';
import { take, tryGive, tryOpen, tryTake } from './testing/slab-calls.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

/** A node whose client 0 holds the lease in epoch 1. */
async function start(options: Partial<HarnessOptions> = {}): Promise<Harness> {
  const node = await new Harness({ makeWorld, ...options }).start();
  await hold(node, 1);
  return node;
}

const status = async (reply: Promise<{ readonly status: Status }>) => (await reply).status;
const { region: _region, ...TAKEN } = { ...TAKE, generation: 0 };
const { bytes: BYTES } = TAKE;
const PAGES = BYTES / PAGE;
const word = (value: bigint): Uint8Array => new Uint8Array(new BigUint64Array([value]).buffer);
const NOTHING = { pagesCommitted: 0, framesUsed: 0, framesPromised: 0 };

async function write(
  node: Harness,
  address: number,
  window: { window: number; epoch: number },
  value = 1n,
): Promise<Status> {
  return (await node.data('write', { ...window, address, data: word(value) })).status;
}

async function read(node: Harness, address: number, window: { window: number; epoch: number }) {
  const { bytes } = await node.data('read', { ...window, address, bytes: 8 });
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

test('a copy is taken once, however often it is asked for, and is listed', async () => {
  const node = await start();
  const address = await take(node);
  expect(await take(node)).toBe(address);
  expect(await listed(node)).toMatchObject([{ ...TAKEN, address }]);
  expect(await listed(node, DEVICE + 1)).toEqual([]);
  for (const other of [{ device: 5 }, { slab: 4 }, { bytes: BYTES + PAGE }]) {
    expect(await status(tryTake(node, other))).toBe(Status.Invalid);
  }
  const slabs = { kept: 1, bytes: BYTES, withoutRecord: 0 };
  expect(node.counters()).toMatchObject({ framesUsed: 1, pagesCommitted: PAGES, slabs });
  // Nobody has to confirm it.
  await node.world.run({ forMs: 31_000 });
  expect(await listed(node)).toHaveLength(1);
});

test('all that is behind its blocks has memory, also where frames come one by one', async () => {
  const node = await start({ frames: 8, zeroedFrames: 1, commitPages: 80, tableEntries: 512 });
  const bytes = 64 * PAGE;
  const address = await take(node, { bytes });
  expect(node.counters()).toMatchObject({ framesUsed: 2, framesPromised: 0 });
  const window = await open(node, address);
  for (const page of [60, 63]) {
    expect(await read(node, address + page * PAGE, window)).toBe(0n);
    expect(await write(node, address + page * PAGE, window)).toBe(Status.Ok);
  }
  expect(node.counters()).toMatchObject({ framesUsed: 2 });
  expect(await status(tryTake(node, { copy: 78, slab: 4, bytes: 5 * PAGE }))).toBe(Status.Ok);
});

test('calls for one copy that come at once make one copy', async () => {
  const node = await start();
  const replies = [1, 2, 3].map(() => node.begin(MessageType.TakeSlab, TAKE));
  await node.until(() => replies.every((reply) => reply() !== undefined));
  const addresses = replies.map((reply) => (reply() as { address?: number }).address);
  expect(new Set(addresses).size).toBe(1);
  expect(node.counters()).toMatchObject({ pagesCommitted: PAGES, framesUsed: 1 });
});

test('what cannot be a copy here is refused, and leaves nothing', async () => {
  const node = await start();
  expect(await status(tryTake(node, { leaseEpoch: 2 }))).toBe(Status.Stale);
  expect(await status(tryTake(node, { lease: LEASE + 1 }))).toBe(Status.Stale);
  expect(await status(tryTake(node, {}, 1))).toBe(Status.Stale);
  expect(await status(tryTake(node, { region: 2 }))).toBe(Status.NotFound);
  expect(await status(tryTake(node, { space: SPACE + 1 }))).toBe(Status.NotFound);
  for (const bytes of [0, 4 * PAGE, BYTES + 4096, REGION_BYTES + PAGE]) {
    expect(await status(tryTake(node, { bytes }))).toBe(Status.Invalid);
  }
  expect(await status(tryTake(node, { bytes: 64 * PAGE }))).toBe(Status.NoSpace);
  expect(node.counters()).toMatchObject({ ...NOTHING, slabs: { kept: 0 } });
});

test('a copy is not taken any more once who raised the epoch was answered', async () => {
  const node = await start();
  const taking = node.begin(MessageType.TakeSlab, TAKE);
  const raising = node.begin(MessageType.RaiseLease, { lease: LEASE, epoch: 2 });
  await node.until(() => raising() !== undefined);
  expect(await listed(node)).toEqual([]);
  await node.until(() => taking() !== undefined);
  expect(taking()?.status).toBe(Status.Stale);
  expect(await listed(node)).toEqual([]);
  expect(node.counters()).toMatchObject(NOTHING);
  await hold(node, 3);
  await take(node, { leaseEpoch: 3, bytes: 32 * PAGE });
});

test('a copy is given back by its number, by the holder alone', async () => {
  const node = await start();
  const address = await take(node);
  expect(await give(node, address, { copy: 78 })).toBe(Status.NotAllocated);
  expect(await give(node, address + REGION_BYTES)).toBe(Status.NotFound);
  expect(await status(tryGive(node, address, {}, 1))).toBe(Status.Stale);
  expect(await give(node, address, { leaseEpoch: 2 })).toBe(Status.Stale);
  await hold(node, 1, 0, LEASE + 1);
  expect(await give(node, address, { lease: LEASE + 1 })).toBe(Status.Denied);
  expect(await listed(node)).toHaveLength(1);
  // By any address of its region, for who does not know where it is.
  expect(await give(node, BASE)).toBe(Status.Ok);
  expect(await give(node, address)).toBe(Status.NotAllocated);
  expect(node.counters()).toMatchObject({ ...NOTHING, slabs: { kept: 0 } });
});

test('the next holder of the lease gives back what the one before took', async () => {
  const node = await start();
  const address = await take(node);
  await hold(node, 2, 1);
  expect(await give(node, address)).toBe(Status.Stale);
  expect(await status(tryGive(node, address, { leaseEpoch: 2 }, 1))).toBe(Status.Ok);
  expect(await listed(node)).toEqual([]);
});

test('to give a copy back once more does the one at its place no harm', async () => {
  const node = await start({ tableEntries: 65536, commitPages: 16384, frames: 64 });
  const whole = { bytes: REGION_BYTES };
  const address = await take(node, whole);
  const former = await open(node, address);
  expect(await give(node, address)).toBe(Status.Ok);
  const next = { ...whole, copy: 79 };
  expect(await take(node, next)).toBe(address);
  const window = await open(node, address, { copy: 79 });
  expect(await write(node, address, window, 5n)).toBe(Status.Ok);
  expect(await write(node, address, former, 6n)).toBe(Status.Stale);
  expect(await give(node, address)).toBe(Status.NotAllocated);
  expect(await status(tryOpen(node, address))).toBe(Status.NotAllocated);
  expect(await mark(node, 1, address)).toBe(Status.NotAllocated);
  expect(await listed(node)).toMatchObject([{ ...next, generation: 0 }]);
  expect(await read(node, address, window)).toBe(5n);
});

test('one that is still being made is given back when it is made', async () => {
  const node = await start();
  const taking = node.begin(MessageType.TakeSlab, TAKE);
  expect(await status(tryOpen(node, BASE))).toBe(Status.Busy);
  expect(await give(node, BASE)).toBe(Status.Ok);
  expect(taking()?.status).toBe(Status.Ok);
  expect(await listed(node)).toEqual([]);
});

test('a window is over one copy, but for what the node keeps there, and ends with it', async () => {
  const node = await start({ frames: 32 });
  const [one, other] = [await take(node), await take(node, { copy: 78 })];
  const window = await open(node, one);
  expect(await open(node, one)).toEqual(window);
  const beside = await open(node, other, { copy: 78 });
  const end = BYTES - OWNER_BLOCK_BYTES;
  expect(await write(node, one, window)).toBe(Status.Ok);
  expect(await write(node, one + end - 8, window)).toBe(Status.Ok);
  expect(await write(node, one + end, window)).toBe(Status.Denied);
  expect(await write(node, other, window)).toBe(Status.Denied);
  expect(await status(tryOpen(node, one, {}, 1))).toBe(Status.Stale);
  expect(await give(node, one)).toBe(Status.Ok);
  expect(await write(node, one, window)).toBe(Status.Stale);
  expect(await write(node, other, beside)).toBe(Status.Ok);
  await hold(node, 2);
  expect(await write(node, other, beside)).toBe(Status.Stale);
  const again = await open(node, other, { copy: 78, leaseEpoch: 2 });
  expect(await write(node, other, again)).toBe(Status.Ok);
});

/** A copy, a thread that is stopped where it will store there, and the call that gives it back. */
async function givenUnderWork(node: Harness) {
  const thread = await AttachedThread.start(node);
  const address = await take(node);
  const window = await open(node, address);
  expect(await write(node, address, window, 5n)).toBe(Status.Ok);
  thread.use({ ...window, space: SPACE, rights: 6 });
  thread.begin(address, 'write', 6n);
  expect(thread.toTheCopy()).toBe(true);
  const request = { space: SPACE, address, copy: TAKE.copy, lease: LEASE, leaseEpoch: 1 };
  return { address, giving: node.begin(MessageType.GiveSlab, request) };
}

test('a thread that is at work in a copy is waited for before it is given back', async () => {
  const node = await start();
  const { address, giving } = await givenUnderWork(node);
  await node.world.run({ forMs: 20 });
  expect(giving()).toBeUndefined();
  expect(await listed(node)).toHaveLength(1);
  expect(await status(tryOpen(node, address))).toBe(Status.Busy);
  // Stopped for good: its page is copied away from under it.
  await node.until(() => giving() !== undefined);
  expect(giving()?.status).toBe(Status.Ok);
  expect(await listed(node)).toEqual([]);
});

test('who has lost the lease while he waited for that gives nothing back', async () => {
  const node = await start();
  const { address, giving } = await givenUnderWork(node);
  await node.world.run({ forMs: 20 });
  await hold(node, 2, 1);
  await node.until(() => giving() !== undefined);
  expect(giving()?.status).toBe(Status.Stale);
  expect(await listed(node)).toHaveLength(1);
  expect(await status(tryGive(node, address, { leaseEpoch: 2 }, 1))).toBe(Status.Ok);
});

test('a space with a copy in it is for copies alone', async () => {
  const node = await start();
  const before = await node.windowOf(0);
  const address = await take(node);
  expect(await write(node, address, before)).toBe(Status.Stale);
  const range = { space: SPACE, address: address + PAGE, bytes: PAGE };
  const lease = { lease: LEASE, leaseEpoch: 1, isShared: 0, parent: 0, parentEpoch: 0 };
  const window = { space: SPACE, rights: 3, base: address, bytes: PAGE, ...lease };
  expect(await status(node.call(MessageType.OpenWindow, { space: SPACE, rights: 3 }))).toBe(
    Status.Denied,
  );
  expect(await status(node.call(MessageType.OpenRange, window))).toBe(Status.Denied);
  expect(await status(node.tryAlloc(1))).toBe(Status.Denied);
  expect(await status(node.free(address))).toBe(Status.Denied);
  expect(await status(node.call(MessageType.Protect, { ...range, rights: 1 }))).toBe(Status.Denied);
  expect(await status(node.call(MessageType.Relocate, range))).toBe(Status.Denied);
  expect(await status(node.confirm(address, 0))).toBe(Status.NotAllocated);
  expect(await give(node, address)).toBe(Status.Ok);
  expect(await status(node.tryAlloc(1))).toBe(Status.Ok);
});

test('a space with plain memory in it is not for copies', async () => {
  const node = await start();
  const address = await node.alloc(1);
  const window = await node.windowOf(0);
  expect(await status(tryTake(node))).toBe(Status.Conflict);
  expect(await write(node, address, window)).toBe(Status.Ok);
  expect(node.counters()).toMatchObject({ pagesCommitted: 1, framesUsed: 1, framesPromised: 0 });
});

test('a copy, its bytes and its generation outlive the process', async () => {
  const node = await start();
  const address = await take(node);
  expect(await write(node, address + 8, await open(node, address), 7n)).toBe(Status.Ok);
  for (const generation of [3, 2, 5]) expect(await mark(node, generation, address)).toBe(Status.Ok);
  expect(await listed(node)).toMatchObject([{ ...TAKEN, address, generation: 5 }]);
  await node.kill();
  await node.start();
  expect(await listed(node)).toMatchObject([{ ...TAKEN, address, generation: 5 }]);
  expect(await read(node, address + 8, await open(node, address))).toBe(7n);
  expect(await take(node)).toBe(address);
  expect(await mark(node, 4, address)).toBe(Status.Ok);
  expect(await listed(node)).toMatchObject([{ generation: 5 }]);
  expect(await status(node.tryAlloc(1))).toBe(Status.Denied);
  expect(await give(node, address)).toBe(Status.Ok);
  await node.kill();
  await node.start();
  expect(await listed(node)).toEqual([]);
  expect(node.counters()).toMatchObject(NOTHING);
});

/** The words of the record that the last block of a copy at `address` would have. */
function recordAt(node: Harness, address: number, pages = PAGES, place = 0): Int32Array {
  const { pages: table } = node.node.table;
  const entry = table.find(SPACE, address / PAGE + pages - 1);
  const { buffer, byteOffset } = node.openFiles().frame(table.frameOf(entry));
  const at = byteOffset + PAGE - OWNER_BLOCK_BYTES + place * OWNER_RECORD_BYTES;
  return new Int32Array(buffer, at, OWNER_RECORD_BYTES / 4);
}

test('a record that was being written when the process was killed is the one before', async () => {
  const node = await start();
  const address = await take(node);
  for (const [generation, place] of [
    [1, 1],
    [2, 0],
  ] as const) {
    expect(await mark(node, generation, address)).toBe(Status.Ok);
    recordAt(node, address, PAGES, place)[9] = 77;
    await node.kill();
    await node.start();
    expect(await listed(node)).toMatchObject([{ ...TAKEN, address, generation: generation - 1 }]);
    expect(await mark(node, generation, address)).toBe(Status.Ok);
    expect(await listed(node)).toMatchObject([{ generation }]);
  }
});

test("what looks like a copy in a client's memory is none, also for a new process", async () => {
  const node = await start();
  const address = await node.alloc(PAGES);
  await node.data('write', { address: address + BYTES - PAGE, data: word(1n) });
  putOwner(recordAt(node, address), { ...TAKE, generation: 1 });
  await node.kill();
  await node.start();
  expect(await listed(node)).toEqual([]);
  expect(node.counters()).toMatchObject({ slabs: { kept: 0, withoutRecord: 0 } });
  expect(await status(node.free(address))).toBe(Status.Ok);
});

test('a copy that has lost its record is told, and can be freed', async () => {
  const node = await start();
  const address = await take(node);
  recordAt(node, address)[5] = 1;
  await node.kill();
  await node.start();
  expect(await listed(node)).toEqual([]);
  const slabs = { kept: 0, bytes: BYTES, withoutRecord: 1 };
  expect(node.counters()).toMatchObject({ slabs });
  expect(await give(node, address)).toBe(Status.NotAllocated);
  expect(await status(node.free(address))).toBe(Status.Ok);
  expect(node.counters()).toMatchObject({ slabs: { bytes: 0, withoutRecord: 0 } });
  expect(await status(node.tryAlloc(1))).toBe(Status.Ok);
});

test('one that was not confirmed goes with the process that made it', async () => {
  const node = await start();
  const address = await take(node);
  await node.kill();
  const { pages } = node.node.table;
  const entry = pages.find(SPACE, address / PAGE);
  pages.setFlags(entry, pages.flagsOf(entry) | EntryFlag.PROVISIONAL);
  await node.start();
  expect(await listed(node)).toEqual([]);
  expect(node.counters()).toMatchObject(NOTHING);
});

test('without frames for its records a copy is refused, and leaves nothing', async () => {
  const node = await start({ frames: 2, zeroedFrames: 1, commitPages: 80, tableEntries: 512 });
  await take(node);
  expect(await status(tryTake(node, { copy: 78, bytes: 64 * PAGE }))).toBe(Status.NoSpace);
  expect(node.counters()).toMatchObject({ pagesCommitted: PAGES, framesPromised: 0 });
  await take(node, { copy: 78 });
  expect(await status(tryTake(node, { copy: 79 }))).toBe(Status.NoSpace);
  expect(node.counters()).toMatchObject({ pagesCommitted: 2 * PAGES, slabs: { kept: 2 } });
});

test('copies go with their space', async () => {
  const node = await start();
  await take(node);
  await node.call(MessageType.RemoveSpace, { space: SPACE });
  expect(await listed(node)).toEqual([]);
  expect(node.counters()).toMatchObject({ ...NOTHING, slabs: { kept: 0, bytes: 0 } });
});

const dropped = (...copies: number[]) => ({ copies: copies.map((copy) => ({ copy })) });

test("copies that are nobody's are given back by their numbers, whoever asks", async () => {
  const node = await start({ frames: 8, commitPages: 8 * PAGES });
  for (const copy of [1, 2, 3]) await take(node, { copy });
  const [first] = await listed(node, DEVICE);
  const window = await open(node, first?.address as number, { copy: 1 });
  expect(await write(node, first?.address as number, window)).toBe(Status.Ok);
  const drop = () => node.call(MessageType.DropCopies, dropped(1, 9, 3));
  expect(await status(drop())).toBe(Status.Ok);
  expect(await status(drop())).toBe(Status.Ok);
  expect(await write(node, first?.address as number, window)).toBe(Status.Stale);
  expect((await listed(node)).map(({ copy }) => copy)).toEqual([2]);
  expect(node.counters()).toMatchObject({ slabs: { kept: 1 } });
});

test("a copy that is nobody's, and at which a thread is at work, is waited for", async () => {
  const node = await start();
  await givenUnderWork(node);
  const [copy] = await listed(node);
  const dropping = node.begin(MessageType.DropCopies, dropped(copy?.copy as number));
  await node.world.run({ forMs: 20 });
  expect(dropping()).toBeUndefined();
  await node.until(() => dropping() !== undefined);
  expect(dropping()).toMatchObject({ status: Status.Ok });
  expect(await listed(node)).toEqual([]);
});

test('many copies are told page by page, each once', async () => {
  const count = SLABS_PER_MESSAGE_MAX + 5;
  const node = await start({ frames: count, commitPages: count * PAGES, tableEntries: 65536 });
  for (let copy = count; copy > 0; copy--) await take(node, { copy });
  const all = await listed(node);
  expect(all.map(({ copy }) => copy)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
});
