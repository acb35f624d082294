import { expect, test } from 'vitest';
import type { SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import { MoveState } from '../wire/messages.js';
import type { Controller } from './controller.js';
import { isRefusal, type Result } from './refusal.js';
import { copiesText } from './metadata/slab-sets.js';
import { FakeRack, settled } from './testing/fake-rack.js';

function ok<T>(result: Result<T>): T {
  if (isRefusal(result)) throw new Error(`refused: ${result.message}`);
  return result;
}

async function start(rack: FakeRack, ids: readonly string[]): Promise<Controller> {
  const controller = await rack.start();
  for (const id of ids) ok(await controller.membership.join(rack.joinRequest(id)));
  return controller;
}

async function space(controller: Controller, regions: number): Promise<SpaceId> {
  const wish = { name: 's', create: true, kind: 0, pageBytes: 0 };
  const { id } = ok(await controller.spaces.open(wish)).space;
  const grant = { space: id, count: regions, bytes: 0, near: 'n1' };
  ok(await controller.regions.grant(grant));
  return id;
}

const nodesOf = (controller: Controller, id: SpaceId): string[] =>
  controller.regions.list(id, 0, 100).map(({ node }) => node);
const facts = (controller: Controller, id: string) => ok(controller.drains.facts(id)).drain;

test('all regions move away, one after the other, and then it is drained', async () => {
  const rack = new FakeRack();
  const controller = await start(rack, ['n1', 'n2', 'n3']);
  const id = await space(controller, 4);
  expect(nodesOf(controller, id)).toContain('n1');
  const begun = ok(await controller.drains.start('n1', false)).drain;
  expect(begun).toMatchObject({ node: 'n1', state: 'draining', isForced: false });
  await rack.advance(400);
  expect(nodesOf(controller, id)).not.toContain('n1');
  expect(facts(controller, 'n1')).toMatchObject({ state: 'drained', regionsLeft: 0, waits: [] });
  expect(controller.metadata.moves.size).toBe(0);
  expect(rack.mostMovesAtOnce).toBe(1);
});

test('nothing new is placed on a node that is being drained, nor moved there', async () => {
  const rack = new FakeRack();
  const controller = await start(rack, ['n1', 'n2']);
  ok(await controller.drains.start('n1', false));
  const id = await space(controller, 4);
  expect(nodesOf(controller, id)).toEqual(['n2', 'n2', 'n2', 'n2']);
  const wish = { space: id, region: controller.regions.list(id, 0, 1)[0]?.region ?? 0 };
  expect(await controller.moves.move({ ...wish, to: 'n1' } as never)).toMatchObject({
    end: 'refused',
    status: Status.Conflict,
  });
  ok(await controller.drains.start('n2', false));
  const grant = { space: id, count: 1, bytes: 0, near: '' };
  const refused = await controller.regions.grant(grant);
  expect(refused).toMatchObject({ status: Status.NoSpace });
  expect(isRefusal(refused) && refused.message).toMatch(/being drained/);
  ok(await controller.drains.cancel('n1'));
  expect(ok(await controller.regions.grant(grant)).regions[0]?.node).toBe('n1');
});

test('a drain outlives the controller; a node that comes back is not used either', async () => {
  const rack = new FakeRack();
  let controller = await start(rack, ['n1', 'n2']);
  const id = await space(controller, 2);
  rack.moving = MoveState.COPYING;
  ok(await controller.drains.start('n1', false));
  await rack.advance(100);
  rack.kill();
  controller = await rack.start();
  // It has not told what it holds: nothing is said of it.
  await rack.advance(100);
  expect(facts(controller, 'n1')).toMatchObject({ state: 'draining', regionsLeft: 2 });
  expect(facts(controller, 'n1').waits[0]).toMatchObject({ what: 'the controller' });
  rack.moving = MoveState.GONE;
  for (const node of ['n1', 'n2']) ok(await controller.membership.join(rack.joinRequest(node)));
  controller = await restarted(rack);
  await rack.advance(400);
  expect(nodesOf(controller, id)).toEqual(['n2', 'n2']);
  expect(facts(controller, 'n1').state).toBe('drained');
  const again = rack.joinRequest('n1', { memoryId: 77, incarnation: 1 });
  await controller.membership.ended('n1', 1001);
  ok(await controller.membership.join(again));
  await rack.advance(50);
  expect(facts(controller, 'n1').state).toBe('drained');
  const grant = { space: id, count: 1, bytes: 0, near: 'n1' };
  expect(ok(await controller.regions.grant(grant)).regions[0]?.node).toBe('n2');
});

/** Another life, in which all nodes are there again. */
async function restarted(rack: FakeRack): Promise<Controller> {
  rack.kill();
  const controller = await start(rack, ['n1', 'n2']);
  await settled();
  return controller;
}

test('what does not go is named, and tried again later', async () => {
  const rack = new FakeRack();
  const controller = await start(rack, ['n1', 'n2']);
  const id = await space(controller, 1);
  const [source = ''] = nodesOf(controller, id);
  const reason = 'client 7 has a window over a part of it';
  rack.moveRefusal = { status: Status.Conflict, reason };
  ok(await controller.drains.start(source, false));
  await rack.advance(150);
  const [wait] = facts(controller, source).waits;
  expect(wait).toMatchObject({ what: 'region 1 of s', reason });
  expect(rack.movesAsked).toBe(1);
  rack.moveRefusal = undefined;
  await rack.advance(50);
  expect(rack.movesAsked).toBe(1);
  await rack.advance(500);
  await rack.advance(150);
  expect(facts(controller, source)).toMatchObject({ state: 'drained', waits: [] });
});

test('without a node that has room it waits, and says so', async () => {
  const rack = new FakeRack();
  const controller = await start(rack, ['n1']);
  await space(controller, 1);
  ok(await controller.drains.start('n1', false));
  await rack.advance(50);
  expect(facts(controller, 'n1').waits[0]?.reason).toMatch(/no other memory node/);
  expect(await controller.drains.start('n9', false)).toMatchObject({ status: Status.NotFound });
  expect(await controller.drains.cancel('n9')).toMatchObject({ status: Status.NotFound });
});

test('the end of its memory ends the drain, and says whether something was lost', async () => {
  const rack = new FakeRack();
  const controller = await start(rack, ['n1', 'n2']);
  const id = await space(controller, 1);
  const [source = ''] = nodesOf(controller, id);
  const other = source === 'n1' ? 'n2' : 'n1';
  rack.moveRefusal = { status: Status.Conflict, reason: 'no' };
  ok(await controller.drains.start(source, false));
  ok(await controller.drains.start(other, false));
  await controller.membership.ended(source, rack.joinRequest(source).memoryId);
  await controller.membership.ended(other, rack.joinRequest(other).memoryId);
  await rack.advance(50);
  expect(facts(controller, source).state).toBe('ended');
  expect(facts(controller, other).state).toBe('drained');
  ok(await controller.membership.remove(other, false));
  expect(controller.drains.list().map(({ node }) => node)).toEqual([source]);
});

test('a node that is on its way to get a region is not drained', async () => {
  const rack = new FakeRack();
  const controller = await start(rack, ['n1', 'n2']);
  const id = await space(controller, 1);
  const [source = ''] = nodesOf(controller, id);
  const target = source === 'n1' ? 'n2' : 'n1';
  rack.moving = MoveState.COPYING;
  void controller.moves.move({ space: id, region: 1 as never, to: target });
  await settled();
  ok(await controller.drains.start(target, false));
  await rack.advance(100);
  expect(facts(controller, target)).toMatchObject({ state: 'draining', regionsLeft: 0 });
});

test('a region is never moved under the copies of a device, which is named', async () => {
  const rack = new FakeRack();
  const controller = await start(rack, ['n1', 'n2']);
  const id = await space(controller, 3);
  const [first] = controller.regions.list(id, 0, 1);
  const source = first?.node ?? '';
  const address = (first?.region ?? 0) * 2 ** 30;
  const copies = [{ copy: 1, node: source, memoryId: 1, space: id, address }];
  const set = { device: 7, slab: 0, generation: 1, copies: copiesText(copies) };
  const facts7 = { name: 'swap', device: 7, bytes: 512, slabBytes: 512, copies: 1, options: '' };
  await controller.metadata.commit([
    { table: 'devices', put: { ...facts7, sinceMs: 0 } },
    { table: 'slabSets', put: set },
  ]);
  // By force neither.
  ok(await controller.drains.start(source, true));
  await rack.advance(2_000);
  expect(nodesOf(controller, id).filter((node) => node === source)).toHaveLength(1);
  const [wait, ...others] = facts(controller, source).waits;
  expect(wait?.reason).toMatch(/^device swap has copies there/);
  expect(wait?.remedy).toMatch(/copies are away/);
  expect(others).toEqual([]);
  const to = source === 'n1' ? 'n2' : 'n1';
  const byHand = { space: id, region: first?.region as never, to };
  expect(await controller.moves.move(byHand)).toMatchObject({
    end: 'refused',
    holders: ['device swap'],
  });
  await controller.metadata.commit([{ table: 'slabSets', remove: set }]);
  await rack.advance(10_000);
  expect(facts(controller, source).state).toBe('drained');
});
