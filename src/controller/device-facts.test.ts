import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Controller } from './controller.js';
import { byNeed, deviceFacts, deviceFindings } from './device-facts.js';
import { deviceMetrics } from './device-metrics.js';
import type { Note } from './hosts.js';
import { HOST_FORGOTTEN_MS } from './limits.js';
import { copiesText } from './metadata/slab-sets.js';
import { isRefusal } from './refusal.js';
import { rackStatus } from './report.js';
import { noteOf, timesOf } from './testing/device-note.js';
import { FakeRack } from './testing/fake-rack.js';

const END = Number.MAX_SAFE_INTEGER;
const SLAB = 2 ** 26;

/** Devices 1 to 3, called a to c, and two hosts. */
async function started() {
  const rack = new FakeRack();
  const controller = await rack.start();
  for (const [i, name] of ['a', 'b', 'c'].entries()) {
    const facts = { name, device: i + 1, bytes: 2 ** 30, slabBytes: SLAB, copies: 2, options: '' };
    expect(isRefusal(await controller.devices.create(facts))).toBe(false);
  }
  for (const id of ['h1', 'h2']) join(controller, id);
  return { rack, controller };
}

function join({ hosts }: Controller, id: string): void {
  hosts.join({ id, address: 'tcp://127.0.0.1:1', pid: 1, machine: 'm' });
}

function tell({ hosts }: Controller, id: string, devices: readonly Note[], after = 0, upTo = END) {
  return hosts.noteDevices(id, { after, upTo, devices });
}

const statesOf = (controller: Controller): string[] =>
  deviceFacts(controller).map(({ state, host = '' }) => `${state} ${host}`.trim());

test('who holds the last epoch serves a device, as long as the host is heard of', async () => {
  const { rack, controller } = await started();
  expect(statesOf(controller)).toEqual(['idle', 'idle', 'idle']);
  tell(controller, 'h1', [noteOf(1, { epoch: 4 }), noteOf(2, { epoch: 0 })]);
  tell(controller, 'h2', [noteOf(1, { epoch: 3 })]);
  expect(statesOf(controller)).toEqual(['served h1', 'waiting h1', 'idle']);
  await rack.advance(4_000);
  controller.hosts.heartbeat('h2');
  tell(controller, 'h2', [noteOf(1, { epoch: 3 })]);
  await rack.advance(4_000);
  // The word of a host that is silent is no word.
  expect(statesOf(controller)).toEqual(['served h2', 'away h1', 'idle']);
  await rack.advance(4_000);
  expect(statesOf(controller)).toEqual(['away h1', 'away h1', 'idle']);
  await rack.advance(HOST_FORGOTTEN_MS);
  expect(statesOf(controller)).toEqual(['idle', 'idle', 'idle']);
  expect(isRefusal(tell(controller, 'h1', [noteOf(1)]))).toBe(true);
});

test('a node that wants its memory back says whose copies are there', async () => {
  const { rack, controller } = await started();
  expect(isRefusal(await controller.membership.join(rack.joinRequest('n1')))).toBe(false);
  const wish = { name: 's', create: true, kind: 0, pageBytes: 0 };
  const opened = await controller.spaces.open(wish);
  if (isRefusal(opened)) throw new Error(opened.message);
  const space = opened.space.id;
  await controller.regions.grant({ space, count: 1, bytes: 0, near: 'n1' });
  const [first] = controller.regions.list(space, 0, 1);
  const address = (first?.region ?? 0) * 2 ** 30;
  const changes = [1, 2].map((device) => {
    const copies = [{ copy: device, node: 'n1', memoryId: 1, space, address }];
    const set = { device, slab: 0, generation: 1, copies: copiesText(copies) };
    return { table: 'slabSets' as const, put: set };
  });
  await controller.metadata.commit(changes);
  tell(controller, 'h1', [noteOf(1, { epoch: 4 })]);
  const context = { nowMs: 0, wallMs: 0, address: '', isDurable: true };
  const said = (): string[] => {
    const { findings } = rackStatus(controller, context);
    return findings.flatMap(({ code, message }) => (code === 'NODE_GIVES_BACK' ? [message] : []));
  };
  expect(said()).toEqual([]);
  Object.assign(controller.membership.members.get('n1') as object, { bytesToGive: 2 ** 30 });
  expect(said()).toEqual([
    expect.stringMatching(/; hosts are to take copies elsewhere of a, b \(which no host serves\)$/),
  ]);
});

test('what is not told of any more, within the part that is told, was let go', async () => {
  const { controller } = await started();
  tell(controller, 'h1', [noteOf(1), noteOf(2), noteOf(3)]);
  tell(controller, 'h1', [noteOf(1)], 0, 2);
  expect(statesOf(controller)).toEqual(['served h1', 'idle', 'served h1']);
  tell(controller, 'h1', [], 0, END);
  expect(statesOf(controller)).toEqual(['idle', 'idle', 'idle']);
  const odd = tell(controller, 'h1', [noteOf(1, { readTimes: [] })]);
  expect(odd).toMatchObject({ status: Status.Invalid });
});

test('a host that joins anew has told nothing', async () => {
  const { controller } = await started();
  tell(controller, 'h1', [noteOf(1)]);
  join(controller, 'h1');
  expect(statesOf(controller)[0]).toBe('idle');
});

test('what goes by is what was told last, less what was told before', async () => {
  const { rack, controller } = await started();
  tell(controller, 'h1', [noteOf(1, { reads: 10, readTimes: timesOf(2, 10), readUs: 100 })]);
  expect(deviceFacts(controller)[0]?.activity?.read).not.toHaveProperty('perSecond');
  await rack.advance(2_000);
  const more = { reads: 110, bytesRead: 4096, readTimes: timesOf(5, 100), readUs: 9_100 };
  tell(controller, 'h1', [noteOf(1, { ...more, waiting: 2, writeErrors: 7 })]);
  const [facts] = deviceFacts(controller);
  expect(facts?.activity).toMatchObject({
    read: { done: 110, perSecond: { done: 50, bytes: 2048 }, meanUs: 90, p99Us: 128 },
    write: { done: 0, errors: 7, perSecond: { done: 0, bytes: 0 } },
    waiting: 2,
  });
  expect(facts?.activity?.write).not.toHaveProperty('meanUs');
});

test('slabs that want something are found, the worst device first', async () => {
  const { controller } = await started();
  tell(controller, 'h1', [
    noteOf(1, { degraded: 3 }),
    noteOf(2),
    noteOf(3, { away: 2, lost: 1, inDoubt: 4 }),
  ]);
  const facts = deviceFacts(controller);
  expect(byNeed(facts).map(({ name }) => name)).toEqual(['c', 'a', 'b']);
  expect(deviceFindings(facts).map(({ code, subject }) => `${code} ${subject}`)).toEqual([
    'DEVICE_DEGRADED a',
    'DEVICE_LOST c',
    'DEVICE_AWAY c',
    'DEVICE_IN_DOUBT c',
  ]);
  const slabs = deviceMetrics(facts).find(({ name }) => name === 'memrack_device_slabs');
  expect(slabs?.samples).toContainEqual({ labels: { device: 'c', state: 'in_doubt' }, value: 4 });
  // Of what nobody serves nothing is said, good or bad.
  tell(controller, 'h1', [noteOf(3, { epoch: 0, lost: 1 })]);
  expect(deviceFindings(deviceFacts(controller))).toEqual([]);
});
