// What the controller's replies about devices say, as they are handed to the fabric.
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import { leaseNumber } from '../leases/number.js';
import { BODY_BYTES_MAX, REGION_BYTES } from '../wire/limits.js';
import * as wire from '../wire/messages.js';
import { serveController } from './handlers.js';
import { nodesText } from './lease-sets.js';
import { SLAB_SPACE_NAME } from './names.js';
import type { Serve } from './replies.js';
import { FakeRack } from './testing/fake-rack.js';

const M = wire.MessageType;
const NODE = 'n1';

async function started() {
  const rack = new FakeRack();
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest(NODE));
  const api = rack.api(controller);
  const handlers = new Map<number, (request: object) => unknown>();
  const serve = ((type: number, handler: (request: object) => unknown) =>
    handlers.set(type, handler)) as unknown as Serve;
  const log = { write: () => undefined } as never;
  serveController(serve, { controller, api, heartbeatMs: 1000, log });
  const ask = async <T extends wire.CallType>(type: T, request: wire.Request<T>) =>
    (await handlers.get(type)?.(request)) as wire.Reply<T>;
  return { rack, controller, ask };
}

function good<T extends { status: Status }>(reply: T): Extract<T, { status: 0 }> {
  expect(reply).toMatchObject({ status: Status.Ok });
  return reply as Extract<T, { status: 0 }>;
}

const DEVICE = { device: 7, bytes: 2 ** 47, slabBytes: 2 ** 26, copies: 3 };

test('devices are listed page by page, however long what is said of them', async () => {
  const { ask } = await started();
  const options = 'x'.repeat(4096);
  const names = Array.from({ length: 70 }, (_, i) => `disk-${String(i).padStart(3, '0')}`);
  for (const [i, name] of names.entries()) {
    good(await ask(M.CreateDevice, { ...DEVICE, device: i + 1, name, options }));
  }
  const found: string[] = [];
  for (let pages = 1, after = ''; ; pages++) {
    const reply = good(await ask(M.ListDevices, { after }));
    expect(wire.ListDevicesReply.invalid(reply)).toBeNull();
    expect(wire.ListDevicesReply.encodedBytes(reply)).toBeLessThanOrEqual(BODY_BYTES_MAX);
    found.push(...reply.devices.map(({ name }) => name));
    after = found.at(-1) as string;
    if (reply.more === 0) {
      expect(pages).toBe(3);
      break;
    }
  }
  expect(found).toEqual(names);
  expect(good(await ask(M.OpenDevice, { name: names[3] as string }))).toMatchObject({
    ...{ ...DEVICE, device: 4 },
    options,
    sinceMs: 1_000,
  });
  expect(await ask(M.OpenDevice, { name: 'none' })).toMatchObject({ status: Status.NotFound });
});

test('a set is put where its node was asked for a region, and found page by page', async () => {
  const { rack, controller, ask } = await started();
  good(await ask(M.CreateDevice, { ...DEVICE, name: 'disk', options: '' }));
  const place = good(await ask(M.GrantSlabRegion, { node: NODE, after: 0 }));
  expect(place).toMatchObject({ address: rack.joinRequest(NODE).address, pageBytes: 2 ** 21 });
  expect(wire.GrantSlabRegionReply.invalid(place)).toBeNull();
  const { space, region, memoryId } = place;
  const name = deviceLeaseName(DEVICE.device);
  const nodes = nodesText([{ id: NODE, memoryId }]);
  const put = { name, lease: leaseNumber(name), epoch: 5, nodes };
  await controller.metadata.commit([{ table: 'leases', put }]);
  const copy = { node: NODE, memoryId, space, address: region * REGION_BYTES };
  const wish = { device: DEVICE.device, epoch: 5, generation: 1 };
  // As many as can be in one message, and some.
  for (let slab = 0; slab < 1_500; slab++) {
    const copies = [1, 2, 3].map((one) => ({ ...copy, copy: 4 * slab + one }));
    const reply = await ask(M.PutSet, { ...wish, slab, copies });
    if (slab % 500 === 0) expect(reply).toMatchObject({ isTaken: 1, generation: 1, copies });
  }
  const other = good(await ask(M.PutSet, { ...wish, slab: 3, copies: [{ ...copy, copy: 1 }] }));
  expect(other).toMatchObject({ isTaken: 0, generation: 1 });
  expect(other.copies.map((one) => one.copy)).toEqual([13, 14, 15]);
  const found: number[] = [];
  let pages = 0;
  for (let from = 0; pages === 0 || from > 0; pages++) {
    const reply = good(await ask(M.GetSets, { device: DEVICE.device, from }));
    expect(wire.GetSetsReply.invalid(reply)).toBeNull();
    expect(wire.GetSetsReply.encodedBytes(reply)).toBeLessThanOrEqual(BODY_BYTES_MAX);
    found.push(...reply.sets.map(({ slab }) => slab));
    from = reply.next;
  }
  expect(found).toEqual(Array.from({ length: 1_500 }, (_, slab) => slab));
  expect(pages).toBeGreaterThan(1);
  const gone = { name: 'disk', device: DEVICE.device, epoch: 5 };
  good(await ask(M.RemoveDevice, gone));
  good(await ask(M.RemoveDevice, gone));
  const unknown = await ask(M.GetSets, { device: DEVICE.device, from: 0 });
  expect(unknown).toMatchObject({ status: Status.NotFound });
});

test('the space of slabs is filled through its own message alone', async () => {
  const { ask } = await started();
  const { space } = good(await ask(M.GrantSlabRegion, { node: NODE, after: 0 }));
  const denied = { status: Status.Denied };
  const name = SLAB_SPACE_NAME;
  const open = { name, create: 0, kind: 0, pageBytes: 0 };
  expect(await ask(M.OpenSpace, open)).toMatchObject(denied);
  expect(await ask(M.RemoveSpaceByName, { name })).toMatchObject(denied);
  const grant = { space, count: 1, bytes: 0, near: '' };
  expect(await ask(M.GrantRegions, grant)).toMatchObject(denied);
  expect(good(await ask(M.SpaceRegions, { space, after: 0 })).regions).toHaveLength(1);
});
