import type { SpaceId } from '../base/brands.js';
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Controller } from './controller.js';
import { isRefusal, type Result } from './refusal.js';
import { FakeRack, GIB, settled } from './testing/fake-rack.js';

function ok<T>(result: Result<T>): T {
  if (isRefusal(result)) throw new Error(`refused: ${result.message}`);
  return result;
}

async function join(rack: FakeRack, controller: Controller, ...ids: string[]): Promise<void> {
  for (const id of ids) ok(await controller.membership.join(rack.joinRequest(id)));
}

async function space(controller: Controller, name = 's'): Promise<SpaceId> {
  const opened = ok(await controller.spaces.open({ name, create: true, kind: 0, pageBytes: 0 }));
  return opened.space.id;
}

const grant = (controller: Controller, id: SpaceId, count = 1, bytes = 0, near = '') =>
  controller.regions.grant({ space: id, count, bytes, near });

test('a grant is held by its node and durable; region 0 is never used', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1', 'n2');
  const id = await space(controller);
  const first = ok(await grant(controller, id)).regions;
  const next = ok(await grant(controller, id, 3)).regions;
  expect([...first, ...next].map(({ region }) => region)).toEqual([1, 2, 3, 4]);
  for (const placed of [...first, ...next]) {
    expect(placed.state).toBe('serving');
    const held = [...rack.node(placed.address).held.values()];
    const { region, epoch } = placed;
    const wanted = { space: id, region, epoch, pageBytes: 2 ** 21 };
    expect(held).toContainEqual(expect.objectContaining(wanted));
  }
  expect(new Set([...first, ...next].map(({ epoch }) => epoch)).size).toBe(4);
  expect(rack.databases.tables.get('regions')?.size).toBe(4);
});

test('nothing is told before it is durable', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  const id = await space(controller);
  rack.databases.beforeCommit = () => rack.kill();
  void grant(controller, id);
  await settled();
  expect(rack.node(rack.joinRequest('n1').address).held.size).toBe(0);
});

test('concurrent grants of a space get different regions', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1', 'n2', 'n3');
  const id = await space(controller);
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) => grant(controller, id, 1 + (i % 3))),
  );
  const regions = results.flatMap((result) => ok(result).regions.map(({ region }) => region));
  expect(new Set(regions).size).toBe(regions.length);
  for (const result of results) {
    const run = ok(result).regions.map(({ region }) => region);
    expect(run).toEqual(run.map((_, i) => (run[0] ?? 0) + i));
  }
});

test('a node that refuses leaves no trace, and another one is taken', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1', 'n2');
  const id = await space(controller);
  const refusing = rack.node(rack.joinRequest('n1').address);
  refusing.answer = () => Status.NoSpace;
  for (let i = 0; i < 8; i++) {
    expect(ok(await grant(controller, id)).regions[0]?.node).toBe('n2');
  }
  expect(refusing.calls.length).toBeGreaterThan(0);
  expect(controller.metadata.regionsOfNode('n1').size).toBe(0);
  rack.node(rack.joinRequest('n2').address).answer = () => Status.NoSpace;
  expect(await grant(controller, id)).toMatchObject({ status: Status.NoSpace });
  expect(controller.metadata.regionsOfNode('n2').size).toBe(8);
});

test('a lost reply: the client gets other regions, the node keeps its own', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1', 'n2');
  const id = await space(controller);
  const silent = rack.node(rack.joinRequest('n1').address);
  silent.answer = () => Status.OutcomeUnknown;
  silent.executesAnyway = true;
  const got = ok(await grant(controller, id, 2, 0, 'n1')).regions;
  expect(got.every(({ node }) => node === 'n2')).toBe(true);
  const owed = controller.regions.list(id, 0, 100).filter(({ node }) => node === 'n1');
  expect(owed.map(({ state }) => state)).toEqual(owed.map(() => 'away'));
  expect(owed.length).toBeGreaterThan(0);
  silent.answer = () => Status.Ok;
  const beat = { ...rack.joinRequest('n1'), bytesUsed: 0, bytesCommitted: 0 };
  expect(controller.membership.heartbeat(beat)).toBe(true);
  await settled();
  const after = controller.regions.list(id, 0, 100).filter(({ node }) => node === 'n1');
  expect(after.map(({ state }) => state)).toEqual(after.map(() => 'serving'));
  expect(silent.held.size).toBe(after.length);
});

test('without a serving node or without room: said, with nothing changed', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  const id = await space(controller);
  expect(await grant(controller, id)).toMatchObject({ status: Status.Unavailable });
  await join(rack, controller, 'n1');
  expect(await grant(controller, 77 as SpaceId)).toMatchObject({ status: Status.NotFound });
  expect(await grant(controller, id, 0)).toMatchObject({ status: Status.Invalid });
  expect(await grant(controller, id, 3, GIB)).toMatchObject({ status: Status.NoSpace });
  expect(controller.metadata.regionsOf(id).size).toBe(0);
  expect(ok(await grant(controller, id, 2, GIB)).regions.length).toBe(2);
  const beat = { ...rack.joinRequest('n1'), bytesUsed: GIB, bytesCommitted: 2 * GIB };
  controller.membership.heartbeat(beat);
  expect(await grant(controller, id)).toMatchObject({ status: Status.NoSpace });
  rack.nowMs += 6_001;
  expect(await grant(controller, id)).toMatchObject({ status: Status.Unavailable });
});

test('pages of one size in a space: the first grant decides, others are not mixed in', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  const id = await space(controller);
  const small = rack.joinRequest('n1', { pageBytes: 65536 });
  ok(await controller.membership.join(small));
  ok(await controller.membership.join(rack.joinRequest('n2', { bytesLent: 2 * GIB })));
  expect(ok(await grant(controller, id)).regions[0]?.node).toBe('n2');
  for (let i = 0; i < 5; i++) expect(ok(await grant(controller, id)).regions[0]?.node).toBe('n2');
  const opened = ok(
    await controller.spaces.open({ name: 't', create: true, kind: 0, pageBytes: 65536 }),
  );
  expect(ok(await grant(controller, opened.space.id)).regions[0]?.node).toBe('n1');
  const odd = ok(
    await controller.spaces.open({ name: 'u', create: true, kind: 0, pageBytes: 2 ** 17 }),
  );
  expect(await grant(controller, odd.space.id)).toMatchObject({ status: Status.NoSpace });
});

test('a preferred node is taken as long as it has room', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1', 'n2', 'n3');
  const id = await space(controller);
  const nodes = ok(await grant(controller, id, 6, GIB / 2, 'n2')).regions.map(({ node }) => node);
  expect(nodes.slice(0, 4)).toEqual(['n2', 'n2', 'n2', 'n2']);
  expect(nodes.slice(4)).not.toContain('n2');
});

test('a grant that comes after a later epoch was given away is made anew', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  const id = await space(controller);
  const node = rack.node(rack.joinRequest('n1').address);
  node.answer = () => Status.OutcomeUnknown;
  expect(isRefusal(await grant(controller, id))).toBe(true);
  const [before] = controller.regions.list(id, 0, 1);
  const beat = { ...rack.joinRequest('n1'), bytesUsed: 0, bytesCommitted: 0 };
  node.answer = () => Status.Stale;
  controller.membership.heartbeat(beat);
  await settled();
  node.answer = () => Status.Ok;
  controller.membership.heartbeat(beat);
  await settled();
  const [after] = controller.regions.list(id, 0, 1);
  expect(after).toMatchObject({ region: before?.region, state: 'serving' });
  expect(after?.epoch).toBeGreaterThan(before?.epoch ?? Infinity);
  expect([...node.held.values()].map(({ epoch }) => epoch)).toContain(after?.epoch);
});
