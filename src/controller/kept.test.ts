import type { SpaceId } from '../base/brands.js';
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { SpaceKind } from '../wire/messages.js';
import type { Controller } from './controller.js';
import type { NodeJoin } from './join-rules.js';
import { FakeRack } from './testing/fake-rack.js';

const DISK = { kind: SpaceKind.PERSISTENT, fileSystem: '', isTrusted: false };

async function space(controller: Controller, kind: number): Promise<SpaceId> {
  const made = { name: `s${kind}`, create: true, kind, pageBytes: 0 };
  const opened = await controller.spaces.open(made);
  if (opened.status !== Status.Ok) throw new Error(opened.message);
  return opened.space.id;
}

/** A node on a disk, n1, with one region of a persistent space; n2 lends its memory. */
async function started() {
  const rack = new FakeRack();
  const controller = await rack.start();
  const join = (change: Partial<NodeJoin> = {}) =>
    controller.membership.join(rack.joinRequest('n1', { ...DISK, openings: [11], ...change }));
  expect((await join()).status).toBe(Status.Ok);
  await controller.membership.join(rack.joinRequest('n2'));
  const id = await space(controller, SpaceKind.PERSISTENT);
  const grant = { count: 1, bytes: 0, near: '' };
  expect((await controller.regions.grant({ space: id, ...grant })).status).toBe(Status.Ok);
  return { rack, controller, join, id, grant };
}

test('a persistent space is on disks alone, every other one never', async () => {
  const { controller, id, grant } = await started();
  for (let i = 0; i < 4; i++) await controller.regions.grant({ space: id, ...grant });
  const nodes = new Set(controller.regions.list(id, 0, 9).map(({ node }) => node));
  expect([...nodes]).toEqual(['n1']);
  const other = await space(controller, SpaceKind.DRAM);
  for (let i = 0; i < 4; i++) await controller.regions.grant({ space: other, ...grant });
  expect(new Set(controller.regions.list(other, 0, 9).map(({ node }) => node))).toEqual(
    new Set(['n2']),
  );
});

test('without a node on a disk a persistent space waits for one', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  const id = await space(controller, SpaceKind.PERSISTENT);
  const refused = await controller.regions.grant({ space: id, count: 1, bytes: 0, near: '' });
  expect(refused).toMatchObject({ status: Status.Unavailable });
  expect(JSON.stringify(refused)).toContain('--persistent');
});

test('a file that does not know its last opening is refused until an operator speaks', async () => {
  const { rack, controller, join, id } = await started();
  expect((await join({ openings: [11, 12], incarnation: 2 })).status).toBe(Status.Ok);
  // The join was answered, and the answer lost; then the node was opened twice without us.
  expect((await join({ openings: [11, 12, 13, 14], incarnation: 5 })).status).toBe(Status.Ok);
  const copy = { openings: [11, 99], incarnation: 9 };
  const refused = await join(copy);
  expect(refused).toMatchObject({ status: Status.Stale });
  expect(JSON.stringify(refused)).toContain('--trust-copy');
  // It stays so when the controller comes back.
  const again = await rack.start();
  const request = rack.joinRequest('n1', { ...DISK, ...copy });
  expect((await again.membership.join(request)).status).toBe(Status.Stale);
  const trusted = await again.membership.join({ ...request, isTrusted: true });
  expect(trusted.status).toBe(Status.Ok);
  expect(again.regions.list(id, 0, 9)).toMatchObject([{ state: 'serving' }]);
  expect(controller).not.toBe(again);
});

test('a region that was confirmed and is missing is lost, and not granted again', async () => {
  const { rack, controller, join, id } = await started();
  const node = rack.node(rack.joinRequest('n1').address);
  const held = [...node.held.values()];
  expect((await join({ regions: held, incarnation: 2 })).status).toBe(Status.Ok);
  expect(controller.regions.list(id, 0, 9)).toMatchObject([{ state: 'serving' }]);
  node.held.clear();
  expect((await join({ regions: [], incarnation: 3 })).status).toBe(Status.Ok);
  expect(controller.regions.list(id, 0, 9)).toMatchObject([{ state: 'lost' }]);
  expect(node.held.size).toBe(0);
});

test('one that nobody has confirmed is granted again', async () => {
  const { rack, controller, join, id, grant } = await started();
  const node = rack.node(rack.joinRequest('n1').address);
  node.answer = () => Status.Timeout;
  await controller.regions.grant({ space: id, ...grant });
  node.answer = () => Status.Ok;
  const held = [...node.held.values()];
  expect(held).toHaveLength(1);
  expect((await join({ regions: held, incarnation: 2 })).status).toBe(Status.Ok);
  const states = controller.regions.list(id, 0, 9).map(({ state }) => state);
  expect(states).not.toContain('lost');
});
