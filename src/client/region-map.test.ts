// What the map concludes from answers that come late.
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { Connections } from './connections.js';
import type { Control, RegionFacts, RegionsAnswer } from './control.js';
import { RegionMap } from './region-map.js';
import { FakeRack, settle } from './testing/fake-rack.js';

const FACTS: RegionFacts = {
  region: 1,
  nodeId: 'node-0',
  address: 'tcp://0',
  memoryId: 1,
  epoch: 1,
  state: 'serving',
};

/** A map whose controller answers when it is told to. */
function openMap(nodes = 1) {
  const rack = new FakeRack(nodes);
  const asked: ((answer: RegionsAnswer) => void)[] = [];
  const control = {
    regions: () => new Promise<RegionsAnswer>((resolve) => asked.push(resolve)),
  } as unknown as Control;
  const map = new RegionMap(rack.world.runtime, control, new Connections(rack), 7);
  const answer = async (...regions: RegionFacts[]): Promise<void> => {
    asked.shift()?.({ status: Status.Ok, reason: '', regions, mayLack: false });
    await settle();
  };
  return { rack, map, asked, answer };
}

test('a region that is granted while the map is asked for is not said to be missing', async () => {
  const { map, asked, answer } = openMap();
  const early = map.refresh(9000);
  // Meanwhile it is granted, somebody else writes to it and tells us its address.
  const prepared = map.prepare(1, 1, 9000);
  await answer();
  expect(await early).toBe(Status.Ok);
  expect(asked).toHaveLength(1);
  await answer(FACTS);
  expect(await prepared).toBe(Status.Ok);
});

test('those who ask at the same time share an answer', async () => {
  const { map, asked, answer } = openMap();
  const first = map.refresh(9000);
  const others = [map.refresh(9000), map.refresh(9000), map.refresh(9000)];
  await answer();
  expect(await first).toBe(Status.Ok);
  expect(asked).toHaveLength(1);
  await answer();
  expect(await Promise.all(others)).toEqual([Status.Ok, Status.Ok, Status.Ok]);
  expect(asked).toHaveLength(0);
});

test('where the controller does not answer nobody waits for it twice', async () => {
  const { map, asked } = openMap();
  const both = [map.refresh(9000), map.refresh(9000)];
  asked.shift()?.({ status: Status.Unavailable, reason: '', regions: [], mayLack: true });
  expect(await Promise.all(both)).toEqual([Status.Unavailable, Status.Unavailable]);
  expect(asked).toHaveLength(0);
});

test('a region that the controller may not know is not said to be missing', async () => {
  const { map, asked } = openMap();
  const prepared = map.prepare(1, 1, 0);
  await settle();
  asked.shift()?.({ status: Status.Ok, reason: '', regions: [], mayLack: true });
  expect(await prepared).toBe(Status.Unavailable);
  const again = map.prepare(1, 1, 0);
  await settle();
  asked.shift()?.({ status: Status.Ok, reason: '', regions: [], mayLack: false });
  expect(await again).toBe(Status.NotAllocated);
});

test('an answer of before a move changes nothing, one of after it does', () => {
  const { map } = openMap();
  map.learn({ ...FACTS, epoch: 2 });
  map.learn({ ...FACTS, nodeId: 'node-1', address: 'tcp://1', epoch: 1 });
  expect(map.isGoingOver(1)).toBe(false);
  expect(map.nodeId(1)).toBe('node-0');
  map.learn({ ...FACTS, epoch: 3, state: 'lost' });
  expect(map.state(1)).toBe('lost');
});

test('the new owner is gone to when what is under way at the one before has ended', async () => {
  const { rack, map } = openMap(2);
  map.learn(FACTS);
  expect(await map.prepare(1, 1, 9000)).toBe(Status.Ok);
  rack.node(0).isPrompt = false;
  map.learn({ ...FACTS, nodeId: 'node-1', address: 'tcp://1', epoch: 2 });
  await settle();
  expect(rack.node(0).waiting).toBe(1);
  expect(map.ready(1)).toBeUndefined();
  rack.node(0).execute();
  await settle();
  expect(map.isGoingOver(1)).toBe(false);
  expect(map.ready(1)?.connection.link).toBe(rack.node(1));
});

test('a region that came back to its node meanwhile is looked for there again', async () => {
  const { rack, map, asked } = openMap();
  map.learn(FACTS);
  expect(await map.prepare(1, 1, 9000)).toBe(Status.Ok);
  // It was refused there, and nobody names another node.
  map.moved(1, 1);
  for (let ms = 0; map.isGoingOver(1) && ms < 1_000; ms++) {
    await rack.world.pass(1);
    asked.shift()?.({ status: Status.Ok, reason: '', regions: [FACTS], mayLack: false });
  }
  expect(map.isGoingOver(1)).toBe(false);
  expect(map.ready(1)?.connection.link).toBe(rack.node(0));
  // Others had some time to come to the fore.
  expect(rack.world.now).toBeGreaterThan(1_030);
});
