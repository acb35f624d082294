import { expect, test } from 'vitest';
import type { SpaceId } from '../base/brands.js';
import { evenUsed } from '../policies/rebalancing/even-used.js';
import type { Controller } from './controller.js';
import { isRefusal } from './refusal.js';
import { FakeRack, GIB } from './testing/fake-rack.js';

const REGION_USES = GIB / 8;

/** Three nodes, all of six regions on the first one. */
async function start(rack: FakeRack): Promise<{ controller: Controller; space: SpaceId }> {
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  const opened = await controller.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (isRefusal(opened)) throw new Error(opened.message);
  const space = opened.space.id;
  for (let i = 0; i < 6; i++) {
    await controller.regions.grant({ space, count: 1, bytes: 0, near: '' });
  }
  for (const id of ['n2', 'n3']) await controller.membership.join(rack.joinRequest(id));
  return { controller, space };
}

/** Time passes, and the nodes say what they use. */
async function pass(
  rack: FakeRack,
  controller: Controller,
  seconds: number,
  bytesOf: (region: number) => number = () => REGION_USES,
  areTold = true,
): Promise<void> {
  for (let at = 0; at < seconds; at += 2) {
    for (const id of ['n1', 'n2', 'n3']) {
      const request = rack.joinRequest(id);
      const held = [...rack.node(request.address).held.values()];
      rack.node(request.address).bytesOf = areTold ? bytesOf : undefined;
      const bytesUsed = held.reduce((sum, { region }) => sum + bytesOf(region), 0);
      controller.membership.heartbeat({ ...request, bytesUsed, bytesCommitted: bytesUsed });
    }
    await rack.advance(2_000);
  }
}

const counts = (rack: FakeRack): number[] =>
  ['n1', 'n2', 'n3'].map((id) => rack.node(rack.joinRequest(id).address).held.size);

test('full nodes give to empty ones, one region at a time, and then there is peace', async () => {
  const rack = new FakeRack();
  rack.rebalancing = evenUsed;
  const { controller } = await start(rack);
  await pass(rack, controller, 12);
  expect(counts(rack)[0]).toBe(5);
  await pass(rack, controller, 12);
  expect(counts(rack)[0]).toBe(4);
  await pass(rack, controller, 60);
  expect(counts(rack)).toEqual([2, 2, 2]);
  expect([rack.movesAsked, rack.mostMovesAtOnce]).toEqual([4, 1]);
  await pass(rack, controller, 1_500);
  expect(rack.movesAsked).toBe(4);
});

test('it is off, and a drain goes first', async () => {
  const off = new FakeRack();
  const { controller } = await start(off);
  await pass(off, controller, 60);
  expect(off.movesAsked).toBe(0);
  const rack = new FakeRack();
  rack.rebalancing = evenUsed;
  const drained = (await start(rack)).controller;
  await drained.drains.start('n3', false);
  await drained.drains.start('n2', false);
  await pass(rack, drained, 30);
  // Both hold nothing, and nothing goes there.
  expect(counts(rack)).toEqual([6, 0, 0]);
});

test('the largest region that fits goes first, and one that is too large never', async () => {
  const rack = new FakeRack();
  rack.rebalancing = evenUsed;
  const { controller, space } = await start(rack);
  const shares = [0, 0.4, 0.02, 0.2, 0.05, 0.05, 0.02];
  const bytesOf = (region: number): number => (shares[region] ?? 0) * GIB;
  const nodes = (): string => {
    return controller.regions
      .list(space, 1, 6)
      .map(({ node }) => node.slice(1))
      .join('');
  };
  await pass(rack, controller, 12, bytesOf);
  expect(nodes()).toMatch(/^11[23]111$/);
  await pass(rack, controller, 3_000, bytesOf);
  expect(nodes()[0]).toBe('1');
  expect(rack.movesAsked).toBeLessThan(6);
});

test('where nobody says what regions use nothing moves', async () => {
  const rack = new FakeRack();
  rack.rebalancing = evenUsed;
  const { controller } = await start(rack);
  await pass(rack, controller, 60, undefined, false);
  expect(rack.movesAsked).toBe(0);
});

test('what somebody has moved back may be moved again', async () => {
  const rack = new FakeRack();
  rack.rebalancing = evenUsed;
  const { controller, space } = await start(rack);
  await pass(rack, controller, 60);
  expect(counts(rack)).toEqual([2, 2, 2]);
  for (let region = 1; region <= 6; region++) {
    const [place] = controller.regions.list(space, region, 1);
    if (place === undefined || place.node === 'n1') continue;
    await pass(rack, controller, 2);
    const moving = controller.moves.move({ space, region: place.region, to: 'n1' });
    await rack.advance(100);
    expect(await moving).toMatchObject({ end: 'done' });
  }
  expect(counts(rack)[0]).toBe(6);
  await pass(rack, controller, 60);
  expect(counts(rack)).toEqual([2, 2, 2]);
});
