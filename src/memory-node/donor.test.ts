/** What a node does when its machine is short of memory, in a simulated machine. */

import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Machine } from '../runtime/simulated/world.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { Harness, PAGE, SPACE } from './testing/harness.js';
import { give, hold, LEASE, open, take } from './testing/slab-calls.js';
import { MessageType } from '../wire/messages.js';

const FRAMES = 32;
/** In pages: give back below 4, lend above 8, of a machine of 64. */
const DONOR = { controlGroup: '', marks: { low: 4 * PAGE, high: 8 * PAGE } };
const SETTLED_MS = 20_000;

interface Rig {
  readonly node: Harness;
  readonly machine: Machine;
  /** What there is for others and for what is lent, in pages. */
  leave(pages: number): void;
  /** Physical memory of the frames, in pages. */
  held(): number;
  lent(): number;
  settle(ms?: number): Promise<void>;
}

async function start(left: number, donor = DONOR, frames = FRAMES): Promise<Rig> {
  const machines: Machine[] = [];
  const node = new Harness({
    frames,
    donor,
    makeWorld: (parts) => {
      const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
      const machine = world.machine('a');
      machine.memoryTotalBytes = 64 * PAGE;
      machine.memoryAvailableBytes = left * PAGE;
      machines.push(machine);
      const supervisor = world.program(machine, 'supervisor').runtime;
      return { supervisor, run: (options) => world.run(options) };
    },
  });
  const machine = machines[0] as Machine;
  const rig: Rig = {
    node,
    machine,
    leave: (pages) => {
      machine.memoryAvailableBytes = pages * PAGE;
    },
    held: () => machine.memoryHeldBytes / PAGE,
    lent: () => node.node.load().bytesLent / PAGE,
    settle: async (ms = SETTLED_MS) => {
      await node.world.run({ forMs: ms });
    },
  };
  await node.start();
  await rig.settle();
  return rig;
}

const word = (value: number) => Uint8Array.of(value, 0, 0, 0, 0, 0, 0, 0);

async function touch(rig: Rig, base: number, pages: number): Promise<Status[]> {
  const ends: Status[] = [];
  for (let page = 0; page < pages; page++) {
    const address = base + page * PAGE;
    ends.push((await rig.node.data('write', { address, data: word(page + 1) })).status);
  }
  return ends;
}

test('with room all is lent; the machine is told by what is held, and no more', async () => {
  const rig = await start(48);
  expect(rig.lent()).toBe(FRAMES);
  expect(rig.held()).toBe(FRAMES / 4);
  const base = await rig.node.alloc(10);
  expect(new Set(await touch(rig, base, 10))).toEqual(new Set([Status.Ok]));
  await rig.settle(100);
  expect(rig.held()).toBe(10 + FRAMES / 4);
});

test('short of memory: free frames go, new ones are refused, used ones stay', async () => {
  const rig = await start(48);
  const base = await rig.node.alloc(20);
  await touch(rig, base, 12);
  rig.leave(16);
  await rig.settle();
  // So fast a fall is taken to go on; then as much is lent as leaves the high mark. 12 are used.
  const lent = rig.lent();
  expect(lent).toBe(8);
  expect(rig.held()).toBe(12);
  const counts = { framesUsed: 12, framesLent: 8, bytesToGive: 4 * PAGE, donorPanic: false };
  expect(rig.node.counters()).toMatchObject(counts);
  const refused = await rig.node.data('write', { address: base + 15 * PAGE, data: word(1) });
  expect(refused.status).toBe(Status.NoSpace);
  const untouched = await rig.node.data('read', { address: base + 15 * PAGE, bytes: 8 });
  expect([...untouched.bytes]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  const reply = await rig.node.tryAlloc(10);
  expect(reply.status).toBe(Status.NoSpace);
  expect(reply).toMatchObject({ reason: expect.stringContaining('short of memory') as string });
  for (let page = 0; page < 12; page++) {
    const seen = await rig.node.data('read', { address: base + page * PAGE, bytes: 8 });
    expect(seen.bytes[0]).toBe(page + 1);
    const again = await rig.node.data('write', { address: base + page * PAGE, data: word(77) });
    expect(again.status).toBe(Status.Ok);
  }
});

test('what is freed goes to the machine until the limit is kept; then it can be used', async () => {
  const rig = await start(48);
  const base = await rig.node.alloc(12);
  await touch(rig, base, 12);
  const other = await rig.node.alloc(4);
  rig.leave(16);
  await rig.settle();
  expect((await touch(rig, other, 1))[0]).toBe(Status.NoSpace);
  await rig.node.free(base);
  await rig.settle(300);
  expect(rig.held()).toBeLessThanOrEqual(10);
  expect(rig.node.node.load().bytesToGive).toBe(0);
  expect(new Set(await touch(rig, other, 4))).toEqual(new Set([Status.Ok]));
  await rig.settle(300);
  expect(rig.held()).toBeLessThanOrEqual(10);
});

test('with room again more is lent, later and in steps, up to all', async () => {
  const rig = await start(48);
  rig.leave(12);
  await rig.settle();
  const low = rig.lent();
  expect(low).toBe(4);
  rig.leave(48);
  await rig.settle(3_000);
  expect(rig.lent()).toBe(low);
  await rig.settle(6_000);
  expect(rig.lent()).toBeGreaterThan(low);
  expect(rig.lent()).toBeLessThan(FRAMES);
  await rig.settle();
  expect(rig.lent()).toBe(FRAMES);
  const base = await rig.node.alloc(FRAMES);
  expect(new Set(await touch(rig, base, FRAMES))).toEqual(new Set([Status.Ok]));
});

test('what was promised before the limit fell is kept to the last frame', async () => {
  const rig = await start(48);
  const base = await rig.node.alloc(16);
  const reserved = await rig.node.data('reserve', { address: base, bytes: 16 * PAGE });
  expect(reserved.status).toBe(Status.Ok);
  const beside = await rig.node.alloc(4);
  rig.leave(10);
  await rig.settle();
  expect(rig.lent()).toBe(2);
  expect((await touch(rig, beside, 1))[0]).toBe(Status.NoSpace);
  for (let page = 0; page < 16; page++) {
    const address = base + page * PAGE;
    const end = await rig.node.data('write', { address, data: word(9), reservation: 1 });
    expect(end.status, `page ${page}`).toBe(Status.Ok);
  }
  await rig.node.data('unreserve', { address: base });
  expect(rig.node.counters()).toMatchObject({ framesUsed: 16, framesPromised: 0 });
  await rig.settle(1_000);
  expect(rig.held()).toBe(16);
});

test('a page whose frames are awaited while the limit falls is answered', async () => {
  const rig = await start(48);
  const base = await rig.node.alloc(FRAMES);
  const ends = touch(rig, base, FRAMES);
  rig.leave(20);
  const statuses = await ends;
  expect(statuses.every((one) => one === Status.Ok || one === Status.NoSpace)).toBe(true);
  await rig.settle();
  expect(rig.node.counters()['framesUsed']).toBe(
    statuses.filter((one) => one === Status.Ok).length,
  );
});

test('nonsense and nothing change nothing, and are told', async () => {
  const rig = await start(24);
  const lent = rig.lent();
  expect(lent).toBe(16);
  for (const bytes of [undefined, Number.NaN, -5, 2 ** 60]) {
    rig.machine.memoryReading = { bytes };
    await rig.settle(6_000);
    expect(rig.lent()).toBe(lent);
    expect(rig.node.node.load().donor).toBe(1);
  }
  rig.machine.memoryReading = undefined;
  await rig.settle(1_000);
  expect(rig.node.node.load().donor).toBe(0);
});

test('a control group that is not there is told, and the machine is watched', async () => {
  const rig = await start(48, { ...DONOR, controlGroup: '/elsewhere' });
  expect(rig.node.node.load().donor).toBe(1);
  rig.leave(12);
  await rig.settle();
  expect(rig.lent()).toBe(4);
});

test('a new process that takes over knows what its memory takes up', async () => {
  const rig = await start(48);
  const base = await rig.node.alloc(12);
  await touch(rig, base, 12);
  await rig.node.kill();
  rig.leave(16);
  await rig.node.start();
  await rig.settle();
  expect(rig.held()).toBe(12);
  expect(rig.lent()).toBeLessThanOrEqual(10);
  const seen = await rig.node.data('read', { address: base + 11 * PAGE, bytes: 8 });
  expect(seen.bytes[0]).toBe(12);
});

test('without being asked to, it looks at nothing', async () => {
  const node = await new Harness({
    frames: 8,
    makeWorld: (parts) => {
      const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
      const machine = world.machine('a');
      machine.memoryAvailableBytes = 0;
      const supervisor = world.program(machine, 'supervisor').runtime;
      return { supervisor, run: (options) => world.run(options) };
    },
  }).start();
  await node.world.run({ forMs: SETTLED_MS });
  expect(node.node.load()).toMatchObject({ bytesLent: 8 * PAGE, donor: 0, bytesToGive: 0 });
  const reply = await node.call(MessageType.Alloc, {
    ...{ space: SPACE, region: 1, bytes: PAGE, wish: 0, flags: 0, nonce: 3 },
  });
  expect(reply.status).toBe(Status.Ok);
});

/** A copy with so many pages beside the node's own. */
async function copyWith(rig: Rig, copy: number, pages: number): Promise<number> {
  const address = await take(rig.node, { copy });
  const window = await open(rig.node, address, { copy });
  for (let page = 0; page < pages; page++) {
    const write = { ...window, address: address + page * PAGE, data: word(1) };
    expect((await rig.node.data('write', write)).status).toBe(Status.Ok);
  }
  return address;
}

test('short of memory: the colder copy is to go, and nothing else for the same bytes', async () => {
  const rig = await start(48);
  await hold(rig.node, 1);
  const addresses = [await copyWith(rig, 71, 4), await copyWith(rig, 72, 4)];
  const tell = async (round: number, uses: readonly [number, number][], leaseEpoch = 1) => {
    const slabs = uses.map(([copy, activity]) => ({ copy, activity, isGoing: 0 }));
    return rig.node.call(MessageType.SlabActivity, { round, lease: LEASE, leaseEpoch, slabs });
  };
  expect(await tell(0, [])).toMatchObject({ status: Status.Ok, isShort: 0, round: 0, asked: [] });
  rig.leave(16);
  await rig.settle();
  expect(rig.node.node.load().bytesToGive).toBe(2 * PAGE);
  expect((await tell(0, [], 2)).status).toBe(Status.Stale);
  // Nobody has answered; a while later they are asked again.
  let asking = await tell(0, []);
  for (let i = 0; i < 40 && asking.status === Status.Ok && asking.asked.length === 0; i++) {
    await rig.settle(1_000);
    asking = await tell(0, []);
  }
  if (asking.status !== Status.Ok) throw new Error('refused');
  expect(asking.asked.map(({ copy }) => copy).sort()).toEqual([71, 72]);
  const told = await tell(asking.round, [
    [71, 9],
    [72, 4],
  ]);
  expect(told).toMatchObject({ isShort: 1, asked: [], going: [{ copy: 72 }] });
  expect(rig.node.counters()).toMatchObject({ slabsGoing: 1, slabsGone: 0 });
  const regions = await rig.node.call(MessageType.RegionsToGive, {});
  expect(regions).toMatchObject({ bytes: 0, regions: [] });
  expect(await give(rig.node, addresses[1] ?? 0, { copy: 72 })).toBe(Status.Ok);
  await rig.settle(1_000);
  expect(rig.node.node.load().bytesToGive).toBe(0);
  expect(rig.node.counters()).toMatchObject({ slabsGoing: 0, slabsGone: 1, slabs: { kept: 1 } });
  expect(await tell(0, [])).toMatchObject({ isShort: 0, going: [] });
});
