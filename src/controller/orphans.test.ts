import { expect, test } from 'vitest';
import type { Epoch } from '../base/brands.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import { leaseNumber } from '../leases/number.js';
import type { Controller } from './controller.js';
import { ORPHANS_AGAIN_MS, ORPHANS_LOOK_MS } from './limits.js';
import { FakeRack, type FakeNode, GIB } from './testing/fake-rack.js';

const MIB = 2 ** 20;
const DISK = 4_711;
const OTHER = 4_712;
const EPOCH = 5;

interface Rig {
  readonly rack: FakeRack;
  readonly controller: Controller;
  /** Of n1 and n2, which have two copies of each device, and one of a device that nobody knows. */
  readonly nodes: readonly FakeNode[];
  beat(id: string): Promise<void>;
}

async function create(controller: Controller, name: string, device: number): Promise<void> {
  const sizes = { bytes: 2 ** 40, slabBytes: 64 * MIB };
  await controller.devices.create({ name, device, ...sizes, copies: 2, options: '' });
  const lease = deviceLeaseName(device);
  const put = { name: lease, lease: leaseNumber(lease), epoch: EPOCH as Epoch, nodes: '' };
  await controller.metadata.commit([{ table: 'leases', put }]);
}

async function beat(rack: FakeRack, { membership }: Controller, id: string): Promise<void> {
  const { memoryId, incarnation } = rack.joinRequest(id);
  const bytes = { bytesLent: GIB, bytesUsed: 0, bytesCommitted: 0 };
  membership.heartbeat({ id, memoryId, incarnation, ...bytes });
  await rack.advance(100);
}

async function start(): Promise<Rig> {
  const rack = new FakeRack();
  const controller = await rack.start();
  for (const id of ['n1', 'n2']) await controller.membership.join(rack.joinRequest(id));
  await create(controller, 'disk', DISK);
  await create(controller, 'other', OTHER);
  const nodes = ['n1', 'n2'].map((id) => rack.node(rack.joinRequest(id).address));
  for (const { copies } of nodes) copies.set(DISK, 2).set(OTHER, 2).set(99, 1);
  return { rack, controller, nodes, beat: (id) => beat(rack, controller, id) };
}

const devicesOf = (nodes: readonly FakeNode[]): number[][] => {
  return nodes.map(({ copies }) => [...copies.keys()]);
};

test('what nodes have of a removed device is given back, and nothing else', async () => {
  const { controller, nodes, beat } = await start();
  await beat('n1');
  await controller.devices.remove('disk', DISK, EPOCH);
  await beat('n1');
  expect(devicesOf(nodes)).toEqual([
    [OTHER, 99],
    [DISK, OTHER, 99],
  ]);
  await beat('n2');
  expect(devicesOf(nodes)).toEqual([
    [OTHER, 99],
    [OTHER, 99],
  ]);
  expect(controller.orphans.dropped).toBe(4);
  expect(nodes.map(({ calls }) => calls.filter((call) => call.startsWith('drop')))).toEqual([
    [`drop ${DISK}`, `drop ${DISK}`],
    [`drop ${DISK}`, `drop ${DISK}`],
  ]);
});

test('a node is looked at again when another device is removed, and now and then', async () => {
  const { rack, controller, nodes, beat } = await start();
  await controller.devices.remove('disk', DISK, EPOCH);
  await beat('n1');
  await controller.devices.remove('other', OTHER, EPOCH);
  await beat('n1');
  expect(devicesOf(nodes)[0]).toEqual([99]);
  // Taken by who had the device before, while his lease had not ended there.
  nodes[0]?.copies.set(DISK, 1);
  await beat('n1');
  expect(devicesOf(nodes)[0]).toEqual([99, DISK]);
  rack.nowMs += ORPHANS_LOOK_MS;
  await beat('n1');
  expect(devicesOf(nodes)[0]).toEqual([99]);
});

test('what a node cannot give back now is asked for again', async () => {
  const { rack, controller, nodes, beat } = await start();
  const [node] = nodes as [FakeNode];
  const drop = node.drop.bind(node);
  node.drop = () => ({ dropped: 0, left: 2 });
  await controller.devices.remove('disk', DISK, EPOCH);
  await beat('n1');
  node.drop = drop;
  await beat('n1');
  expect(node.copies.get(DISK)).toBe(2);
  rack.nowMs += ORPHANS_AGAIN_MS;
  await beat('n1');
  expect(node.copies.get(DISK)).toBeUndefined();
});

test('a controller that was started again still knows what was removed', async () => {
  const { rack, controller, nodes } = await start();
  await controller.devices.remove('disk', DISK, EPOCH);
  rack.kill();
  const next = await rack.start();
  await next.membership.join(rack.joinRequest('n1'));
  await rack.advance(100);
  // Not before it knows that its database is the truth.
  expect(devicesOf(nodes)[0]).toEqual([DISK, OTHER, 99]);
  await next.membership.join(rack.joinRequest('n2'));
  await rack.advance(ORPHANS_AGAIN_MS);
  for (const id of ['n1', 'n2']) await beat(rack, next, id);
  expect(devicesOf(nodes)).toEqual([
    [OTHER, 99],
    [OTHER, 99],
  ]);
});
