import { afterEach, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { MessageType } from '../wire/messages.js';
import { memoryNodeFaults } from './planted.js';
import { AttachedThread } from './testing/attached-thread.js';
import { Harness, PAGE } from './testing/harness.js';
import type { TestWorld, WorldParts } from './testing/harness.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const FRAMES = 8;
const start = () => new Harness({ makeWorld, frames: FRAMES, commitPages: 64 }).start();
const word = (value: bigint): Uint8Array => new Uint8Array(new BigUint64Array([value]).buffer);
const wordOf = (bytes: Uint8Array): bigint => new DataView(bytes.buffer).getBigUint64(0, true);

afterEach(() => {
  memoryNodeFaults.noQuarantine = false;
  memoryNodeFaults.stoppedSlotCleared = false;
  memoryNodeFaults.adoptionDoesNotWait = false;
});

/** Writes to new pages until the node has no frame; their addresses. */
async function fill(node: Harness, value: bigint): Promise<number[]> {
  const addresses: number[] = [];
  for (;;) {
    const address = await node.alloc(1);
    const { status } = await node.data('write', { address, data: word(value) });
    if (status === Status.NoSpace) return addresses;
    expect(status).toBe(Status.Ok);
    addresses.push(address);
  }
}

async function read(node: Harness, address: number): Promise<bigint> {
  return wordOf((await node.data('read', { address, bytes: 8 })).bytes);
}

test('what a thread writes without the node messages read, and the other way round', async () => {
  const node = await start();
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(1);
  await node.data('write', { address, data: word(5n) });
  const reading = thread.begin(address, 'read');
  thread.end();
  expect([reading.isVerified, reading.accesses[0]?.found]).toEqual([true, [5n]]);
  const writing = thread.begin(address, 'write', 6n);
  thread.end();
  expect([writing.isVerified, await read(node, address)]).toEqual([true, 6n]);
});

/** The bytes of others that a thread stopped in a write has changed after its page was freed. */
async function damageAfterFree(forMs = 0): Promise<number> {
  const node = await start();
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(1);
  await node.data('write', { address, data: word(5n) });
  thread.begin(address, 'write', 6n);
  expect(thread.toTheCopy()).toBe(true);
  expect((await node.free(address)).status).toBe(Status.Ok);
  await node.world.run({ forMs });
  const others = await fill(node, 7n);
  thread.end();
  const seen = await Promise.all(others.map((other) => read(node, other)));
  return seen.filter((value) => value !== 7n).length;
}

test('a frame that a stopped thread works on is given to nobody, ever', async () => {
  for (const forMs of [0, 3_600_000]) expect(await damageAfterFree(forMs)).toBe(0);
  memoryNodeFaults.noQuarantine = true;
  expect(await damageAfterFree()).toBe(1);
  memoryNodeFaults.noQuarantine = false;
  memoryNodeFaults.stoppedSlotCleared = true;
  expect(await damageAfterFree(1_000)).toBe(1);
});

test('a stopped thread holds back one frame, which is neither used nor free', async () => {
  const node = await start();
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(3);
  for (const page of [0, 1, 2]) {
    await node.data('write', { address: address + page * PAGE, data: word(5n) });
  }
  thread.begin(address + PAGE, 'write', 6n);
  thread.toTheCopy();
  await node.free(address);
  const held = { framesResting: 1, slotsHeldBack: 1, slotsAttached: 1 };
  expect(node.counters()).toMatchObject({ ...held, framesUsed: 0, pagesCommitted: 0 });
  // What is not there is not promised, and nobody waits for it.
  const wide = await node.alloc(FRAMES);
  const reserve = (frames: number) => node.data('reserve', { address: wide, bytes: frames * PAGE });
  const usable = FRAMES - 1;
  expect((await reserve(usable + 1)).status).toBe(Status.NoSpace);
  expect((await reserve(usable)).status).toBe(Status.Ok);
  await node.data('unreserve');
  expect(await fill(node, 7n)).toHaveLength(usable);
  thread.end();
  await node.until(() => node.counters()['framesResting'] === 0);
  expect(node.counters()).toMatchObject({ slotsHeldBack: 0, framesUsed: usable });
  expect(await fill(node, 7n)).toHaveLength(1);
});

test('frames are kept for pages of threads that stop, where there are many', async () => {
  const frames = 64;
  const node = await new Harness({ makeWorld, frames, commitPages: 256 }).start();
  const wide = await node.alloc(frames);
  const reserve = (count: number) =>
    node.data('reserve', { address: wide, bytes: count * PAGE, reservation: count });
  const thread = await AttachedThread.start(node);
  expect(node.counters()['framesKept']).toBe(1);
  expect((await reserve(frames)).status).toBe(Status.NoSpace);
  await AttachedThread.start(node, 2);
  await AttachedThread.start(node, 3);
  expect(node.counters()['framesKept']).toBe(2);
  await thread.detach();
  await node.kill();
  await node.start();
  expect(node.counters()['framesKept']).toBe(2);
});

test('an address can be used again at once, also under a stopped thread', async () => {
  const node = await start();
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(1);
  await node.data('write', { address, data: word(5n) });
  thread.begin(address, 'write', 6n);
  thread.toTheCopy();
  await node.free(address);
  expect(await node.alloc(1, { wish: address })).toBe(address);
  expect(await read(node, address)).toBe(0n);
  await node.data('write', { address, data: word(7n) });
  thread.end();
  expect(await read(node, address)).toBe(7n);
});

test('the end of its process frees what a thread held back', async () => {
  const node = await start();
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(1);
  await node.data('write', { address, data: word(5n) });
  thread.begin(address, 'write', 6n);
  thread.toTheCopy();
  await node.free(address);
  await thread.process.kill();
  await node.until(() => node.counters()['framesResting'] === 0, 1_000);
  expect(node.counters()).toMatchObject({ slotsAttached: 0, slotsHeldBack: 0 });
  const next = await AttachedThread.start(node, 2);
  expect(next.slot).toBe(thread.slot);
});

/** The same over a restart of the node. */
async function damageAfterRestart(): Promise<number> {
  const node = await start();
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(1);
  await node.data('write', { address, data: word(5n) });
  const step = thread.begin(address, 'write', 6n);
  expect(thread.toTheCopy()).toBe(true);
  await node.free(address);
  await node.kill();
  await node.start();
  const resting = node.counters()['framesResting'];
  const others = await fill(node, 7n);
  thread.end();
  expect(step.isVerified).toBe(false);
  const seen = await Promise.all(others.map((other) => read(node, other)));
  expect(resting).toBe(memoryNodeFaults.adoptionDoesNotWait ? 0 : 1);
  await node.until(() => node.counters()['framesResting'] === 0);
  return seen.filter((value) => value !== 7n).length;
}

test('who was in a step when the node died is still seen to be by the next process', async () => {
  expect(await damageAfterRestart()).toBe(0);
  memoryNodeFaults.adoptionDoesNotWait = true;
  expect(await damageAfterRestart()).toBe(1);
});

test('a thread does nothing without the node between two of its processes', async () => {
  const node = await start();
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(1);
  await node.data('write', { address, data: word(5n) });
  const { slot } = thread;
  const before = thread.begin(address, 'write', 6n);
  await node.kill();
  await node.start();
  thread.end();
  expect([before.made, await read(node, address)]).toEqual([0, 5n]);
  // The same slot, under another incarnation.
  await thread.attach();
  expect(thread.slot).toBe(slot);
  thread.begin(address, 'write', 7n);
  thread.end();
  expect(await read(node, address)).toBe(7n);
  node.node.sharing.end();
  const late = thread.begin(address, 'write', 8n);
  thread.end();
  expect([late.made, late.isVerified]).toEqual([0, false]);
});

test('slots are given to processes of this machine, and taken back from their thread', async () => {
  const node = await start();
  const request = { token: 1, identity: 'b/0/5' };
  const refused = await node.call(MessageType.Attach, request);
  expect(refused.status).toBe(Status.Unsupported);
  const thread = await AttachedThread.start(node);
  const { identity } = thread.process;
  const again = await node.call(MessageType.Attach, { token: 1, identity });
  const other = await node.call(MessageType.Attach, { token: 2, identity });
  expect([again, other]).toMatchObject([{ slot: 0 }, { slot: 1, incarnation: 1 }]);
  if (other.status !== Status.Ok) throw new Error(other.reason);
  const { memory } = node.world.supervisor;
  const names = [other.table, other.frames, other.slots].map((name) => memory.open(name, 'read'));
  expect(names.map(({ name }) => name)).toEqual(
    ['table', 'frames', 'slots'].map((role) => `memrack-${role}-99-node-1`),
  );
  expect((await thread.detach()).status).toBe(Status.Ok);
  expect((await thread.detach()).status).toBe(Status.NotFound);
  expect(node.counters()).toMatchObject({ slotsAttached: 1, processesAttached: 1 });
});

test('a process that is killed needs no node to lose its slots', async () => {
  const node = await start();
  const thread = await AttachedThread.start(node);
  await thread.process.kill();
  await node.until(() => node.counters()['slotsAttached'] === 0, 10_000);
});
