// When the stream of a link over datagrams is closed, and what is still true then.
import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { MessageType, type Request } from '../../wire/messages.js';
import type { Endpoint } from '../endpoint.js';
import type { Window } from '../link.js';
import { Rig, Sink, SPACE } from '../testing/rig.js';
import { ScriptedNode } from './testing/scripted-node.js';
import { UdpLink } from './udp-link.js';

const IDLE_MS = 500;
const RANGE: Request<typeof MessageType.OpenRange> = {
  space: SPACE,
  rights: 1,
  base: 0,
  bytes: 64,
  parent: 0,
  parentEpoch: 0,
  lease: 7,
  leaseEpoch: 1,
  isShared: 0,
};

class IdleRig extends Rig {
  readonly node: ScriptedNode;
  readonly udp: UdpLink;
  window!: Window;
  #token = 0;

  constructor() {
    super();
    this.node = new ScriptedNode(this.world);
    const link = this.link as Parameters<typeof UdpLink.open>[0]['link'];
    const address = 'udp://node:1';
    const runtime = this.node.runtime();
    this.udp = UdpLink.open({ runtime, link, address, idleStreamMs: IDLE_MS });
  }

  override serveAs(memoryId: number, address: string): Endpoint {
    const server = super.serveAs(memoryId, address);
    server.serve(MessageType.OpenRange, () => {
      return { status: Status.Ok, window: 9, epoch: 9, pageBytes: 65536 };
    });
    for (const type of [MessageType.RevokeWindow, MessageType.EndLease] as const) {
      server.serve(type, () => ({ status: Status.Ok }));
    }
    return server;
  }

  static async open(): Promise<IdleRig> {
    const rig = new IdleRig();
    rig.window = (await rig.result(rig.udp.openWindow(SPACE, 10_000))) as Window;
    expect(await rig.read()).toBe(Status.Ok);
    return rig;
  }

  async read(): Promise<Status | undefined> {
    const token = ++this.#token;
    const into = new Uint8Array(8);
    this.udp.read(this.window, 0, into, 0, 8, this.sink, token, this.world.nowMs + 5000);
    await this.world.run(() => this.sink.status(token) !== undefined);
    return this.sink.status(token);
  }

  pass(ms: number): Promise<boolean> {
    return this.world.run(() => false, ms);
  }

  /** What the node keeps: connections, and clients that it has forgotten. */
  get kept(): [number, number] {
    return [this.server.sessions, this.server.counters.clientsForgotten];
  }
}

test('a stream that is not needed goes, its client is forgotten, datagrams go on', async () => {
  const rig = await IdleRig.open();
  expect(rig.kept).toEqual([1, 0]);
  for (let i = 0; i < 30; i++) {
    await rig.pass(IDLE_MS / 10);
    expect(await rig.read()).toBe(Status.Ok);
  }
  expect(rig.kept).toEqual([0, 1]);
  expect(rig.world.connections).toBe(1);
  expect(rig.client.counters).toMatchObject({ connectionsLetGo: 1, connectionsLost: 0 });
});

test('a call makes it again, and calls keep it', async () => {
  const rig = await IdleRig.open();
  await rig.pass(3 * IDLE_MS);
  expect(rig.kept).toEqual([0, 1]);
  for (let i = 0; i < 10; i++) {
    const window = await rig.result(rig.udp.openWindow(SPACE, 10_000));
    expect(window).toMatchObject({ id: rig.window.id, epoch: rig.window.epoch });
    await rig.pass(IDLE_MS / 2);
    expect(rig.kept).toEqual([1, 1]);
  }
  expect(rig.world.connections).toBe(2);
  await rig.pass(3 * IDLE_MS);
  expect(rig.kept).toEqual([0, 2]);
});

test('windows over ranges keep the stream until they or their lease end', async () => {
  const rig = await IdleRig.open();
  const opened = await rig.result(rig.udp.call(MessageType.OpenRange, RANGE, 10_000));
  expect(opened.status).toBe(Status.Ok);
  await rig.pass(10 * IDLE_MS);
  expect(rig.kept).toEqual([1, 0]);
  await rig.result(rig.udp.call(MessageType.RevokeWindow, { window: 9, epoch: 9 }, 10_000));
  await rig.pass(3 * IDLE_MS);
  expect(rig.kept).toEqual([0, 1]);
  await rig.result(rig.udp.call(MessageType.OpenRange, RANGE, 10_000));
  await rig.pass(10 * IDLE_MS);
  expect(rig.kept).toEqual([1, 1]);
  await rig.result(rig.udp.call(MessageType.EndLease, { lease: 7, epoch: 1 }, 10_000));
  await rig.pass(3 * IDLE_MS);
  expect(rig.kept).toEqual([0, 2]);
});

test('frames that were promised keep the stream, until they are given back', async () => {
  const rig = await IdleRig.open();
  const { udp, window } = rig;
  const sink = new Sink();
  udp.reserve(window, 0, 64, sink, 1, rig.world.nowMs + 5000, 3);
  await rig.pass(10 * IDLE_MS);
  expect([sink.told.size, ...rig.kept]).toEqual([1, 1, 0]);
  udp.unreserve(sink, 2, rig.world.nowMs + 5000, 3);
  await rig.pass(3 * IDLE_MS);
  expect([sink.told.size, ...rig.kept]).toEqual([2, 0, 1]);
});

test('a stream with something unanswered stays, however long that takes', async () => {
  const rig = await IdleRig.open();
  rig.memory.isFull = true;
  const sink = new Sink();
  const from = new Uint8Array(8);
  // With promised frames it goes over the stream, where it waits for a frame.
  rig.udp.write(rig.window, 0, from, 0, 8, sink, 1, rig.world.nowMs + 60_000, 3);
  await rig.pass(10 * IDLE_MS);
  expect([sink.status(1), ...rig.kept]).toEqual([undefined, 1, 0]);
});

test('a node that came back meanwhile is asked for windows first', async () => {
  const rig = await IdleRig.open();
  await rig.pass(3 * IDLE_MS);
  expect(rig.kept).toEqual([0, 1]);
  await rig.result(rig.server.close().then(() => 0));
  rig.memory.window += 5;
  rig.memory.epoch += 5;
  rig.server = rig.serve();
  rig.node.incarnation++;
  rig.node.attempts.length = 0;
  const late = rig.node.incarnation - 1;
  rig.node.script = ({ incarnation }) => (incarnation === late ? undefined : {});
  expect(await rig.read()).toBe(Status.Ok);
  expect(rig.client.counters.windowsRenewed).toBe(1);
  expect(rig.window).toMatchObject({ id: rig.memory.window, epoch: rig.memory.epoch });
  const good = rig.node.attempts.filter(({ incarnation }) => incarnation !== late);
  expect(good.map(({ window }) => window)).toEqual(good.map(() => rig.memory.window));
});
