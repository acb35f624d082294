import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { FrameWriter } from '../wire/frame.js';
import { MessageType } from '../wire/messages.js';
import { encodeReply } from './call-codec.js';
import type { Window } from './link.js';
import type { TcpLink } from './tcp-link.js';
import { FakeWorld, type Wire } from './testing/fake-world.js';
import { MEMORY_ID, NODE, Rig } from './testing/rig.js';

const RING = 'ring:///node';
const alloc = { space: 5, region: 1, bytes: 1, wish: 3, flags: 0, nonce: 1 };

interface Moving {
  readonly rig: Rig;
  readonly link: TcpLink;
  readonly window: Window;
}

async function moving(wire: Wire = {}, memoryId = MEMORY_ID): Promise<Moving> {
  const world = new FakeWorld();
  world.wire = wire;
  const rig = new Rig(world, 4096);
  void rig.server.listen(RING);
  const link = rig.client.link(NODE, memoryId);
  rig.link = link;
  return { rig, link, window: await rig.openWindow() };
}

/** Adds, a read before and after a write, and a call, while the connection moves. */
async function work({ rig, link, window }: Moving, first: number, count: number) {
  const { sink, deadline } = rig;
  const last = first + count + 4;
  const early = new Uint8Array(1);
  const late = new Uint8Array(1);
  link.read(window, 8, early, 0, 1, sink, last - 3, deadline);
  link.write(window, 8, Uint8Array.of(first & 0xff), 0, 1, sink, last - 2, deadline);
  link.read(window, 8, late, 0, 1, sink, last - 1, deadline);
  for (let i = 0; i < count; i++) {
    link.fetchAndAdd(window, 0, 1, 0, sink, first + i, deadline);
    if (i % 10 === 5) await rig.world.run(() => false, 0.02);
  }
  const call = link.call(MessageType.Alloc, alloc, 10_000);
  link.fence(sink, last, deadline);
  expect((await rig.result(call)).status).toBe(Status.Ok);
  expect(await rig.world.run(() => sink.status(last) !== undefined)).toBe(true);
  return { early: early[0], late: late[0], earlyStatus: sink.status(last - 3) };
}

function sum(rig: Rig): bigint {
  return rig.memory.view.getBigUint64(0, true);
}

test('a connection moves in the middle of work, and nothing is sent twice', async () => {
  const each = await moving();
  const { rig, link } = each;
  const { connection } = link.transport;
  expect(connection).toBeGreaterThan(0);
  link.transport.moveTo(RING);
  link.transport.moveTo(RING);
  const read = await work(each, 1, 200);
  expect(read).toEqual({ early: 0, late: 1, earlyStatus: Status.Ok });
  expect(sum(rig)).toBe(200n);
  expect(rig.allocs).toBe(1);
  expect(link.transport.way).toBe(RING);
  expect(link.transport.connection).toBe(connection);
  link.transport.moveTo(RING);
  await work(each, 1001, 10);
  const { client, server, world } = rig;
  expect(world.connections).toBe(2);
  expect(client.counters).toMatchObject({ connectionsMoved: 1, connectionsLost: 0 });
  expect(client.counters).toMatchObject({ operationsResent: 0, operationsRecovered: 0 });
  expect(server.counters).toMatchObject({ sessionsOpened: 2, malformed: { hello: 0 } });
  expect([server.sessions, server.counters.clientsForgotten]).toEqual([1, 0]);
});

test('nothing is held back where nobody listens: it stays as it was', async () => {
  const each = await moving();
  const { rig, link } = each;
  link.transport.moveTo('ring:///nobody');
  await work(each, 1, 50);
  expect(link.transport.way).toBe(NODE);
  expect(rig.client.counters).toMatchObject({ movesFailed: 1, connectionsMade: 1 });
  expect(rig.world.connections).toBe(1);
  // Asked for again it is tried again.
  link.transport.moveTo(RING);
  await rig.world.run(() => link.transport.way === RING, 100);
  expect(link.transport.way).toBe(RING);
});

test('who moves without a connection stays without', async () => {
  const rig = new Rig();
  const link = rig.client.link(NODE, MEMORY_ID);
  link.transport.moveTo(RING);
  await rig.world.run(() => false, 100);
  expect(rig.world.connections).toBe(0);
});

test('another memory that has the address by now is not used', async () => {
  const each = await moving();
  const { rig, link } = each;
  const { connection } = link.transport;
  const stranger = 'ring:///stranger';
  const other = rig.serveAs(4712, stranger);
  link.transport.moveTo(stranger);
  await work(each, 1, 20);
  expect(sum(rig)).toBe(20n);
  expect(link.transport.way).toBe(NODE);
  expect(link.transport.connection).toBeGreaterThan(connection);
  expect(other.counters).toMatchObject({ hellosRefused: 1, messagesExecuted: 1 });
});

test('nothing ends because who has the address by now speaks another version', async () => {
  const each = await moving();
  const { rig, link } = each;
  const { network, checksum } = rig.world.runtime();
  const stranger = 'ring:///stranger';
  const refusal = { status: Status.Unsupported, reason: 'no version in common' } as const;
  const { body } = encodeReply(MessageType.Hello, refusal);
  let hellos = 0;
  await network.listen(stranger, (stream) => ({
    received: (_stream, _input, start, end) => {
      hellos++;
      const writer = new FrameWriter(stream, checksum, true);
      writer.room(body.length);
      writer.output.bytes.set(body, writer.bodyAt);
      writer.append(MessageType.Hello, refusal.status, 1, 0, body.length);
      writer.flush();
      return end - start;
    },
    drained: () => undefined,
    closed: () => undefined,
  }));
  link.transport.moveTo(stranger);
  await work(each, 1, 20);
  expect(sum(rig)).toBe(20n);
  expect([hellos, link.transport.way]).toEqual([1, NODE]);
});

for (const direction of ['up', 'down'] as const) {
  test(`everything counts once when the new way is cut after any byte ${direction}`, async () => {
    let total = 0;
    const whole = await moving({
      cut(number, way, passed, bytes) {
        if (number === 1 && way === direction) total = Math.max(total, passed + bytes);
        return bytes;
      },
    });
    whole.link.transport.moveTo(RING);
    await work(whole, 1, 12);
    expect(total).toBeGreaterThan(250);
    for (let after = 0; after < total; after += 3) {
      const each = await moving({
        cut: (number, way, passed, bytes) =>
          number === 1 && way === direction ? Math.min(bytes, after - passed) : bytes,
      });
      const { rig, link } = each;
      const { connection } = link.transport;
      link.transport.moveTo(RING);
      const read = await work(each, 1, 12);
      expect(sum(rig), `cut after ${after}`).toBe(12n);
      expect(rig.allocs).toBe(1);
      expect(rig.client.counters.outcomesUnknown).toBe(0);
      expect(read.late).toBe(1);
      if (read.earlyStatus === Status.Ok) expect(read.early).toBe(0);
      expect(link.transport.way).toBe(NODE);
      expect(link.transport.connection).toBeGreaterThan(connection);
      expect(rig.server.sessions).toBe(1);
    }
  }, 60_000);
}

test('an old connection whose end is not heard is fenced', async () => {
  const silent = new Set<number>();
  const each = await moving({ isSilent: (number) => silent.has(number) });
  const { rig, link } = each;
  await work(each, 1, 5);
  silent.add(0);
  link.transport.moveTo(RING);
  await rig.world.run(() => link.transport.way === RING, 100);
  await work(each, 101, 5);
  expect(link.transport.way).toBe(RING);
  expect(sum(rig)).toBe(10n);
  expect([rig.server.sessions, rig.server.counters.fenced]).toEqual([1, 1]);
});

test('while a request takes its time nothing is sent; too long, and it does not move', async () => {
  const each = await moving();
  const { rig, link, window } = each;
  const { sink, memory, world } = rig;
  memory.isFull = true;
  const deadline = world.nowMs + 60_000;
  link.write(window, 0, Uint8Array.of(1), 0, 1, sink, 1, deadline);
  await world.run(() => memory.waiting.size === 1);
  link.transport.moveTo(RING);
  await world.run(() => rig.server.sessions === 2);
  link.fetchAndAdd(window, 0, 1, 0, sink, 2, deadline);
  await world.run(() => false, 4_000);
  expect(sink.told.size).toBe(0);
  expect(rig.client.counters.operationsSent).toBe(2);
  await world.run(() => false, 2_000);
  expect(rig.client.counters).toMatchObject({ operationsSent: 3, movesFailed: 1 });
  memory.refill();
  await rig.told(2);
  expect(sum(rig)).toBe(2n);
  expect([link.transport.way, rig.server.sessions]).toEqual([NODE, 1]);
  expect(rig.client.counters).toMatchObject({ connectionsMade: 1, operationsResent: 0 });
});

test('what is lost meanwhile takes the stream that was made for it along', async () => {
  const each = await moving();
  const { rig, link, window } = each;
  const { sink, memory, world } = rig;
  memory.isFull = true;
  link.write(window, 0, Uint8Array.of(1), 0, 1, sink, 1, rig.deadline);
  await world.run(() => memory.waiting.size === 1);
  link.transport.moveTo(RING);
  await world.run(() => rig.server.sessions === 2);
  world.streams[0]?.lose('cut');
  world.streams[1]?.lose('cut');
  memory.refill();
  await rig.told(1);
  await world.run(() => false, 10);
  expect([link.transport.way, rig.server.sessions]).toEqual([NODE, 1]);
  link.transport.moveTo(RING);
  await work(each, 101, 30);
  expect(link.transport.way).toBe(RING);
});

test('who leaves in the middle of a move does not wait for ever', async () => {
  const silent = new Set<number>();
  const { rig, link } = await moving({ isSilent: (number) => silent.has(number) });
  silent.add(1);
  link.transport.moveTo(RING);
  await rig.world.run(() => link.transport.way === '');
  link.close();
  expect(link.transport.connection).toBe(0);
  const isClosed = () => rig.world.streams[2]?.reserve(0) === -1;
  expect(isClosed()).toBe(false);
  expect(await rig.world.run(isClosed)).toBe(true);
});

test('a link that is closed at any moment of it leaves nothing open', async () => {
  for (let after = 0; after < 12; after++) {
    const each = await moving();
    const { rig, link, window } = each;
    link.transport.moveTo(RING);
    await rig.world.run(() => false, after * 0.005);
    link.write(window, 0, Uint8Array.of(1), 0, 1, rig.sink, 1, rig.deadline);
    link.close();
    await rig.told(1);
    await rig.world.run(() => rig.server.sessions === 0, 1_000);
    expect(rig.server.sessions, `closed after ${after}`).toBe(0);
    expect(rig.server.counters.sessionsOpened).toBe(rig.server.counters.sessionsClosed);
  }
});

test('the process after it may be reached by the move: then its number changes', async () => {
  const each = await moving();
  const { rig, link, window } = each;
  const { connection } = link.transport;
  const successor = rig.serveAs(MEMORY_ID, 'ring:///successor');
  link.transport.moveTo('ring:///successor');
  await rig.world.run(() => link.transport.way === '');
  expect(link.transport.connection).toBe(connection);
  await rig.world.run(() => link.transport.way !== '');
  expect(link.transport.connection).toBeGreaterThan(connection);
  link.fetchAndAdd(window, 0, 1, 0, rig.sink, 1, rig.deadline);
  await rig.told(1);
  expect(rig.sink.status(1)).toBe(Status.Ok);
  expect(successor.sessions).toBe(1);
});
