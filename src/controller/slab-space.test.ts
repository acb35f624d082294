import { beforeEach, expect, it } from 'vitest';
import { Status } from '../base/status.js';
import { REGION_BYTES } from '../wire/limits.js';
import { SpaceKind } from '../wire/messages.js';
import type { Controller } from './controller.js';
import { copiesText } from './metadata/slab-sets.js';
import { SLAB_SPACE_NAME } from './names.js';
import type { SlabRegion } from './slab-space.js';
import { FakeRack, settled } from './testing/fake-rack.js';

let rack: FakeRack;
let controller: Controller;

beforeEach(async () => {
  rack = new FakeRack();
  controller = await rack.start();
  for (const id of ['n1', 'n2']) await controller.membership.join(rack.joinRequest(id));
});

const fakeOf = (id: string) => rack.node(rack.joinRequest(id).address);

async function granted(node: string, after = 0): Promise<SlabRegion> {
  const result = await controller.slabSpace.grant(node, after);
  if (result.status !== Status.Ok) throw new Error(result.message);
  return result;
}

it('gives regions of one space to exactly the node that is named', async () => {
  const a = await granted('n1');
  const b = await granted('n2');
  expect([a.row.node, b.row.node]).toEqual(['n1', 'n2']);
  expect(a.row.space).toBe(b.row.space);
  expect(a).toMatchObject({ pageBytes: 2 ** 21, address: fakeOf('n1').address });
  expect(controller.spaces.list()).toMatchObject([{ name: SLAB_SPACE_NAME, kind: 'dram' }]);
  expect(fakeOf('n1').held.size).toBe(1);
  // Whoever asks gets the same, until it is full.
  expect(await granted('n1')).toEqual(a);
  const more = await granted('n1', a.row.region);
  expect(more.row.region).toBeGreaterThan(a.row.region);
  expect(more.row.node).toBe('n1');
});

it('gives no region that is full by what sets say', async () => {
  const { row } = await granted('n1');
  const { space, region, memoryId } = row;
  const slabBytes = 2 ** 28;
  const facts = { name: 'disk', device: 7, bytes: 2 ** 40, slabBytes, copies: 1, options: '' };
  const sets = [0, 1, 2, 3].map((slab) => {
    const address = region * REGION_BYTES + slab * slabBytes;
    const copies = copiesText([{ copy: slab + 1, node: 'n1', memoryId, space, address }]);
    return { table: 'slabSets', put: { device: 7, slab, generation: 1, copies } } as const;
  });
  const device = { table: 'devices', put: { ...facts, sinceMs: 0 } } as const;
  await controller.metadata.commit([device, ...sets.slice(1)]);
  expect((await granted('n1')).row.region).toBe(region);
  await controller.metadata.commit(sets.slice(0, 1));
  expect((await granted('n1')).row.region).toBeGreaterThan(region);
  await controller.metadata.commit([{ table: 'slabSets', remove: { device: 7, slab: 2 } }]);
  expect((await granted('n1')).row.region).toBe(region);
});

it('gives a region that has room for the slab by what sets say', async () => {
  const { row } = await granted('n1');
  const { space, region, memoryId } = row;
  const slabBytes = REGION_BYTES - 2 ** 26;
  const facts = { name: 'disk', device: 7, bytes: 2 ** 40, slabBytes, copies: 1, options: '' };
  const address = region * REGION_BYTES;
  const copies = copiesText([{ copy: 1, node: 'n1', memoryId, space, address }]);
  await controller.metadata.commit([
    { table: 'devices', put: { ...facts, sinceMs: 0 } },
    { table: 'slabSets', put: { device: 7, slab: 0, generation: 1, copies } },
  ]);
  const slabSpace = controller.slabSpace;
  expect(await slabSpace.grant('n1', 0, 2 ** 26)).toMatchObject({ row: { region } });
  const other = await slabSpace.grant('n1', 0, 2 ** 27);
  expect(other).toMatchObject({ status: Status.Ok });
  expect(await slabSpace.grant('n1', 0, 2 ** 27)).toEqual(other);
  expect(await slabSpace.grant('n1', 0, 2 ** 26)).toMatchObject({ row: { region } });
});

it('gives the same to all who ask at once, and after a restart', async () => {
  const all = await Promise.all([granted('n1'), granted('n1'), granted('n1')]);
  expect(new Set(all.map(({ row }) => row.region)).size).toBe(1);
  controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  await settled();
  expect((await granted('n1')).row).toEqual(all[0]?.row);
});

it('says why a node cannot have one', async () => {
  const refused = async (node: string, status: Status, says: string) => {
    const result = await controller.slabSpace.grant(node, 0);
    expect(result).toMatchObject({ status });
    expect(JSON.stringify(result)).toContain(says);
  };
  await refused('n9', Status.NotFound, 'n9');
  const disk = rack.joinRequest('n3', { kind: SpaceKind.PERSISTENT, openings: [1] });
  await controller.membership.join(disk);
  await refused('n3', Status.Unsupported, 'file');
  await granted('n1');
  await controller.membership.join(rack.joinRequest('n4', { pageBytes: 2 ** 16 }));
  await refused('n4', Status.Unsupported, '64 KiB');
  await controller.drains.start('n2', false);
  await refused('n2', Status.Denied, 'drained');
  controller.membership.heartbeat({
    ...rack.joinRequest('n1'),
    bytesUsed: 2 ** 30,
    bytesCommitted: 2 ** 31,
  });
  const full = await granted('n1');
  expect(await controller.slabSpace.grant('n1', full.row.region)).toMatchObject({
    status: Status.NoSpace,
  });
  rack.nowMs += rack.awayMs + 1;
  await refused('n1', Status.Unavailable, 'not serving');
});

it('tells again what a node did not take, and grants no other for it', async () => {
  fakeOf('n1').answer = () => Status.Timeout;
  expect(await controller.slabSpace.grant('n1', 0)).toMatchObject({ status: Status.Unavailable });
  expect(await controller.slabSpace.grant('n1', 0)).toMatchObject({ status: Status.Unavailable });
  const space = controller.metadata.spaceIds.get(SLAB_SPACE_NAME);
  const known = controller.regions.list(space as never, 0, 9);
  expect(known).toHaveLength(1);
  fakeOf('n1').answer = () => Status.Ok;
  expect((await granted('n1')).row.region).toBe(known[0]?.region);
});

it('is nobody else to open, to fill or to remove', async () => {
  const denied = { status: Status.Denied };
  const name = SLAB_SPACE_NAME;
  const wish = { name, create: true, kind: 0, pageBytes: 0 };
  expect(await controller.spaces.open(wish)).toMatchObject(denied);
  await granted('n1');
  expect(await controller.spaces.open(wish)).toMatchObject(denied);
  expect(await controller.spaces.remove(name)).toMatchObject(denied);
  expect(fakeOf('n1').held.size).toBe(1);
});

it('forgets what is lost once no set names it, and its node', async () => {
  const { row } = await granted('n1');
  const { device, copy } = { device: 7, copy: 9 };
  const { memoryId, space } = row;
  const text = JSON.stringify([[copy, 'n1', memoryId, space, row.region * 2 ** 30]]);
  const set = { device, slab: 0, generation: 1, copies: text };
  await controller.metadata.commit([{ table: 'slabSets', put: set }]);
  await controller.membership.ended('n1', memoryId);
  await rack.advance(10_000);
  expect(controller.regions.list(space, 0, 9)).toMatchObject([{ state: 'lost' }]);
  expect(controller.membership.members.has('n1')).toBe(true);
  await controller.metadata.commit([{ table: 'slabSets', remove: set }]);
  await rack.advance(10_000);
  expect(controller.regions.list(space, 0, 9)).toEqual([]);
  expect(controller.membership.members.has('n1')).toBe(false);
});
