import { describe, expect, test } from 'vitest';
import type { Epoch, SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import { leaseNumber } from '../leases/number.js';
import type { Controller } from './controller.js';
import { ORPHANS_AGAIN_MS, ORPHANS_LOOK_MS } from './limits.js';
import { copiesText } from './metadata/slab-sets.js';
import type { KnownCopy } from './node-calls.js';
import { FakeRack, type FakeNode, GIB } from './testing/fake-rack.js';

const MIB = 2 ** 20;
const DISK = 4_711;
const OTHER = 4_712;
const EPOCH = 5;
const BYTES = 2 ** 40;
const CUT_BYTES = 512;
const LONG_MS = 60_000;

interface Rig {
  readonly rack: FakeRack;
  readonly controller: Controller;
  /** Of n1 and n2, which have two copies of each device, and one of a device that nobody knows. */
  readonly nodes: readonly [FakeNode, FakeNode];
  beat(id: string): Promise<void>;
}

async function create(controller: Controller, name: string, device: number): Promise<void> {
  const sizes = { bytes: BYTES, slabBytes: 64 * MIB };
  await controller.devices.create({ name, device, ...sizes, copies: 2, options: '' });
  const lease = deviceLeaseName(device);
  const put = { name: lease, lease: leaseNumber(lease), epoch: EPOCH as Epoch, nodes: '' };
  await controller.metadata.commit([{ table: 'leases', put }]);
}

async function beatAt(rack: FakeRack, { membership }: Controller, id: string): Promise<void> {
  const { memoryId, incarnation } = rack.joinRequest(id);
  const bytes = { bytesLent: GIB, bytesUsed: 0, bytesCommitted: 0 };
  membership.heartbeat({ id, memoryId, incarnation, ...bytes });
  await rack.advance(100);
}

/** Of slab 0, in the last set, unless it is said otherwise. */
function copy(number: number, device: number, more: Partial<KnownCopy> = {}): KnownCopy {
  return { copy: number, device, slab: 0, leaseEpoch: EPOCH, generation: 1, ...more };
}

async function start(): Promise<Rig> {
  const rack = new FakeRack();
  const controller = await rack.start();
  for (const id of ['n1', 'n2']) await controller.membership.join(rack.joinRequest(id));
  await create(controller, 'disk', DISK);
  await create(controller, 'other', OTHER);
  const [n1, n2] = ['n1', 'n2'].map((id) => rack.node(rack.joinRequest(id).address));
  const nodes = [n1, n2] as [FakeNode, FakeNode];
  for (const node of nodes) {
    const ofEach = [DISK, DISK, OTHER, OTHER, 99];
    node.copies = ofEach.map((device, i) => copy(i + 1, device));
  }
  return { rack, controller, nodes, beat: (id) => beatAt(rack, controller, id) };
}

const copiesAt = (nodes: readonly FakeNode[]): number[][] => {
  return nodes.map(({ copies }) => copies.map((one) => one.copy));
};

test('what nodes have of a removed device is given back, and nothing else', async () => {
  const { rack, controller, nodes, beat } = await start();
  rack.nowMs += LONG_MS;
  await beat('n1');
  await controller.devices.remove('disk', DISK, EPOCH);
  await beat('n1');
  expect(copiesAt(nodes)).toEqual([
    [3, 4, 5],
    [1, 2, 3, 4, 5],
  ]);
  await beat('n2');
  expect(copiesAt(nodes)).toEqual([
    [3, 4, 5],
    [3, 4, 5],
  ]);
  expect(controller.orphans.dropped).toBe(4);
});

test('what a writer of before took, and is in no row, is given back', async () => {
  const { rack, controller, nodes } = await start();
  const { memoryId } = rack.joinRequest('n1');
  const place = { node: 'n1', memoryId, space: 3 as SpaceId, address: 0 };
  const named = copiesText([{ copy: 7, ...place }]);
  const put = { device: OTHER, slab: 3, generation: 4, copies: named };
  await controller.metadata.commit([{ table: 'slabSets', put }]);
  const before = { leaseEpoch: EPOCH - 1 };
  nodes[0].copies = [
    copy(1, DISK, { ...before, generation: 0 }),
    // In the row; and of the writer of now, who may be about to put it into one.
    copy(7, OTHER, { ...before, slab: 3, generation: 2 }),
    copy(8, OTHER, { slab: 3, generation: 0 }),
    copy(9, DISK, { generation: 0 }),
    // It has left its set.
    copy(10, OTHER, { ...before, slab: 3, generation: 3 }),
    // It counted, and the database does not know that.
    copy(11, OTHER, { ...before, slab: 3, generation: 5 }),
    copy(12, DISK, { ...before, generation: 1 }),
    copy(13, 99, { ...before, generation: 0 }),
  ];
  rack.nowMs += ORPHANS_LOOK_MS;
  await beatAt(rack, controller, 'n1');
  expect(copiesAt(nodes)[0]).toEqual([7, 8, 9, 11, 12, 13]);
});

test('a node is looked at again when another device is removed, and now and then', async () => {
  const { rack, controller, nodes, beat } = await start();
  await controller.devices.remove('disk', DISK, EPOCH);
  await beat('n1');
  await controller.devices.remove('other', OTHER, EPOCH);
  await beat('n1');
  expect(copiesAt(nodes)[0]).toEqual([5]);
  // Taken by who had the device before, while his lease had not ended there.
  nodes[0].copies.push(copy(20, DISK));
  await beat('n1');
  expect(copiesAt(nodes)[0]).toEqual([5, 20]);
  rack.nowMs += ORPHANS_LOOK_MS;
  await beat('n1');
  expect(copiesAt(nodes)[0]).toEqual([5]);
});

test('what a node cannot give back now is asked for again', async () => {
  const { rack, controller, nodes, beat } = await start();
  const [node] = nodes;
  const drop = node.drop.bind(node);
  node.drop = () => false;
  await controller.devices.remove('disk', DISK, EPOCH);
  await beat('n1');
  node.drop = drop;
  await beat('n1');
  expect(copiesAt(nodes)[0]).toEqual([1, 2, 3, 4, 5]);
  rack.nowMs += ORPHANS_AGAIN_MS;
  await beat('n1');
  expect(copiesAt(nodes)[0]).toEqual([3, 4, 5]);
});

test('a controller that was started again still knows what was removed', async () => {
  const { rack, controller, nodes } = await start();
  // Both are away then.
  rack.nowMs += LONG_MS;
  await controller.devices.remove('disk', DISK, EPOCH);
  rack.kill();
  const next = await rack.start();
  await next.membership.join(rack.joinRequest('n1'));
  await rack.advance(100);
  // Not before it knows that its database is the truth.
  expect(copiesAt(nodes)[0]).toEqual([1, 2, 3, 4, 5]);
  await next.membership.join(rack.joinRequest('n2'));
  await rack.advance(ORPHANS_AGAIN_MS);
  for (const id of ['n1', 'n2']) await beatAt(rack, next, id);
  expect(copiesAt(nodes)).toEqual([
    [3, 4, 5],
    [3, 4, 5],
  ]);
});

describe('a device that was cut', () => {
  const NAMED = { name: 'disk', device: DISK, epoch: EPOCH };
  const busy = { status: Status.Busy };

  const cut = ({ devices }: Controller) =>
    devices.resize({ ...NAMED, bytesBefore: BYTES, bytes: CUT_BYTES, isForced: true });
  const grow = ({ devices }: Controller) =>
    devices.resize({ ...NAMED, bytesBefore: CUT_BYTES, bytes: BYTES, isForced: false });

  /** Each node has one copy beyond the end, and n2 is away if that is said. */
  async function startCutting(isAway: boolean): Promise<Rig> {
    const rig = await start();
    for (const { copies } of rig.nodes) copies.push(copy(21, DISK, { slab: 9 }));
    if (isAway) rig.rack.nowMs += LONG_MS;
    await rig.beat('n1');
    return rig;
  }

  const areThere = (nodes: readonly FakeNode[]) =>
    copiesAt(nodes).map((copies) => copies.includes(21));

  test('grows when no node has anything beyond its end', async () => {
    const { rack, controller, nodes } = await startCutting(false);
    // Of another epoch than that of who cuts it.
    nodes[0].copies.push(copy(22, DISK, { slab: 9, leaseEpoch: EPOCH + 1 }));
    expect(await cut(controller)).toEqual({ status: Status.Ok });
    expect(await grow(controller)).toMatchObject(busy);
    await rack.advance(100);
    expect(copiesAt(nodes)).toEqual([
      [1, 2, 3, 4, 5, 22],
      [1, 2, 3, 4, 5],
    ]);
    expect(await grow(controller)).toEqual({ status: Status.Ok });
    expect(controller.metadata.cuts.size).toBe(0);
  });

  test('waits for a node that is away, also after the controller was started again', async () => {
    const { rack, controller, nodes, beat } = await startCutting(true);
    await cut(controller);
    await beat('n1');
    expect(areThere(nodes)).toEqual([false, true]);
    expect(JSON.stringify(await grow(controller))).toContain('not all gone at n2: see');
    rack.kill();
    const next = await rack.start();
    await next.membership.join(rack.joinRequest('n1'));
    await beatAt(rack, next, 'n1');
    expect(await grow(next)).toMatchObject(busy);
    await next.membership.join(rack.joinRequest('n2'));
    await rack.advance(ORPHANS_AGAIN_MS);
    for (const id of ['n1', 'n2']) await beatAt(rack, next, id);
    expect(areThere(nodes)).toEqual([false, false]);
    expect(await grow(next)).toEqual({ status: Status.Ok });
  });

  test('a look that began before the cut says nothing of it, and another one follows', async () => {
    const { rack, controller, nodes, beat } = await startCutting(false);
    const [, second] = nodes;
    const whole = second.copies;
    second.copies = [];
    rack.nowMs += ORPHANS_LOOK_MS;
    for (const id of ['n1', 'n2']) {
      const { memoryId, incarnation } = rack.joinRequest(id);
      const bytes = { bytesLent: GIB, bytesUsed: 0, bytesCommitted: 0 };
      controller.membership.heartbeat({ id, memoryId, incarnation, ...bytes });
    }
    // It has asked, and finds nothing.
    await Promise.resolve();
    await Promise.resolve();
    second.copies = whole;
    await cut(controller);
    await rack.advance(100);
    expect(areThere(nodes)).toEqual([false, false]);
    expect(await grow(controller)).toEqual({ status: Status.Ok });
    await beat('n1');
    expect(controller.metadata.cuts.size).toBe(0);
  });

  test('that is cut again waits for what was beyond either end', async () => {
    const { controller, nodes, beat } = await startCutting(true);
    const bytes = 2 ** 35;
    const named = { ...NAMED, isForced: true };
    await controller.devices.resize({ ...named, bytesBefore: BYTES, bytes });
    await controller.devices.resize({ ...named, bytesBefore: bytes, bytes: CUT_BYTES });
    await beat('n1');
    expect(await grow(controller)).toMatchObject(busy);
    await beat('n2');
    expect(areThere(nodes)).toEqual([false, false]);
    expect(await grow(controller)).toEqual({ status: Status.Ok });
  });

  test('does not wait for a node that is gone for good', async () => {
    const { controller, beat } = await startCutting(true);
    await cut(controller);
    await beat('n1');
    expect(await grow(controller)).toMatchObject(busy);
    await controller.membership.remove('n2', true);
    expect(await grow(controller)).toEqual({ status: Status.Ok });
  });

  test('is not waited for when it is removed', async () => {
    const { controller } = await startCutting(true);
    await cut(controller);
    expect(controller.metadata.cuts.size).toBe(1);
    await controller.devices.remove('disk', DISK, EPOCH);
    expect(controller.metadata.cuts.size).toBe(0);
  });
});
