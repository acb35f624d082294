// What the controller's replies say, as they are handed to the fabric.
import { expect, test } from 'vitest';
import type { Log } from '../runtime/runtime.js';
import { MessageType as M } from '../wire/messages.js';
import { serveController } from './handlers.js';
import type { Serve } from './replies.js';
import { FakeRack } from './testing/fake-rack.js';

async function openController(machine: string) {
  const rack = new FakeRack();
  const controller = await rack.start();
  const api = rack.api(controller, { machine });
  const handlers = new Map<number, (request: object) => unknown>();
  const serve = ((type: number, handler: (request: object) => unknown) =>
    handlers.set(type, handler)) as unknown as Serve;
  const log: Log = { write: () => undefined } as unknown as Log;
  serveController(serve, { controller, api, heartbeatMs: 1000, log });
  return { rack, controller, api, ask: (type: number) => handlers.get(type)?.({}) };
}

test('whoever lists the nodes learns the pids of all machines', async () => {
  const { rack, controller, api, ask } = await openController('here');
  await controller.membership.join(rack.joinRequest('n1', { machine: 'here', pid: 11 }));
  await controller.membership.join(rack.joinRequest('n2', { machine: 'there', pid: 12 }));
  controller.hosts.join({ id: 'h1', address: 'tcp://10.0.0.9:1', machine: 'there', pid: 13 });
  const { members } = ask(M.ListNodes) as { members: { id: string; pid: number }[] };
  const pids = members.map(({ id, pid }) => [id, pid]);
  expect(pids).toEqual([
    ['h1', 13],
    ['n1', 11],
    ['n2', 12],
  ]);
  // Over HTTP a pid is shown without a machine to look it up on: only those of this one.
  expect(api.members().map(({ pid }) => pid)).toEqual([undefined, 11, undefined]);
});

test('a node that has ended uses no memory, whatever it said last', async () => {
  const { rack, controller, api } = await openController('here');
  const request = rack.joinRequest('n1');
  await controller.membership.join(request);
  const opened = await controller.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (!('space' in opened)) throw new Error(opened.message);
  await controller.regions.grant({ space: opened.space.id, count: 1, bytes: 1, near: '' });
  controller.membership.heartbeat({ ...request, bytesUsed: 4096, bytesCommitted: 8192 });
  expect(api.members()[0]).toMatchObject({ bytesUsed: 4096, bytesCommitted: 8192 });
  await controller.membership.ended('n1', request.memoryId);
  const nothing = { bytesLent: 0, bytesUsed: 0, bytesCommitted: 0 };
  expect(api.members()[0]).toMatchObject({ state: 'ended', ...nothing });
});
