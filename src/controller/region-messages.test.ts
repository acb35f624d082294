import { expect, test } from 'vitest';
import type { RegionIndex } from '../base/brands.js';
import { Status } from '../base/status.js';
import { MoveState } from '../wire/messages.js';
import type { Controller } from './controller.js';
import { spaceRegions } from './region-messages.js';
import { FakeRack } from './testing/fake-rack.js';

async function join(rack: FakeRack, controller: Controller): Promise<void> {
  for (const id of ['n1', 'n2']) await controller.membership.join(rack.joinRequest(id));
  await rack.advance(100);
}

test('a region of which an earlier life had begun a move may be elsewhere', async () => {
  const rack = new FakeRack();
  const first = await rack.start();
  await join(rack, first);
  const opened = await first.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (opened.status !== Status.Ok) throw new Error(opened.message);
  const space = opened.space.id;
  await first.regions.grant({ space, count: 1, bytes: 0, near: 'n1' });
  rack.moving = MoveState.HANDING;
  void first.moves.move({ space, region: 1 as RegionIndex, to: 'n2' });
  await rack.advance(100);
  // It says what it knows, as nobody was told anything else.
  expect(spaceRegions(first, space, 0)).toMatchObject({ mayLack: 0, nodes: [{ id: 'n1' }] });
  rack.kill();
  // The database may be a copy of a moment ago: then somebody may have been told of the target.
  const second = await rack.start();
  expect(spaceRegions(second, space, 0)).toMatchObject({ mayLack: 1 });
  await join(rack, second);
  expect(second.restoration.phase).toBe('over');
  expect(spaceRegions(second, space, 0)).toMatchObject({ mayLack: 1, nodes: [{ id: 'n1' }] });
  rack.moving = MoveState.GONE;
  await rack.advance(1_000);
  expect(spaceRegions(second, space, 0)).toMatchObject({ mayLack: 0, nodes: [{ id: 'n2' }] });
});
