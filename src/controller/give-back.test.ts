import { expect, test } from 'vitest';
import type { SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import { MoveState } from '../wire/messages.js';
import type { Controller } from './controller.js';
import { isRefusal, type Result } from './refusal.js';
import { FakeRack, type FakeNode, GIB } from './testing/fake-rack.js';

const PAGE = 2 ** 21;

function ok<T>(result: Result<T>): T {
  if (isRefusal(result)) throw new Error(`refused: ${result.message}`);
  return result;
}

interface Rig {
  readonly rack: FakeRack;
  readonly controller: Controller;
  readonly node: FakeNode;
  readonly space: SpaceId;
  /** How many regions the node has. */
  held(): number;
  beat(id: string, bytesToGive: number, bytesUsed?: number): void;
}

/** `regions` at n1, and n2 with nothing. */
async function start(regions: number): Promise<Rig> {
  const rack = new FakeRack();
  const controller = await rack.start();
  for (const id of ['n1', 'n2']) ok(await controller.membership.join(rack.joinRequest(id)));
  const wish = { name: 's', create: true, kind: 0, pageBytes: 0 };
  const { id: space } = ok(await controller.spaces.open(wish)).space;
  for (let i = 0; i < regions; i++) {
    ok(await controller.regions.grant({ space, count: 1, bytes: 0, near: 'n1' }));
  }
  const node = rack.node(rack.joinRequest('n1').address);
  const beat = (id: string, bytesToGive: number, bytesUsed = 0): void => {
    const { memoryId, incarnation } = rack.joinRequest(id);
    const bytes = { bytesLent: GIB, bytesUsed, bytesCommitted: 0, bytesToGive };
    controller.membership.heartbeat({ id, memoryId, incarnation, ...bytes });
  };
  return { rack, controller, node, space, held: () => node.held.size, beat };
}

test('regions go one by one, until the node has no more to give', async () => {
  const { rack, controller, node, held, beat } = await start(5);
  node.mayKeep = 2;
  beat('n1', 3 * PAGE);
  await rack.advance(1_000);
  expect(held()).toBe(2);
  expect(rack.mostMovesAtOnce).toBe(1);
  expect(controller.giveBack.moved).toBe(3);
  expect(controller.membership.members.get('n1')?.bytesToGive).toBe(0);
});

test('told twice, and late, it asks the node: nothing more goes than that wants', async () => {
  const { rack, node, held, beat } = await start(4);
  node.mayKeep = 3;
  for (let i = 0; i < 5; i++) beat('n1', PAGE);
  await rack.advance(1_000);
  expect(held()).toBe(3);
  // Sent before the last move, or before the limit rose again.
  beat('n1', 9 * PAGE);
  await rack.advance(1_000);
  expect(held()).toBe(3);
  expect(rack.movesAsked).toBe(1);
});

test('the limit has risen while one was on its way: no other one is begun', async () => {
  const { rack, node, held, beat } = await start(4);
  node.mayKeep = 1;
  rack.moving = MoveState.COPYING;
  beat('n1', 3 * PAGE);
  await rack.advance(500);
  node.mayKeep = 4;
  rack.moving = MoveState.GONE;
  await rack.advance(1_000);
  expect(held()).toBe(3);
});

test('a region that does not go is followed by another; all are tried again later', async () => {
  const { rack, node, held, beat } = await start(3);
  node.mayKeep = 1;
  rack.moveRefusal = { status: Status.Conflict, reason: 'a window over a part of it' };
  beat('n1', 2 * PAGE);
  await rack.advance(1_000);
  expect([rack.movesAsked, held()]).toEqual([3, 3]);
  rack.moveRefusal = undefined;
  beat('n1', 2 * PAGE);
  await rack.advance(1_000);
  expect(held()).toBe(1);
});

test('where nobody has room nothing is begun', async () => {
  const { rack, node, held, beat } = await start(2);
  node.mayKeep = 0;
  beat('n2', 0, GIB);
  beat('n1', 2 * PAGE);
  await rack.advance(1_000);
  expect([rack.movesAsked, held()]).toEqual([0, 2]);
  beat('n2', 0);
  beat('n1', 2 * PAGE);
  await rack.advance(1_000);
  expect(held()).toBe(0);
});

test('a drain of the same node sees to it alone', async () => {
  const { rack, controller, node, held, beat } = await start(3);
  node.mayKeep = 0;
  ok(await controller.drains.start('n1', false));
  beat('n1', 3 * PAGE);
  await rack.advance(1_000);
  expect(held()).toBe(0);
  expect(node.calls).not.toContain('toGive');
});
