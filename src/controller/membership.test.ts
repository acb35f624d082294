import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Controller } from './controller.js';
import type { HeldRegion } from './reconcile.js';
import type { NodeJoin } from './join-rules.js';
import { NO_MARK } from './mark.js';
import { FakeRack, settled } from './testing/fake-rack.js';

const beat = (request: NodeJoin) => ({ ...request, bytesUsed: 0, bytesCommitted: 0 });

async function rackWithRegion(): Promise<{
  rack: FakeRack;
  controller: Controller;
  space: SpaceId;
}> {
  const rack = new FakeRack();
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  const opened = await controller.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (opened.status !== Status.Ok) throw new Error(opened.message);
  const space = opened.space.id;
  await controller.regions.grant({ space, count: 1, bytes: 0, near: '' });
  return { rack, controller, space };
}

const states = (controller: Controller, space: SpaceId) =>
  controller.regions.list(space, 0, 100).map(({ state }) => state);

test('silence makes a node away, a heartbeat brings it back', async () => {
  const { rack, controller, space } = await rackWithRegion();
  const request = rack.joinRequest('n1');
  rack.nowMs += 6_001;
  expect(states(controller, space)).toEqual(['away']);
  expect(controller.membership.heartbeat(beat(request))).toBe(true);
  expect(states(controller, space)).toEqual(['serving']);
});

test('a heartbeat of an unknown node, or of another life of one, is not known', async () => {
  const { rack, controller } = await rackWithRegion();
  const request = rack.joinRequest('n1');
  expect(controller.membership.heartbeat(beat({ ...request, id: 'n9' }))).toBe(false);
  expect(controller.membership.heartbeat(beat({ ...request, incarnation: 2 }))).toBe(false);
  expect(controller.membership.heartbeat(beat({ ...request, memoryId: 7 }))).toBe(false);
});

test('the same memory comes back as the same node; an older life of it is refused', async () => {
  const { rack, controller, space } = await rackWithRegion();
  const again = rack.joinRequest('n1', { incarnation: 2, address: 'tcp://10.0.0.1:9999' });
  const held = [...rack.node('tcp://10.0.0.1:7101').held.values()];
  const joined = await controller.membership.join({ ...again, regions: held });
  expect(joined.status).toBe(Status.Ok);
  expect(controller.regions.list(space, 0, 9)[0]).toMatchObject({
    state: 'serving',
    address: 'tcp://10.0.0.1:9999',
  });
  const old = await controller.membership.join(rack.joinRequest('n1', { incarnation: 1 }));
  expect(old.status).toBe(Status.Stale);
});

test('other memory is refused, however long the one before is silent', async () => {
  const { rack, controller, space } = await rackWithRegion();
  const twin = rack.joinRequest('n1', { memoryId: 5, address: 'tcp://10.0.0.2:1', regions: [] });
  const early = await controller.membership.join(twin);
  expect(early).toMatchObject({ status: Status.Exists });
  rack.nowMs += 86_400_000;
  const late = await controller.membership.join(twin);
  expect(late).toMatchObject({ status: Status.Exists });
  if (late.status !== Status.Ok) expect(late.message).toContain('--replace');
  expect(states(controller, space)).toEqual(['away']);
  expect(controller.membership.recentRefusals()).toHaveLength(1);
  const next = await rack.start();
  const atSameAddress = rack.joinRequest('n1', { memoryId: 5, regions: [] });
  expect(await next.membership.join(atSameAddress)).toMatchObject({ status: Status.Exists });
  expect(states(next, space)).toEqual(['away']);
  await next.membership.join(rack.joinRequest('n1'));
  await settled();
  expect(states(next, space)).toEqual(['serving']);
});

test('once its end is told, other memory takes the id; what it held is lost', async () => {
  const { rack, controller, space } = await rackWithRegion();
  rack.nowMs += 6_001;
  const other = rack.joinRequest('n1', { memoryId: 5, address: 'tcp://10.0.0.2:1', regions: [] });
  expect(await controller.membership.join(other)).toMatchObject({ status: Status.Exists });
  await controller.membership.ended('n1', rack.joinRequest('n1').memoryId);
  expect((await controller.membership.join(other)).status).toBe(Status.Ok);
  expect(controller.membership.recentRefusals()).toEqual([]);
  await settled();
  expect(states(controller, space)).toEqual(['lost']);
  expect(rack.node('tcp://10.0.0.2:1').held.size).toBe(0);
  rack.nowMs += 60_000;
  // The first one was alive all the time: it does not get its id back while another has it.
  const first = await controller.membership.join(rack.joinRequest('n1'));
  expect(first.status).toBe(Status.Exists);
  expect(states(controller, space)).toEqual(['lost']);
  const next = await rack.start();
  expect(states(next, space)).toEqual(['lost']);
});

test('a proved end is loss at once; the end of another memory of that id is not', async () => {
  const { rack, controller, space } = await rackWithRegion();
  await controller.membership.ended('n1', 4711);
  expect(states(controller, space)).toEqual(['serving']);
  await controller.membership.ended('n1', rack.joinRequest('n1').memoryId);
  expect(states(controller, space)).toEqual(['lost']);
  expect(controller.membership.heartbeat(beat(rack.joinRequest('n1')))).toBe(false);
  const successor = rack.joinRequest('n1', { memoryId: 6, regions: [] });
  expect((await controller.membership.join(successor)).status).toBe(Status.Ok);
  expect(states(controller, space)).toEqual(['lost']);
});

test('an ended node is forgotten with the last region that it held', async () => {
  const { rack, controller } = await rackWithRegion();
  await controller.membership.join(rack.joinRequest('n2'));
  await controller.membership.ended('n2', rack.joinRequest('n2').memoryId);
  expect([...controller.membership.members.keys()]).toEqual(['n1']);
  await controller.membership.ended('n1', rack.joinRequest('n1').memoryId);
  expect([...controller.membership.members.keys()]).toEqual(['n1']);
  await controller.spaces.remove('s');
  expect([...controller.membership.members.keys()]).toEqual([]);
  expect(rack.databases.tables.get('nodes')?.size).toBe(0);
});

test('after a restart a node is away until it has told what it holds', async () => {
  const { rack, space } = await rackWithRegion();
  const controller = await rack.start();
  expect(states(controller, space)).toEqual(['away']);
  expect(controller.membership.heartbeat(beat(rack.joinRequest('n1')))).toBe(false);
  await controller.membership.join(rack.joinRequest('n1'));
  expect(states(controller, space)).toEqual(['serving']);
});

test('a region that only the node knows is kept and its numbers are never given out', async () => {
  const { rack, controller, space } = await rackWithRegion();
  const epoch = (controller.metadata.next('epoch') + 1_000) as Epoch;
  const foreign = {
    space: 4_711 as SpaceId,
    region: 9 as RegionIndex,
    epoch,
    pageBytes: 2 ** 21,
    memoryId: 1,
  };
  const ahead = {
    space,
    region: 6 as RegionIndex,
    epoch: (epoch + 1) as Epoch,
    pageBytes: 2 ** 21,
    memoryId: 1,
  };
  const node = rack.node('tcp://10.0.0.1:7101');
  node.held.set(-1, foreign);
  node.held.set(-2, ahead);
  // It never heard of this database: the one before was lost.
  node.mark = NO_MARK;
  const held = [...node.held.values()];
  await controller.membership.join(rack.joinRequest('n1', { regions: held }));
  await settled();
  const member = controller.membership.members.get('n1');
  expect(member?.unknown.map(({ region }) => region)).toEqual([9, 6]);
  expect(rack.node('tcp://10.0.0.1:7101').calls.some((call) => call.startsWith('remove'))).toBe(
    false,
  );
  expect(controller.metadata.next('space')).toBeGreaterThan(4_711);
  const granted = await controller.regions.grant({ space, count: 1, bytes: 0, near: '' });
  if (granted.status !== Status.Ok) throw new Error(granted.message);
  node.held.delete(-1);
  controller.membership.heartbeat(beat(rack.joinRequest('n1')));
  await settled();
  expect(member?.unknown.map(({ region }) => region)).toEqual([6]);
  expect(granted.regions[0]?.region).toBe(7);
  expect(granted.regions[0]?.epoch).toBeGreaterThan(epoch + 1);
});

const held = (space: number, region: number): HeldRegion => ({
  space: space as SpaceId,
  region: region as RegionIndex,
  epoch: 1 as Epoch,
});

test('what a node says about itself is checked, field by field', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  const wrong: Partial<NodeJoin>[] = [
    { id: '' },
    { id: 'two words' },
    { id: '../up' },
    { memoryId: 0 },
    { address: 'tcp://h:0' },
    { address: 'http://h:1' },
    { machine: '' },
    { machine: 'a\nb' },
    { keeper: 'a\nb' },
    { pageBytes: 3 * 2 ** 20 },
    { pageBytes: 4096 },
    { bytesLent: 1 },
    { regions: [held(1, 0)] },
    { regions: [held(2 ** 31, 1)] },
  ];
  for (const options of wrong) {
    const result = await controller.membership.join({ ...rack.joinRequest('n1'), ...options });
    expect(result.status, JSON.stringify(options)).toBe(Status.Invalid);
  }
  expect(controller.membership.members.size).toBe(0);
});

test('an operator lets a node go that holds nothing, or says that its memory is gone', async () => {
  const { rack, controller, space } = await rackWithRegion();
  const { membership } = controller;
  expect(await membership.remove('n9', true)).toMatchObject({ status: Status.NotFound });
  expect(await membership.remove('n1', true)).toMatchObject({ status: Status.Conflict });
  await membership.join(rack.joinRequest('n2'));
  rack.nowMs += 6_001;
  expect(await membership.remove('n1', false)).toMatchObject({ status: Status.Conflict });
  expect(states(controller, space)).toEqual(['away']);
  expect(await membership.remove('n2', false)).toMatchObject({ status: Status.Ok });
  expect([...membership.members.keys()]).toEqual(['n1']);
  expect(await membership.remove('n1', true)).toMatchObject({ status: Status.Ok });
  expect(states(controller, space)).toEqual(['lost']);
  // It was not gone: its bytes stay where they are, and what was called lost stays lost.
  await membership.join(rack.joinRequest('n1'));
  await settled();
  expect(states(controller, space)).toEqual(['lost']);
  expect(rack.node(rack.joinRequest('n1').address).held.size).toBe(1);
});
