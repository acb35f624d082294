import type { SpaceId } from '../base/brands.js';
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Controller } from './controller.js';
import { FakeRack, settled } from './testing/fake-rack.js';

const open = (controller: Controller, name: string, create = true, kind = 0) =>
  controller.spaces.open({ name, create, kind, pageBytes: 0 });

async function id(controller: Controller, name: string): Promise<SpaceId> {
  const opened = await open(controller, name);
  if (opened.status !== Status.Ok) throw new Error(opened.message);
  return opened.space.id;
}

const file = (key: string, space: SpaceId) => ({
  key,
  space,
  address: 2 ** 31,
  length: 5,
  sha256: '',
});

test('opened by name, created once, also by two at a time', async () => {
  const controller = await new FakeRack().start();
  expect(await open(controller, 's', false)).toMatchObject({ status: Status.NotFound });
  const both = await Promise.all([open(controller, 's'), open(controller, 's')]);
  expect(both.map((result) => result.status === Status.Ok && result.created)).toEqual([
    true,
    false,
  ]);
  expect(controller.spaces.list()).toHaveLength(1);
});

test('the number of a space is told when a node will remember it', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  const nodes = ['n1', 'n2'];
  for (const one of nodes) await controller.membership.join(rack.joinRequest(one));
  const hears = (isHeard: boolean): void => {
    for (const one of nodes) rack.node(rack.joinRequest(one).address).hearsMarks = isHeard;
  };
  hears(false);
  const both = await Promise.all([open(controller, 's'), open(controller, 's')]);
  expect(both.map(({ status }) => status)).toEqual([Status.OutcomeUnknown, Status.Unavailable]);
  expect(await open(controller, 's', false)).toMatchObject({ status: Status.Unavailable });
  rack.node(rack.joinRequest('n2').address).hearsMarks = true;
  expect(await open(controller, 's')).toMatchObject({ status: Status.Ok, created: false });
  hears(false);
  expect(await open(controller, 's', false)).toMatchObject({ status: Status.Ok });
  // A controller that has just started knows it when a node has told it.
  const next = await rack.start();
  expect(await open(next, 's', false)).toMatchObject({ status: Status.Unavailable });
  await next.membership.join(rack.joinRequest('n1'));
  expect(await open(next, 's', false)).toMatchObject({ status: Status.Unavailable });
  await next.membership.join(rack.joinRequest('n2'));
  expect(await open(next, 's', false)).toMatchObject({ status: Status.Ok });
});

test('bad names, other kinds and odd page sizes are refused with a sentence', async () => {
  const controller = await new FakeRack().start();
  for (const name of ['', ' ', 'a b', '-x', 'x'.repeat(101), 'ä', 'a/b', '..', 'a\u0000']) {
    expect(await open(controller, name), name).toMatchObject({ status: Status.Invalid });
  }
  const other = await open(controller, 'p', true, 2);
  expect(other).toMatchObject({ status: Status.Unsupported });
  expect(other.status === Status.Ok ? '' : other.message).toContain("'dram' and 'persistent'");
  const odd = await controller.spaces.open({ name: 'o', create: true, kind: 0, pageBytes: 5 });
  expect(odd).toMatchObject({ status: Status.Invalid });
});

test('removed: nodes are told, files go, the id is never used again', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  const first = await id(controller, 's');
  await controller.regions.grant({ space: first, count: 2, bytes: 0, near: '' });
  await controller.files.put([file('k', first)]);
  expect(await controller.spaces.remove('s')).toMatchObject({ status: Status.Ok });
  expect(rack.node('tcp://10.0.0.1:7101').held.size).toBe(0);
  for (const table of ['spaces', 'regions', 'files']) {
    expect(rack.databases.tables.get(table)?.size, table).toBe(0);
  }
  expect(await controller.spaces.remove('s')).toMatchObject({ status: Status.NotFound });
  const next = await rack.start();
  await next.membership.join(rack.joinRequest('n1'));
  const again = await open(next, 's');
  expect(again.status === Status.Ok && again.space.id).toBeGreaterThan(first);
});

test('a node that is away is told when it returns; the name is free at once', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  const first = await id(controller, 's');
  await controller.regions.grant({ space: first, count: 1, bytes: 0, near: '' });
  rack.nowMs += 10_000;
  await controller.membership.join(rack.joinRequest('n2'));
  expect(await controller.spaces.remove('s')).toMatchObject({ status: Status.Ok });
  const node = rack.node('tcp://10.0.0.1:7101');
  expect(node.held.size).toBe(1);
  expect(await id(controller, 's')).not.toBe(first);
  expect(controller.spaces.list().map(({ state }) => state)).toEqual(['removing', 'active']);

  const next = await rack.start();
  node.answer = () => Status.Timeout;
  await next.membership.join(rack.joinRequest('n1'));
  await settled();
  expect(next.spaces.list()).toHaveLength(2);
  node.answer = () => Status.Ok;
  next.membership.heartbeat({ ...rack.joinRequest('n1'), bytesUsed: 0, bytesCommitted: 0 });
  await settled();
  expect(node.held.size).toBe(0);
  expect(next.spaces.list().map(({ state }) => state)).toEqual(['active']);
});

test('a region whose grant is on its way when the space goes is taken back', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await controller.membership.join(rack.joinRequest('n1'));
  const first = await id(controller, 's');
  const granting = controller.regions.grant({ space: first, count: 3, bytes: 0, near: '' });
  const removing = controller.spaces.remove('s');
  const [granted] = await Promise.all([granting, removing]);
  await settled();
  controller.membership.heartbeat({ ...rack.joinRequest('n1'), bytesUsed: 0, bytesCommitted: 0 });
  await settled();
  expect([Status.Ok, Status.NotFound]).toContain(granted.status);
  expect(rack.node('tcp://10.0.0.1:7101').held.size).toBe(0);
  expect(controller.spaces.list()).toEqual([]);
});

test('files of a space that goes are gone at once, and their keys can be put again', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  const first = await id(controller, 's');
  await controller.files.put(Array.from({ length: 1000 }, (_, i) => file(`k${i}`, first)));
  const removing = controller.spaces.remove('s');
  const second = await id(controller, 't');
  expect(controller.files.get('k1')).toMatchObject({ status: Status.NotFound });
  const put = await controller.files.put([file('k1', second)]);
  expect(put).toMatchObject({ status: Status.Ok, replaced: [undefined] });
  await removing;
  expect(controller.files.list('', '', 10).files.map(({ key }) => key)).toEqual(['k1']);
});
