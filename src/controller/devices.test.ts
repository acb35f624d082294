import { beforeEach, describe, expect, it } from 'vitest';
import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import { OWNER_BLOCK_BYTES } from '../disk/slab-owner.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import { leaseNumber } from '../leases/number.js';
import { layoutOf } from '../replication/layout.js';
import { REGION_BYTES } from '../wire/limits.js';
import type { Controller } from './controller.js';
import type { DeviceWish, SetWish } from './devices.js';
import { nodesText } from './lease-sets.js';
import { PURGE_ROWS_MAX } from './limits.js';
import type { MetadataChange } from './metadata/metadata.js';
import type { SetCopy } from './metadata/slab-sets.js';
import { FakeRack, settled } from './testing/fake-rack.js';

const MIB = 2 ** 20;
const DEVICE = 4_711;
const EPOCH = 5;
const IDLE = { bytesUsed: 0, bytesCommitted: 0, bytesToGive: 0 };
const WISH: DeviceWish = {
  name: 'disk',
  device: DEVICE,
  bytes: 2 ** 40,
  slabBytes: 64 * MIB,
  copies: 2,
  options: '',
};

const SIZES = { name: 'disk', device: DEVICE, epoch: EPOCH, isForced: false };

let rack: FakeRack;
let controller: Controller;
let space: SpaceId;
/** The region of the slabs' space at each node. */
let regions: Map<string, RegionIndex>;

/** The lease of the device as it stands in its row. */
function lease(epoch: number, nodes: readonly string[], device = DEVICE): Promise<void> {
  const name = deviceLeaseName(device);
  const places = nodes.map((id) => ({ id, memoryId: rack.joinRequest(id).memoryId }));
  const put = { name, lease: leaseNumber(name), epoch, nodes: nodesText(places) };
  return controller.metadata.commit([{ table: 'leases', put }]);
}

function copy(number: number, node: string, at = 0): SetCopy {
  const address = (regions.get(node) as number) * REGION_BYTES + at * WISH.slabBytes;
  return { copy: number, node, memoryId: rack.joinRequest(node).memoryId, space, address };
}

function put(generation: number, copies: readonly SetCopy[], more: Partial<SetWish> = {}) {
  const wish = { device: DEVICE, epoch: EPOCH, slab: 7, generation, copies, ...more };
  return controller.devices.putSet(wish);
}

beforeEach(async () => {
  rack = new FakeRack();
  controller = await rack.start();
  regions = new Map();
  for (const id of ['n1', 'n2', 'n3']) await controller.membership.join(rack.joinRequest(id));
  const opened = await controller.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (opened.status !== Status.Ok) throw new Error(opened.message);
  space = opened.space.id;
  while (regions.size < 3) {
    const granted = await controller.regions.grant({ space, count: 1, bytes: 0, near: '' });
    if (granted.status !== Status.Ok) throw new Error(granted.message);
    for (const { node, region } of granted.regions) regions.set(node, region);
  }
  await controller.devices.create(WISH);
  await lease(EPOCH, ['n1', 'n2', 'n3']);
});

describe('a device', () => {
  it('is made once, and again is the same', async () => {
    expect(await controller.devices.create(WISH)).toEqual({ status: Status.Ok });
    const exists = { status: Status.Exists };
    expect(await controller.devices.create({ ...WISH, device: 1 })).toMatchObject(exists);
    expect(await controller.devices.create({ ...WISH, name: 'other' })).toMatchObject(exists);
    expect(await controller.devices.create({ ...WISH, bytes: 512 })).toMatchObject(exists);
    expect(controller.devices.open('disk')).toMatchObject({ device: { ...WISH, sinceMs: 1_000 } });
    expect(controller.devices.open('none')).toMatchObject({ status: Status.NotFound });
    await controller.devices.create({ ...WISH, name: 'a', device: 1 });
    expect(controller.devices.list().map(({ name }) => name)).toEqual(['a', 'disk']);
  });

  it.each<[Partial<DeviceWish>, string]>([
    [{ name: 'a b' }, 'device name'],
    [{ device: 0 }, 'above 0'],
    [{ bytes: 0 }, '512'],
    [{ bytes: 513 }, '512'],
    [{ bytes: 2 ** 47 + 512 }, '128 TiB'],
    [{ slabBytes: 32 * MIB }, '64 MiB'],
    [{ slabBytes: 2048 * MIB }, '1 GiB'],
    [{ slabBytes: 96 * MIB }, 'power of two'],
    [{ copies: 0 }, '1 to 3'],
    [{ copies: 4 }, '1 to 3'],
  ])('is refused with %o', async (part, says) => {
    const refused = await controller.devices.create({ ...WISH, name: 'x', device: 9, ...part });
    expect(refused).toMatchObject({ status: Status.Invalid });
    expect(JSON.stringify(refused)).toContain(says);
  });

  it('grows at any time, from the size that who asks knows', async () => {
    const grow = (bytesBefore: number, bytes: number, name = 'disk') =>
      controller.devices.resize({ ...SIZES, name, bytesBefore, bytes });
    expect(await grow(2 ** 40, 2 ** 41)).toEqual({ status: Status.Ok });
    expect(await grow(2 ** 40, 2 ** 41)).toEqual({ status: Status.Ok });
    expect(await grow(2 ** 40, 2 ** 42)).toMatchObject({ status: Status.Conflict });
    expect(await grow(2 ** 41, 2 ** 48)).toMatchObject({ status: Status.Invalid });
    expect(await grow(2 ** 41, 2 ** 41 + 1)).toMatchObject({ status: Status.Invalid });
    expect(await grow(2 ** 41, 2 ** 42, 'none')).toMatchObject({ status: Status.NotFound });
    controller = await rack.start();
    expect(controller.devices.open('disk')).toMatchObject({ device: { bytes: 2 ** 41 } });
    const events = [...controller.metadata.history.rows.values()];
    expect(events.filter(({ kind }) => kind === 'device-resized')).toHaveLength(1);
  });

  it('gets other options from who knows what they were', async () => {
    const change = (before: string, options: string, name = 'disk') =>
      controller.devices.setOptions({ name, device: DEVICE, before, options });
    expect(await change(WISH.options, '{"weight":2}')).toEqual({ status: Status.Ok });
    expect(await change(WISH.options, '{"weight":2}')).toEqual({ status: Status.Ok });
    expect(await change(WISH.options, '{"weight":3}')).toMatchObject({ status: Status.Conflict });
    expect(await change('{"weight":2}', '', 'none')).toMatchObject({ status: Status.NotFound });
    controller = await rack.start();
    expect(controller.devices.open('disk')).toMatchObject({ device: { options: '{"weight":2}' } });
  });

  it('shrinks by the holder of its lease, and by force alone where it was written', async () => {
    const { devices, metadata } = controller;
    const { dataBytes } = layoutOf(WISH.slabBytes - OWNER_BLOCK_BYTES);
    await put(1, [copy(1, 'n1')]);
    await put(1, [copy(2, 'n2')], { slab: 3 });
    const shrink = (bytes: number, more: Partial<typeof SIZES> = {}) =>
      devices.resize({ ...SIZES, bytes, bytesBefore: WISH.bytes, ...more });
    expect(await shrink(dataBytes, { epoch: 4 })).toMatchObject({ status: Status.Stale });
    expect(await shrink(dataBytes, { epoch: 6 })).toMatchObject({ status: Status.Unavailable });
    expect(await shrink(7 * dataBytes)).toMatchObject({ status: Status.Conflict });
    // Nobody knows how far a slab was written.
    expect(await shrink(8 * dataBytes - 512)).toMatchObject({ status: Status.Conflict });
    const bytes = 7 * dataBytes - 512;
    expect(await shrink(bytes, { isForced: true })).toEqual({ status: Status.Ok });
    const slabs = (): unknown => devices.sets(DEVICE, 0, 9);
    expect(slabs()).toMatchObject({ rows: [{ slab: 3 }], next: 0 });
    await settled();
    expect(metadata.slabSets.size).toBe(1);
    expect(await put(1, [copy(9, 'n1')])).toMatchObject({ status: Status.Invalid });
    await rack.advance(100);
    const grown = await devices.resize({ ...SIZES, bytesBefore: bytes, bytes: WISH.bytes });
    expect(grown).toEqual({ status: Status.Ok });
    expect(slabs()).toMatchObject({ rows: [{ slab: 3 }] });
    expect(await shrink(8 * dataBytes)).toEqual({ status: Status.Ok });
  });

  it('does not grow over rows of before', async () => {
    await put(1, [copy(1, 'n1')]);
    const { devices } = controller;
    const bytes = 512;
    const cutting = devices.resize({ ...SIZES, bytesBefore: WISH.bytes, bytes, isForced: true });
    const growing = devices.resize({ ...SIZES, bytesBefore: bytes, bytes: WISH.bytes });
    expect(await cutting).toEqual({ status: Status.Ok });
    expect(await growing).toMatchObject({ status: Status.Busy });
    await rack.advance(100);
    const again = await devices.resize({ ...SIZES, bytesBefore: bytes, bytes: WISH.bytes });
    expect(again).toEqual({ status: Status.Ok });
    expect(devices.sets(DEVICE, 0, 9)).toMatchObject({ rows: [] });
  });

  it('goes with its rows, by the word of who holds its lease', async () => {
    await put(1, [copy(1, 'n1')]);
    const { devices, metadata } = controller;
    expect(await devices.remove('disk', DEVICE, 4)).toMatchObject({ status: Status.Stale });
    expect(await devices.remove('disk', 1, EPOCH)).toMatchObject({ status: Status.NotFound });
    expect(await devices.remove('disk', DEVICE, EPOCH)).toEqual({ status: Status.Ok });
    expect(await devices.remove('disk', DEVICE, EPOCH)).toEqual({ status: Status.Ok });
    await settled();
    expect(metadata.slabSets.size).toBe(0);
    expect(await put(2, [copy(1, 'n1')])).toMatchObject({ status: Status.NotFound });
    expect(devices.sets(DEVICE, 0, 9)).toMatchObject({ status: Status.NotFound });
    // One that comes late does not make it again.
    expect(await devices.create(WISH)).toMatchObject({ status: Status.Exists });
    const events = [...metadata.history.rows.values()].filter(({ kind }) => /device/.test(kind));
    expect(events.map(({ kind, details }) => [kind, JSON.parse(details).device])).toEqual([
      ['device-created', 'disk'],
      ['device-removed', 'disk'],
    ]);
    controller = await rack.start();
    expect(controller.metadata.removedDevices.has(DEVICE)).toBe(true);
    expect(await controller.devices.create({ ...WISH, device: 1 })).toEqual({ status: Status.Ok });
  });

  it('is gone with the first commit, and its rows after a restart', async () => {
    const rows = Array.from({ length: 2 * PURGE_ROWS_MAX + 1 }, (_, slab): MetadataChange => {
      return { table: 'slabSets', put: { device: DEVICE, slab, generation: 1, copies: '[]' } };
    });
    await controller.metadata.commit(rows);
    let most = 0;
    let commits = 0;
    rack.databases.afterCommit = (changes) => {
      most = Math.max(most, changes.filter((one) => 'remove' in one).length);
      if (++commits === 2) rack.kill();
    };
    void controller.devices.remove('disk', DEVICE, EPOCH);
    await settled();
    expect(commits).toBe(2);
    controller = await rack.start();
    expect(controller.devices.open('disk')).toMatchObject({ status: Status.NotFound });
    await settled();
    expect(controller.metadata.slabSets.size).toBe(0);
    expect(most).toBe(PURGE_ROWS_MAX);
  });
});

describe('the set of a slab', () => {
  const taken = (generation: number, copies: readonly SetCopy[]) => {
    return { status: Status.Ok, isTaken: true, generation, copies };
  };

  it('changes by one generation at a time, and again is the same', async () => {
    const a = copy(1, 'n1');
    const b = copy(2, 'n2');
    const c = copy(3, 'n3');
    expect(await put(2, [a])).toEqual({ ...taken(0, []), isTaken: false });
    expect(await put(1, [a, b])).toEqual(taken(1, [a, b]));
    expect(await put(1, [a, b])).toEqual(taken(1, [a, b]));
    expect(await put(1, [a])).toEqual({ ...taken(1, [a, b]), isTaken: false });
    expect(await put(3, [a])).toEqual({ ...taken(1, [a, b]), isTaken: false });
    expect(await put(2, [a, c])).toEqual(taken(2, [a, c]));
    expect(await put(1, [a, b])).toEqual({ ...taken(2, [a, c]), isTaken: false });
    controller = await rack.start();
    const row = { device: DEVICE, slab: 7, generation: 2 };
    expect(controller.devices.sets(DEVICE, 0, 9)).toMatchObject({ rows: [row], next: 0 });
  });

  it('is for the holder of the last epoch alone', async () => {
    const a = copy(1, 'n1');
    expect(await put(1, [a], { epoch: EPOCH - 1 })).toMatchObject({ status: Status.Stale });
    // One that the database does not know: it may be an older copy.
    const above = await put(1, [a], { epoch: EPOCH + 1 });
    expect(above).toMatchObject({ status: Status.Unavailable });
    await put(1, [a]);
    await lease(EPOCH + 1, ['n1', 'n2', 'n3']);
    // Also what stands there: who asks knows nothing of what was done since.
    expect(await put(1, [a])).toMatchObject({ status: Status.Stale });
    expect(await put(2, [a], { epoch: EPOCH + 1 })).toEqual(taken(2, [a]));
    const other = { ...WISH, name: 'other', device: 1 };
    await controller.devices.create(other);
    expect(await put(1, [a], { device: 1 })).toMatchObject({ status: Status.Unavailable });
    expect(await put(1, [a], { device: 2 })).toMatchObject({ status: Status.NotFound });
  });

  it.each<[string, string, () => readonly SetCopy[]]>([
    ['no copies', '1 to 3', () => []],
    ['too many', '1 to 3', () => [1, 2, 3, 4].map((one) => copy(one, 'n1', one))],
    ['one copy twice', 'different', () => [copy(1, 'n1'), copy(1, 'n2')]],
    ['a node that is not in the lease', 'lease', () => [copy(1, 'n3')]],
    ['memory that is another one', 'lease', () => [{ ...copy(1, 'n1'), memoryId: 3 }]],
    ['an address of another node', 'none of', () => [{ ...copy(1, 'n1'), ...at('n2') }]],
    ['a space of others', 'none of', () => [{ ...copy(1, 'n1'), space: 9 as SpaceId }]],
    ['an end in the next region', 'one region', () => [copy(1, 'n1', 15.5)]],
  ])('is refused with %s', async (_, says, copies) => {
    await lease(EPOCH, ['n1', 'n2']);
    const refused = await put(1, copies());
    expect(refused).toMatchObject({ status: Status.Invalid });
    expect(JSON.stringify(refused)).toContain(says);
    expect(controller.metadata.slabSets.size).toBe(0);
  });

  it('has a copy in a file, which is at no node, beside others or alone', async () => {
    const [a, b, c] = [copy(1, 'n1'), copy(2, 'n2'), copy(3, 'n3')];
    const file = { copy: 9, node: '', memoryId: 0, space: 0 as SpaceId, address: 0 };
    const invalid = { status: Status.Invalid };
    expect(await put(1, [a, { ...file, node: 'n2' }])).toMatchObject(invalid);
    expect(await put(1, [a, { ...file, address: 4096 }])).toMatchObject(invalid);
    expect(await put(1, [a, file, { ...file, copy: 10 }])).toMatchObject(invalid);
    expect(await put(1, [a, b, c, file])).toEqual(taken(1, [a, b, c, file]));
    expect(await put(2, [file])).toEqual(taken(2, [file]));
    const { slabSets } = controller.metadata;
    expect(slabSets.memoriesOf(DEVICE)).toEqual([]);
    // Another file has nothing of it.
    expect(await put(3, [a, { ...file, copy: 10 }])).toMatchObject(invalid);
    expect(await put(3, [b, file])).toEqual(taken(3, [b, file]));
    expect(slabSets.memoriesOf(DEVICE).map(({ id }) => id)).toEqual(['n2']);
    expect(await put(4, [b])).toEqual(taken(4, [b]));
    expect(await put(5, [b, file])).toEqual(taken(5, [b, file]));
    controller = await rack.start();
    expect(controller.devices.sets(DEVICE, 0, 9)).toMatchObject({ rows: [{ generation: 5 }] });
  });

  const at = (node: string) => ({ address: copy(1, node).address });

  it('is not over a region that is on its way', async () => {
    const region = regions.get('n1') as RegionIndex;
    const epoch = 9 as Epoch;
    const to = { toNode: 'n2', toMemory: 1_002, epoch };
    const from = { fromNode: 'n1', fromMemory: 1_001, fromEpoch: epoch };
    const move = { table: 'moves', put: { space, region, ...from, ...to } } as const;
    await controller.metadata.commit([move]);
    expect(await put(1, [copy(1, 'n1')])).toMatchObject({ status: Status.Conflict });
    expect(await put(1, [copy(1, 'n2')])).toMatchObject({ isTaken: true });
  });

  it('keeps a copy of the one before, where it was', async () => {
    await put(1, [copy(1, 'n1'), copy(2, 'n2')]);
    const invalid = { status: Status.Invalid };
    expect(await put(2, [copy(3, 'n3')])).toMatchObject(invalid);
    expect(await put(2, [copy(1, 'n1', 3)])).toMatchObject(invalid);
    expect(await put(2, [copy(2, 'n2')])).toMatchObject({ isTaken: true });
  });

  it('has a node that serves, and adds no copy at one that is drained', async () => {
    const away = { status: Status.Unavailable };
    const all = [copy(1, 'n1'), copy(2, 'n2')];
    await put(1, all);
    await controller.metadata.commit([
      { table: 'drains', put: { node: 'n1', state: 'draining', isForced: 0, sinceMs: 1 } },
    ]);
    expect(await put(2, [...all, copy(3, 'n1', 1)])).toMatchObject(away);
    expect(await put(2, all)).toMatchObject({ isTaken: true });
    rack.nowMs += rack.awayMs + 1;
    controller.membership.heartbeat({ ...rack.joinRequest('n1'), ...IDLE });
    expect(await put(3, [copy(2, 'n2')])).toMatchObject(away);
    expect(await put(3, [copy(1, 'n1')])).toMatchObject({ isTaken: true });
  });

  it('is of a slab that the device has', async () => {
    await controller.devices.create({ ...WISH, name: 'small', device: 1, bytes: 512 });
    await lease(EPOCH, ['n1'], 1);
    const small = { device: 1, slab: 0 };
    expect(await put(1, [copy(1, 'n1')], small)).toMatchObject({ isTaken: true });
    const beyond = await put(1, [copy(1, 'n1')], { ...small, slab: 1 });
    expect(beyond).toMatchObject({ status: Status.Invalid });
  });

  it('is found page by page', async () => {
    for (const slab of [9, 0, 500, 3]) await put(1, [copy(slab + 1, 'n1')], { slab });
    const page = (from: number, limit: number) => {
      const result = controller.devices.sets(DEVICE, from, limit);
      if (result.status !== Status.Ok) throw new Error(result.message);
      return [result.rows.map(({ slab }) => slab), result.next];
    };
    expect(page(0, 4)).toEqual([[0, 3, 9, 500], 0]);
    expect(page(0, 2)).toEqual([[0, 3], 9]);
    expect(page(9, 2)).toEqual([[9, 500], 0]);
    expect(page(501, 2)).toEqual([[], 0]);
    // And where there are too many to be put into order for each page.
    const many = Array.from({ length: 10_000 }, (_, i): MetadataChange => {
      return {
        table: 'slabSets',
        put: { device: DEVICE, slab: 11_000 - i, generation: 1, copies: '[]' },
      };
    });
    await controller.metadata.commit(many);
    expect(page(10, 3)).toEqual([[500, 1_001, 1_002], 1_003]);
    expect(page(10_999, 3)).toEqual([[10_999, 11_000], 0]);
  });

  it('is known by the memories and the regions that it is in', async () => {
    const { slabSets } = controller.metadata;
    const region = regions.get('n1') as RegionIndex;
    await put(1, [copy(1, 'n1'), copy(2, 'n2')]);
    await put(1, [copy(3, 'n1', 1)], { slab: 8 });
    expect(slabSets.devicesIn(space, region)).toEqual([DEVICE]);
    const memories = (...ids: string[]) =>
      ids.map((id) => ({ id, memoryId: rack.joinRequest(id).memoryId }));
    expect(slabSets.memoriesOf(DEVICE)).toEqual(memories('n1', 'n2'));
    await put(2, [copy(2, 'n2')]);
    expect(slabSets.memoriesOf(DEVICE)).toEqual(memories('n1', 'n2'));
    await put(2, [copy(3, 'n1', 1), copy(4, 'n2', 1)], { slab: 8 });
    await put(3, [copy(4, 'n2', 1)], { slab: 8 });
    expect(slabSets.memoriesOf(DEVICE)).toEqual(memories('n2'));
    expect(slabSets.devicesIn(space, region)).toEqual([]);
  });
});
