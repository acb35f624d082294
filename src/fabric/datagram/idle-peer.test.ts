// A stream that is used for calls alone, when it is closed and made again.
import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { MessageType, type Request } from '../../wire/messages.js';
import { Rig } from '../testing/rig.js';
import type { TcpLink } from '../tcp-link.js';
import { idlePeer } from './idle-peer.js';

const IDLE_MS = 500;
const ALLOC: Request<typeof MessageType.Alloc> = {
  space: 5,
  region: 1,
  bytes: 64,
  wish: 0,
  flags: 0,
  nonce: 1,
};

function rigged() {
  const rig = new Rig();
  const peer = idlePeer(rig.world.runtime(), rig.link as TcpLink, IDLE_MS);
  const call = async (): Promise<Status> => {
    return (await rig.result(peer.call(MessageType.Alloc, ALLOC, 10_000))).status;
  };
  const pass = (ms: number): Promise<boolean> => rig.world.run(() => false, ms);
  const kept = (): [number, number] => [rig.server.sessions, rig.server.counters.clientsForgotten];
  return { rig, peer, call, pass, kept };
}

test('who is not called keeps nothing of the caller, and is called over a new stream', async () => {
  const { rig, call, pass, kept } = rigged();
  expect(await call()).toBe(Status.Ok);
  expect(kept()).toEqual([1, 0]);
  await pass(3 * IDLE_MS);
  expect(kept()).toEqual([0, 1]);
  expect(await call()).toBe(Status.Ok);
  expect([rig.world.connections, rig.allocs]).toEqual([2, 2]);
  for (let i = 0; i < 5; i++) {
    await pass(IDLE_MS / 2);
    expect(await call()).toBe(Status.Ok);
  }
  expect(rig.world.connections).toBe(2);
  expect(rig.client.counters).toMatchObject({ connectionsLetGo: 1, connectionsLost: 0 });
});

test('with its endpoint it ends for good, and nothing is left to wait for', async () => {
  const { rig, call, pass, kept } = rigged();
  expect(await call()).toBe(Status.Ok);
  await rig.result(rig.client.close().then(() => 0));
  await pass(3 * IDLE_MS);
  expect(kept()).toEqual([0, 1]);
  expect(rig.client.counters.connectionsLetGo).toBe(0);
  expect(await call()).toBe(Status.Closed);
});
