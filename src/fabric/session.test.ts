import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import {
  HELLO_WITHIN_MS,
  PIECE_BYTES_MAX,
  RECORD_KEEP_MS,
  RECORDS_CLOSED_MAX,
  SESSIONS_MAX,
} from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { REQUEST_KINDS } from './stations.js';
import { FakeWorld } from './testing/fake-world.js';
import { RawClient, target } from './testing/raw-client.js';
import { NODE, Rig } from './testing/rig.js';

const WINDOW = 7;
const EPOCH = 3;
const read = (address: number, bytes: number) => target(address, bytes, EPOCH);
const add = (address: number) => {
  const body = target(address, 8, EPOCH, 8);
  body[16] = 1;
  return body;
};

async function greeted(rig: Rig, changed = {}) {
  const raw = await new RawClient(rig.world).connect(NODE);
  const hello = await raw.greet(changed);
  return { raw, hello };
}

const passTime = (rig: Rig, ms: number) => rig.world.run(() => false, ms);

test('a batch is executed in order and answered in one frame', async () => {
  const rig = new Rig();
  const { raw, hello } = await greeted(rig);
  expect(hello).toMatchObject({ version: 1, recordKnown: 0, executed: 0, inFlightMax: 1024 });
  raw.add(MessageType.FetchAndAdd, 2, add(0), WINDOW);
  raw.add(MessageType.Read, 3, read(0, 5), WINDOW);
  raw.add(MessageType.Ping, 4);
  raw.writer.flush();
  await passTime(rig, 10);
  expect(raw.frames).toBe(2);
  expect(raw.replies.slice(1)).toEqual([
    { type: MessageType.FetchAndAdd, status: 0, sequence: 2, extra: 0, body: new Uint8Array(8) },
    {
      type: MessageType.Read,
      status: 0,
      sequence: 3,
      extra: 5,
      body: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0),
    },
    { type: MessageType.Ping, status: 0, sequence: 4, extra: 0, body: new Uint8Array(0) },
  ]);
});

test('what breaks a rule ends the connection, is counted, and is not executed', async () => {
  const long = target(0, PIECE_BYTES_MAX + 8, EPOCH);
  const high = read(0, 8);
  high[7] = 0xff;
  const breaches: [string, (raw: RawClient) => void][] = [
    ['sequence', (raw) => raw.add(MessageType.Ping, 3)],
    ['sequence', (raw) => raw.add(MessageType.Ping, 1)],
    ['body', (raw) => raw.add(MessageType.Ping, 2, new Uint8Array(8))],
    ['body', (raw) => raw.add(MessageType.Read, 2, read(0, 8).subarray(0, 8), WINDOW)],
    ['body', (raw) => raw.add(MessageType.Read, 2, long, WINDOW)],
    ['body', (raw) => raw.add(MessageType.Read, 2, high, WINDOW)],
    ['body', (raw) => raw.add(MessageType.Write, 2, target(0, 16, EPOCH, 8), WINDOW)],
    ['body', (raw) => raw.add(MessageType.FetchAndAdd, 2, target(0, 4, EPOCH, 8), WINDOW)],
    ['body', (raw) => raw.add(MessageType.CompareAndSwap, 2, target(0, 8, EPOCH, 8), WINDOW)],
    ['body', (raw) => raw.add(MessageType.Alloc, 2, new Uint8Array(8))],
    ['hello', (raw) => raw.hello()],
  ];
  for (const [kind, breach] of breaches) {
    const rig = new Rig();
    const { raw } = await greeted(rig);
    breach(raw);
    raw.writer.flush();
    await passTime(rig, 10);
    expect(raw.closedBecause, kind).toBeDefined();
    const { malformed } = rig.server.counters;
    // A second hello repeats the first one's sequence: that is what is seen of it.
    expect(malformed[kind === 'hello' ? 'sequence' : (kind as 'body')]).toBe(1);
    expect(rig.memory.executed).toEqual([]);
    expect(rig.memory.closedClients).toEqual([77]);
  }
});

test('a stream that is not ours is closed at once, a mute one after five seconds', async () => {
  const rig = new Rig();
  const stranger = await new RawClient(rig.world).connect(NODE);
  const at = stranger.stream.reserve(16);
  stranger.stream.output.bytes.set(new TextEncoder().encode('GET / HTTP/1.1\r\n'), at);
  stranger.stream.commit(16);
  stranger.stream.flush();
  const mute = await new RawClient(rig.world).connect(NODE);
  await passTime(rig, 100);
  expect(stranger.closedBecause).toBeDefined();
  expect(mute.closedBecause).toBeUndefined();
  await passTime(rig, HELLO_WITHIN_MS);
  expect(mute.closedBecause).toBeDefined();
  expect(rig.server.counters).toMatchObject({ helloLate: 1, sessionsClosed: 2 });
  expect(rig.server.counters.malformed.magic).toBe(1);
  expect(rig.server.sessions).toBe(0);
});

test('a hello with a lower number, or without a common version, is refused', async () => {
  const rig = new Rig();
  const { raw: current } = await greeted(rig, { connection: 5 });
  for (const connection of [4, 5]) {
    const raw = await new RawClient(rig.world).connect(NODE);
    raw.hello({ connection });
    await passTime(rig, 10);
    expect(raw.replies[0]?.status).toBe(Status.Stale);
    expect(raw.closedBecause).toBeDefined();
  }
  const foreign = await new RawClient(rig.world).connect(NODE);
  foreign.hello({ connection: 9, versionMin: 2, versionMax: 9 });
  await passTime(rig, 10);
  expect(foreign.replies[0]?.status).toBe(Status.Unsupported);
  expect(current.closedBecause).toBeUndefined();
  const malformed = await new RawClient(rig.world).connect(NODE);
  malformed.hello({ connection: 3, previous: 3 });
  await passTime(rig, 10);
  expect(malformed.replies).toEqual([]);
  expect(rig.server.counters.hellosRefused).toBe(3);
  expect(rig.server.counters.malformed.hello).toBe(1);
});

test('a newer connection fences the older one; what waits there is never executed', async () => {
  const rig = new Rig();
  const { raw: old, hello } = await greeted(rig, { connection: 1 });
  rig.memory.isFull = true;
  old.add(MessageType.FetchAndAdd, 2, add(0), WINDOW);
  old.add(MessageType.Write, 3, target(8, 8, EPOCH, 8), WINDOW);
  old.add(MessageType.FetchAndAdd, 4, add(0), WINDOW);
  old.writer.flush();
  await passTime(rig, 10);
  expect(rig.memory.waiting.size).toBe(1);
  const { raw, hello: second } = await greeted(rig, {
    connection: 2,
    previous: 1,
    acknowledged: 1,
    instance: hello.instance,
  });
  expect(second).toMatchObject({ recordKnown: 1, executed: 2 });
  expect(second.missed).toMatchObject([
    { sequence: 2, status: 0, type: MessageType.FetchAndAdd, low: 0, high: 0 },
  ]);
  rig.memory.refill();
  await passTime(rig, 10);
  expect(old.closedBecause).toBeDefined();
  expect(rig.memory.executed).toEqual([MessageType.FetchAndAdd]);
  expect(raw.closedBecause).toBeUndefined();
  expect(rig.server.counters.fenced).toBe(1);
  // The slot stayed the client's.
  expect(rig.memory.forgottenSlots).toEqual([]);
});

test('the record has the last 1,024 results, whatever became of the replies', async () => {
  const rig = new Rig();
  const { raw, hello } = await greeted(rig);
  let sequence = 2;
  for (let i = 0; i < 3000; i++) {
    raw.add(MessageType.FetchAndAdd, sequence++, add(0), WINDOW);
    if (i % 500 === 499) {
      raw.writer.flush();
      await passTime(rig, 10);
    }
  }
  const asked = { previous: 1, instance: hello.instance };
  const { hello: known } = await greeted(rig, {
    ...asked,
    connection: 2,
    acknowledged: sequence - 1 - 1024,
  });
  expect(known).toMatchObject({ recordKnown: 1, executed: sequence - 1 });
  expect(known.missed.length).toBe(1024);
  expect(known.missed[1023]).toMatchObject({ sequence: sequence - 1, low: 2999 });
  // Asked for again, because the answer was lost: the same. Asked for too much: unknown.
  const { hello: again } = await greeted(rig, { ...asked, connection: 3, acknowledged: 2999 });
  expect(again).toMatchObject({ recordKnown: 1, executed: sequence - 1 });
  const { hello: tooFar } = await greeted(rig, { ...asked, connection: 4, acknowledged: 10 });
  expect(tooFar.recordKnown).toBe(0);
  const { hello: gone } = await greeted(rig, { ...asked, connection: 5, acknowledged: 2999 });
  expect(gone.recordKnown).toBe(0);
});

test('a client that another process knows, or nobody, has no record', async () => {
  const rig = new Rig();
  const { hello } = await greeted(rig);
  const { hello: other } = await greeted(rig, {
    connection: 2,
    previous: 1,
    acknowledged: 1,
    instance: hello.instance + 1,
  });
  expect(other.recordKnown).toBe(0);
  const { hello: stranger } = await greeted(rig, {
    client: 78,
    connection: 2,
    previous: 1,
    acknowledged: 1,
    instance: hello.instance,
  });
  expect(stranger.recordKnown).toBe(0);
});

test('goodbye forgets at once, a lost connection after a minute', async () => {
  const rig = new Rig();
  const { raw } = await greeted(rig);
  raw.add(MessageType.Goodbye, 2);
  raw.writer.flush();
  await passTime(rig, 10);
  expect(rig.memory.forgottenSlots).toEqual([0]);
  const { raw: second } = await greeted(rig, { client: 78 });
  second.stream.close('gone');
  await passTime(rig, RECORD_KEEP_MS - 100);
  expect(rig.memory.forgottenSlots).toEqual([0]);
  await passTime(rig, 200);
  expect(rig.memory.forgottenSlots).toEqual([0, 0]);
});

test('a call that runs holds back what follows, and a newer hello', async () => {
  const rig = new Rig();
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  rig.server.serve(MessageType.Counters, async () => {
    await held;
    return { status: Status.Ok, json: '{}' };
  });
  const { raw, hello } = await greeted(rig);
  raw.add(MessageType.Counters, 2);
  raw.add(MessageType.FetchAndAdd, 3, add(0), WINDOW);
  raw.writer.flush();
  await passTime(rig, 10);
  expect(raw.replies.length).toBe(1);
  const second = await new RawClient(rig.world).connect(NODE);
  second.hello({ connection: 2, previous: 1, acknowledged: 1, instance: hello.instance });
  await passTime(rig, 10);
  expect(second.replies).toEqual([]);
  expect(raw.closedBecause).toBeDefined();
  const third = await new RawClient(rig.world).connect(NODE);
  third.hello({ connection: 3, previous: 1, acknowledged: 1, instance: hello.instance });
  await passTime(rig, 10);
  expect(second.closedBecause).toBeDefined();
  release();
  await passTime(rig, 10);
  expect(second.replies).toEqual([]);
  expect(third.replies.length).toBe(1);
  expect(rig.memory.executed).toEqual([]);
});

test('a batch of long calls lets others have their turn', async () => {
  const rig = new Rig();
  let calls = 0;
  rig.server.serve(MessageType.Counters, () => {
    calls++;
    rig.world.nowMs += 4;
    return { status: Status.Ok, json: '{}' };
  });
  const { raw } = await greeted(rig);
  const { raw: other } = await greeted(rig, { client: 78 });
  for (let i = 0; i < 20; i++) raw.add(MessageType.Counters, 2 + i);
  raw.writer.flush();
  other.add(MessageType.Ping, 2);
  other.writer.flush();
  await rig.world.run(() => other.replies.length === 2);
  expect(calls).toBeLessThan(10);
  await passTime(rig, 100);
  expect(calls).toBe(20);
  expect(raw.replies.map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: 21 }, (_, i) => i + 1),
  );
});

test('a client that does not read is not read either, and loses nothing', async () => {
  const world = new FakeWorld();
  world.inputBytes = 256 * 1024;
  world.outputBytes = 512 * 1024;
  const rig = new Rig(world, 64 * 1024);
  rig.memory.bytes.fill(5);
  const { raw } = await greeted(rig);
  const count = 200;
  raw.stream.pause();
  for (let i = 0; i < count; i++) {
    raw.add(MessageType.Read, 2 + i, read(0, 64 * 1024), WINDOW);
    raw.writer.flush();
  }
  await passTime(rig, 100);
  expect(rig.memory.executed.length).toBeLessThan(20);
  expect(rig.server.counters.outputFull).toBeGreaterThan(0);
  const { raw: other } = await greeted(rig, { client: 78 });
  other.add(MessageType.Ping, 2);
  other.writer.flush();
  await passTime(rig, 100);
  expect(other.replies.length).toBe(2);
  raw.stream.resume();
  await passTime(rig, 1000);
  expect(raw.replies.length).toBe(1 + count);
  expect(raw.replies[count]?.body.every((byte) => byte === 5)).toBe(true);
});

test('the number of connections is limited', async () => {
  const world = new FakeWorld();
  world.inputBytes = 1024;
  world.outputBytes = 1024;
  const rig = new Rig(world);
  const mutes: Promise<RawClient>[] = [];
  for (let i = 0; i < SESSIONS_MAX + 3; i++) mutes.push(new RawClient(world).connect(NODE));
  await world.run(() => rig.server.sessions === SESSIONS_MAX, 1000);
  await world.run(() => false, 10);
  expect(rig.server.counters.sessionsRefused).toBe(3);
  await world.run(() => rig.server.sessions === 0, 2 * HELLO_WITHIN_MS);
  await Promise.all(mutes);
});

test('of absent clients 1,024 are remembered; the longest absent goes first', async () => {
  const world = new FakeWorld();
  world.inputBytes = 4096;
  world.outputBytes = 160 * 1024;
  const rig = new Rig(world);
  for (let i = 0; i < RECORDS_CLOSED_MAX + 3; i++) {
    const { raw } = await greeted(rig, { client: 1000 + i });
    raw.stream.close('gone');
    await world.run(() => rig.server.sessions === 0, 10);
  }
  expect(rig.memory.forgottenSlots).toEqual([0, 1, 2]);
  const { hello } = await greeted(rig, {
    client: 1000,
    connection: 2,
    previous: 1,
    acknowledged: 1,
  });
  expect(hello.recordKnown).toBe(0);
});

test('requests are timed by station where that is asked for, calls never are', async () => {
  const rig = new Rig();
  const { raw } = await greeted(rig);
  const { stations } = rig;
  const ask = async (type: number, sequence: number, body?: Uint8Array) => {
    raw.add(type, sequence, body, WINDOW);
    raw.writer.flush();
    await passTime(rig, 10);
  };
  await ask(MessageType.Read, 2, read(0, 5));
  expect(stations.requests(0)).toBe(0);
  stations.measure(1, 1e9);
  await ask(MessageType.Read, 3, read(0, 5));
  await ask(MessageType.FetchAndAdd, 4, add(0));
  await ask(MessageType.Counters, 5);
  await ask(MessageType.Ping, 6);
  expect(REQUEST_KINDS.map((_, kind) => stations.requests(kind))).toEqual([1, 0, 1, 1]);
});
