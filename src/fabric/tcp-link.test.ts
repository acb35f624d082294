import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { IN_FLIGHT_MAX, REGION_BYTES } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { createEndpoint } from './endpoint.js';
import { DONE, WAIT } from './serve.js';
import { FakeWorld, type Wire } from './testing/fake-world.js';
import { MEMORY_ID, NODE, Rig, SPACE } from './testing/rig.js';
import { WINDOW_GONE } from './window-renewal.js';

const alloc = (wish: number) => ({ space: 5, region: 1, bytes: 1, wish, flags: 0, nonce: 1 });

test('every verb does what it says', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, deadline } = rig;
  const back = new Uint8Array(13).fill(9);
  link.write(window, 3, Uint8Array.of(0, 1, 2, 3, 4, 5), 1, 5, sink, 1, deadline);
  link.read(window, 0, back, 2, 11, sink, 2, deadline);
  link.fetchAndAdd(window, 16, 5, 1, sink, 3, deadline);
  link.fetchAndAdd(window, 16, 0xffffffff, 0xffffffff, sink, 4, deadline);
  link.compareAndSwap(window, 16, 4, 1, 7, 8, sink, 5, deadline);
  link.compareAndSwap(window, 16, 4, 1, 0, 0, sink, 6, deadline);
  link.reserve(window, 0, 4096, sink, 7, deadline);
  link.fence(sink, 8, deadline);
  link.unreserve(sink, 9, deadline);
  link.read(window, 1e15, back, 0, 1, sink, 10, deadline);
  expect(sink.told.size).toBe(0);
  await rig.told(10);
  expect(sink.order).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect([...back]).toEqual([9, 9, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
  expect(sink.told.get(3)).toMatchObject({ status: Status.Ok, low: 0, high: 0 });
  expect(sink.told.get(4)).toMatchObject({ status: Status.Ok, low: 5, high: 1 });
  expect(sink.told.get(5)).toMatchObject({ status: Status.Ok, low: 4, high: 1 });
  expect(sink.told.get(6)).toMatchObject({ status: Status.Ok, low: 7, high: 8 });
  expect(sink.told.get(7)).toMatchObject({ status: Status.Ok, low: 1, high: 0 });
  expect(sink.told.get(10)).toMatchObject({ status: Status.NotAllocated, outcome: 'notApplied' });
  expect(rig.client.counters.operationsSent).toBe(11);
});

test('what was not sent when something before it came back is not sent any more', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, deadline, memory } = rig;
  const back: number[] = [];
  Object.assign(sink, { moved: (token: number) => back.push(token) });
  const execute = memory.execute.bind(memory);
  // The region has gone, and is here again at once.
  memory.execute = (session) => {
    memory.execute = execute;
    session.finish(Status.Moved, 0);
    return DONE;
  };
  const bytes = new Uint8Array(8);
  for (let i = 0; i < IN_FLIGHT_MAX + 5; i++) link.write(window, 0, bytes, 0, 8, sink, i, deadline);
  // Of another region nothing came back.
  link.write(window, REGION_BYTES, bytes, 0, 8, sink, 5_000, deadline);
  await rig.told(IN_FLIGHT_MAX + 6);
  expect(back).toEqual([0, 1, 2, 3, 4, 5].map((i) => (i === 0 ? 0 : IN_FLIGHT_MAX + i - 1)));
  expect(back.every((token) => sink.status(token) === Status.Moved)).toBe(true);
  expect(sink.status(5_000)).toBe(Status.NotAllocated);
  expect(memory.executed.length).toBe(IN_FLIGHT_MAX);
  link.write(window, 0, bytes, 0, 8, sink, 6_000, rig.deadline);
  await rig.told(IN_FLIGHT_MAX + 7);
  expect(sink.status(6_000)).toBe(Status.Ok);
});

test('behind a dismissed connection comes what is still waited for, and nothing else', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { world, link, sink, memory } = rig;
  link.fetchAndAdd(window, 0, 1, 0, sink, 1, rig.deadline);
  await rig.told(1);
  memory.isFull = true;
  // Both are at the node, and wait there; the client gives up the first one.
  link.fetchAndAdd(window, 0, 10, 0, sink, 2, rig.deadline);
  link.write(window, 16, Uint8Array.of(5), 0, 1, sink, 3, world.nowMs + 50);
  link.write(window, 24, Uint8Array.of(6), 0, 1, sink, 4, rig.deadline);
  link.fetchAndAdd(window, 0, 100, 0, sink, 5, rig.deadline);
  await rig.told(3);
  expect([2, 3].map((token) => sink.status(token))).toEqual([Status.Ok, Status.OutcomeUnknown]);
  memory.servesSinceMs = world.nowMs;
  memory.refill();
  await rig.told(5);
  expect([4, 5].map((token) => sink.status(token))).toEqual([Status.Ok, Status.Ok]);
  expect([memory.bytes[0], memory.bytes[16], memory.bytes[24]]).toEqual([111, 0, 6]);
  expect(rig.server.counters.sessionsDismissed).toBe(1);
  expect(sink.told.get(5)).toMatchObject({ low: 11 });
});

test('what waits for a node that is gone comes back when its region is elsewhere', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { sink } = rig;
  const away = rig.client.link('tcp://nobody:1');
  const back: number[] = [];
  let losses = 0;
  Object.assign(sink, { moved: (token: number) => back.push(token) });
  away.onLoss = () => losses++;
  const bytes = new Uint8Array(8);
  away.write(window, 0, bytes, 0, 8, sink, 1, rig.deadline);
  away.read(window, REGION_BYTES, bytes, 0, 8, sink, 2, rig.deadline);
  away.fetchAndAdd(window, 8, 1, 0, sink, 3, rig.deadline);
  await rig.world.run(() => losses > 0);
  expect(losses).toBeGreaterThan(0);
  expect([away.awaits(SPACE, 0), away.awaits(SPACE, 1), away.awaits(SPACE, 2)]).toEqual([
    true,
    true,
    false,
  ]);
  away.giveBack(SPACE, 0);
  expect(back).toEqual([1, 3]);
  expect([away.awaits(SPACE, 0), away.awaits(SPACE, 1)]).toEqual([false, true]);
});

test('what may have been done is not given back, what was only read is', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, memory } = rig;
  memory.execute = () => WAIT;
  const back: number[] = [];
  Object.assign(sink, { moved: (token: number) => back.push(token) });
  const bytes = new Uint8Array(8);
  const deadline = rig.world.nowMs + 500;
  link.read(window, 4, bytes, 0, 8, sink, 4, deadline);
  link.read(window, 8, bytes, 0, 8, sink, 3, deadline);
  link.write(window, 0, bytes, 0, 8, sink, 1, deadline);
  link.read(window, 0, bytes, 0, 8, sink, 2, deadline);
  await rig.world.run(() => false, 20);
  link.giveBack(SPACE, 0);
  expect(back).toEqual([3, 2]);
  expect(link.awaits(SPACE, 0)).toBe(true);
  await rig.told(4);
  expect(sink.status(1)).toBe(Status.OutcomeUnknown);
  // Repeated elsewhere it could show the write after it.
  expect(sink.status(4)).toBe(Status.Unavailable);
  expect(link.awaits(SPACE, 0)).toBe(false);
});

test('calls resolve with the reply, whatever it is, and never reject', async () => {
  const rig = new Rig();
  const { link } = rig;
  const first = await rig.result(link.call(MessageType.Alloc, alloc(5), 1000));
  expect(first).toEqual({ status: Status.Ok, address: 1005 });
  const unknown = await rig.result(link.call(MessageType.ListNodes, {}, 1000));
  expect(unknown).toEqual({
    status: Status.Unsupported,
    reason: 'this process does not serve that call',
  });
  const invalid = await rig.result(link.call(MessageType.Alloc, { ...alloc(0), flags: 99 }, 1000));
  expect(invalid).toMatchObject({ status: Status.Invalid });
  rig.link.close();
  const closed = await rig.result(link.call(MessageType.Alloc, alloc(0), 1000));
  expect(closed).toMatchObject({ status: Status.Closed });
  const nobody = rig.client.peer('tcp://nobody:1');
  const away = await rig.result(nobody.call(MessageType.Alloc, alloc(0), 300));
  expect(away).toEqual({
    status: Status.Unavailable,
    reason: expect.stringMatching(
      /Alloc to tcp:\/\/nobody:1: .* in time .*nobody listens/,
    ) as string,
  });
});

/** With buffers that are quickly made. */
function smallWorld(seed: number): FakeWorld {
  const world = new FakeWorld(seed);
  world.outputBytes = 192 * 1024;
  world.inputBytes = 16 * 1024;
  return world;
}

/** One conversation with everything in it, over a wire that may misbehave. */
async function conversation(wire: Wire, seed = 1, firstSequence = 1) {
  const world = smallWorld(seed);
  world.wire = wire;
  const rig = new Rig(world, 4096, firstSequence);
  const window = await rig.openWindow();
  const { link, sink, deadline } = rig;
  const early = new Uint8Array(8);
  const late = new Uint8Array(8);
  const apart = new Uint8Array(16);
  link.fetchAndAdd(window, 0, 1, 0, sink, 1, deadline);
  link.read(window, 8, early, 0, 8, sink, 2, deadline);
  link.write(window, 8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 0, 8, sink, 3, deadline);
  link.read(window, 8, late, 0, 8, sink, 4, deadline);
  const call = link.call(MessageType.Alloc, alloc(3), 10_000);
  link.compareAndSwap(window, 0, 1, 0, 10, 0, sink, 5, deadline);
  link.reserve(window, 0, 4096, sink, 6, deadline);
  link.fetchAndAdd(window, 0, 1, 0, sink, 7, deadline);
  link.fence(sink, 8, deadline);
  link.read(window, 1024, apart, 0, 16, sink, 9, deadline);
  const reply = await rig.result(call);
  await rig.told(9);
  return { rig, early, late, reply };
}

function expectOnce({ rig, early, late, reply }: Awaited<ReturnType<typeof conversation>>): void {
  const { sink, memory } = rig;
  expect(sink.told.get(1)).toMatchObject({ status: Status.Ok, low: 0 });
  expect(sink.status(3)).toBe(Status.Ok);
  expect(sink.told.get(5)).toMatchObject({ status: Status.Ok, low: 1 });
  expect(sink.told.get(6)).toMatchObject({ status: Status.Ok, low: 1 });
  expect(sink.told.get(7)).toMatchObject({ status: Status.Ok, low: 10 });
  expect(sink.status(8)).toBe(Status.Ok);
  expect(sink.status(9)).toBe(Status.Ok);
  expect(reply).toEqual({ status: Status.Ok, address: 1003 });
  expect(rig.allocs).toBe(1);
  expect(memory.view.getBigUint64(0, true)).toBe(11n);
  expect(memory.reserved.size).toBe(1);
  // A read before a write of the same bytes never shows the write; it may have to be given up.
  if (sink.status(2) === Status.Ok) expect([...early]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  else expect(sink.status(2)).toBe(Status.Unavailable);
  expect(sink.status(4)).toBe(Status.Ok);
  expect([...late]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
}

async function bytesOf(direction: 'up' | 'down'): Promise<number> {
  let total = 0;
  const run = await conversation({
    cut(_connection, way, passed, bytes) {
      if (way === direction) total = Math.max(total, passed + bytes);
      return bytes;
    },
  });
  expectOnce(run);
  expect(run.rig.sink.status(2)).toBe(Status.Ok);
  return total;
}

for (const direction of ['up', 'down'] as const) {
  test(`everything counts once when it is cut after any byte ${direction}`, async () => {
    const total = await bytesOf(direction);
    expect(total).toBeGreaterThan(300);
    for (let after = 0; after < total; after++) {
      const run = await conversation({
        cut: (connection, way, passed, bytes) =>
          connection === 0 && way === direction ? Math.min(bytes, after - passed) : bytes,
      });
      expect(run.rig.world.connections, `cut after ${after}`).toBe(2);
      expectOnce(run);
    }
  });
}

test('... and again and again, at random, in random pieces, while numbers wrap', async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const world = new FakeWorld(seed);
    const { prng } = world;
    const run = await conversation(
      {
        chunk: () => 1 + prng.below(200),
        cut: (connection, _way, _passed, bytes) =>
          connection < 12 && prng.below(8) === 0 ? prng.below(bytes + 1) : bytes,
      },
      seed,
      2 ** 32 - 1 - (seed % 15),
    );
    expectOnce(run);
  }
});

test('a corrupted byte anywhere ends the connection and nothing else', async () => {
  for (const direction of ['up', 'down'] as const) {
    const total = await bytesOf(direction);
    for (let at = 0; at < total; at += 3) {
      const run = await conversation({
        touch(connection, way, passed, bytes) {
          const index = at - passed;
          if (connection !== 0 || way !== direction || index < 0 || index >= bytes.length) return;
          bytes[index] = (bytes[index] ?? 0) ^ (1 << (at % 8));
        },
      });
      expectOnce(run);
      expect(run.rig.world.connections).toBeGreaterThan(1);
      const { malformed: ours } = run.rig.client.counters;
      const { malformed: theirs } = run.rig.server.counters;
      const silences = run.rig.client.counters.silences;
      const counted = Object.values({ ...(direction === 'up' ? theirs : ours) });
      expect(counted.reduce((a, b) => a + b, 0) + silences).toBeGreaterThan(0);
    }
  }
});

test('a node that falls silent is left after two seconds, and everything counts once', async () => {
  for (const direction of ['up', 'down'] as const) {
    for (let quietFrom = 0; quietFrom < 900; quietFrom += 100) {
      let passedAll = 0;
      const run = await conversation({
        isSilent: (connection, way) =>
          connection === 0 && way === direction && passedAll > quietFrom,
        cut(connection, way, passed, bytes) {
          if (connection === 0 && way === direction) passedAll = passed + bytes;
          return bytes;
        },
      });
      expectOnce(run);
      if (run.rig.world.connections > 1) expect(run.rig.client.counters.silences).toBe(1);
    }
  }
});

test('a frame with a wrong length ends a connection whose answers all get lost in it', async () => {
  const rig = new Rig();
  await rig.openWindow();
  const { world, client, link } = rig;
  let isDue = true;
  world.wire = {
    touch(_connection, way, _passed, bytes) {
      if (way !== 'down' || !isDue) return;
      isDue = false;
      // 64 KiB more than it has.
      bytes[6] = (bytes[6] ?? 0) + 1;
    },
  };
  const answers: Status[] = [];
  for (let i = 0; i < 10; i++) {
    // The next one comes before the silence would be long enough.
    answers.push((await rig.result(link.call(MessageType.Alloc, alloc(i), 500))).status);
    await rig.result(new Promise<void>((resolve) => world.after(100, resolve)));
  }
  expect(client.counters.silences).toBe(1);
  expect(world.connections).toBe(2);
  expect(answers[0]).toBe(Status.OutcomeUnknown);
  expect(answers.at(-1)).toBe(Status.Ok);
});

test('a large frame may come in slowly', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { world, client, link, sink } = rig;
  // 40 KB/s: nothing is handed over every other time, and then it is looked at again after 1 ms.
  let looks = 0;
  world.wire = { chunk: () => (++looks % 2 === 0 ? 0 : 40) };
  const into = new Uint8Array(4 * 65536);
  const beganMs = world.nowMs;
  for (let i = 0; i < 4; i++) {
    link.read(window, 0, into, i * 65536, 65536, sink, i, world.nowMs + 60_000);
  }
  await world.run(() => sink.told.size === 4);
  expect(world.nowMs - beganMs).toBeGreaterThan(5_000);
  expect([0, 1, 2, 3].map((token) => sink.status(token))).toEqual([0, 0, 0, 0]);
  expect(client.counters.silences).toBe(0);
});

test('a deadline that passes says what is known', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, world } = rig;
  const into = new Uint8Array(8);
  world.wire = { isSilent: () => true };
  link.read(window, 0, into, 0, 8, sink, 1, world.nowMs + 100);
  link.write(window, 0, into, 0, 8, sink, 2, world.nowMs + 100);
  link.fetchAndAdd(window, 0, 1, 0, sink, 3, world.nowMs + 5000);
  const call = link.call(MessageType.Alloc, alloc(0), 100);
  const query = link.call(MessageType.ListNodes, {}, 100);
  expect(await rig.result(call)).toMatchObject({ status: Status.OutcomeUnknown });
  expect(await rig.result(query)).toMatchObject({ status: Status.Timeout });
  await rig.told(2);
  expect(sink.told.get(1)).toMatchObject({ status: Status.Timeout, outcome: 'notApplied' });
  expect(sink.told.get(2)).toMatchObject({ status: Status.OutcomeUnknown, outcome: 'unknown' });
  world.wire = {};
  await rig.told(3);
  expect(sink.status(3)).toBe(Status.Ok);
  expect(rig.memory.view.getBigUint64(0, true)).toBe(1n);
  expect(rig.allocs).toBe(0);
  // What was given up was not sent again; the late one was not overtaken by it.
  expect(rig.memory.executed.filter((type) => type === MessageType.Write)).toEqual([]);
});

test('after its deadline an operation lets go of the buffer', async () => {
  const rig = new Rig(smallWorld(1));
  const window = await rig.openWindow();
  const { link, sink, world } = rig;
  const into = new Uint8Array(8);
  const from = new Uint8Array(8).fill(1);
  // Executed, and the reply comes too late.
  let isHeld = true;
  world.wire = { chunk: () => (isHeld ? 0 : 65536) };
  rig.memory.bytes.fill(5, 0, 8);
  link.read(window, 0, into, 0, 8, sink, 1, world.nowMs + 50);
  await rig.told(1);
  expect(sink.status(1)).toBe(Status.Timeout);
  isHeld = false;
  link.fence(sink, 2, rig.deadline);
  await rig.told(2);
  expect(rig.memory.executed).toContain(MessageType.Read);
  expect([...into]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  // Sent, lost on its way, and not to be sent again with what the caller has put there since.
  world.wire = { isSilent: () => true };
  link.write(window, 0, from, 0, 8, sink, 3, world.nowMs + 50);
  link.fetchAndAdd(window, 16, 1, 0, sink, 4, rig.deadline);
  await rig.told(3);
  expect(sink.status(3)).toBe(Status.OutcomeUnknown);
  from.fill(9);
  world.wire = {};
  world.cutAll();
  await rig.told(4);
  expect(sink.status(4)).toBe(Status.Ok);
  expect(rig.memory.executed).not.toContain(MessageType.Write);
  expect([...rig.memory.bytes.subarray(0, 8)]).toEqual([5, 5, 5, 5, 5, 5, 5, 5]);
});

test('what was sent when the link is closed is not said to have had no effect', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, world, deadline } = rig;
  const bytes = new Uint8Array(8).fill(1);
  world.wire = { isSilent: (_connection, direction) => direction === 'down' };
  link.write(window, 0, bytes, 0, 8, sink, 1, deadline);
  link.read(window, 8, bytes, 0, 8, sink, 2, deadline);
  const call = link.call(MessageType.Alloc, alloc(0), 10_000);
  await world.run(() => rig.allocs === 1);
  link.write(window, 16, bytes, 0, 8, sink, 3, deadline);
  link.close();
  await rig.told(3);
  expect(sink.told.get(1)).toMatchObject({ status: Status.OutcomeUnknown, outcome: 'unknown' });
  expect(sink.told.get(2)).toMatchObject({ status: Status.Closed, outcome: 'notApplied' });
  expect(await rig.result(call)).toMatchObject({ status: Status.OutcomeUnknown });
  // Never sent.
  expect(sink.told.get(3)).toMatchObject({ status: Status.Closed, outcome: 'notApplied' });
  expect(rig.memory.bytes[0]).toBe(1);
  expect(rig.memory.bytes[16]).toBe(0);
});

test('what was never sent is Unavailable, and not done later', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  await rig.server.close();
  await rig.world.run(() => false, 10);
  rig.link.write(window, 0, new Uint8Array(8), 0, 8, rig.sink, 1, rig.world.nowMs + 500);
  await rig.told(1);
  expect(rig.sink.told.get(1)).toMatchObject({ status: Status.Unavailable, outcome: 'notApplied' });
  rig.server = rig.serve();
  await rig.world.run(() => false, 5000);
  expect(rig.memory.executed).toEqual([]);
});

test('windows of a restarted node are renewed, and what was sent is unknown', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, world, deadline } = rig;
  const into = new Uint8Array(8);
  world.wire = { isSilent: (_connection, direction) => direction === 'down' };
  link.read(window, 0, into, 0, 8, sink, 1, deadline);
  link.fetchAndAdd(window, 8, 1, 0, sink, 2, deadline);
  link.write(window, 16, Uint8Array.of(1), 0, 1, sink, 3, deadline);
  link.fence(sink, 4, deadline);
  await world.run(() => rig.memory.executed.length === 4);
  await rig.server.close();
  await world.run(() => false, 1);
  world.wire = {};
  world.cutAll();
  rig.memory.epoch = 4;
  rig.memory.window = 1;
  link.write(window, 32, Uint8Array.of(5), 0, 1, sink, 5, deadline);
  rig.server = rig.serve();
  await rig.told(5);
  expect(sink.status(1)).toBe(Status.Ok);
  expect(sink.told.get(2)).toMatchObject({ status: Status.OutcomeUnknown, outcome: 'unknown' });
  expect(sink.status(3)).toBe(Status.OutcomeUnknown);
  expect(sink.status(4)).toBe(Status.Ok);
  expect(sink.status(5)).toBe(Status.Ok);
  expect(window).toMatchObject({ id: 1, epoch: 4 });
  expect(rig.memory.view.getBigUint64(8, true)).toBe(1n);
  expect(rig.memory.bytes[32]).toBe(5);
  expect(rig.client.counters.windowsRenewed).toBe(1);
});

test('who means another memory is refused, and fences nobody', async () => {
  const rig = new Rig();
  const { sink, world, client } = rig;
  rig.link = client.link(NODE, MEMORY_ID);
  const window = await rig.openWindow();
  // The node that was here before: this one has taken its port.
  const former = client.link(NODE, MEMORY_ID + 1);
  expect(former).not.toBe(rig.link);
  const call = former.call(MessageType.Alloc, alloc(0), 500);
  for (let i = 0; i < 50; i++) {
    rig.link.fetchAndAdd(window, 0, 1, 0, sink, i, world.nowMs + 5000);
    await world.run(() => false, 10);
  }
  expect(await rig.result(call)).toEqual({
    status: Status.Unavailable,
    reason: expect.stringMatching(/the memory that was meant is not here/) as string,
  });
  await rig.told(50);
  expect([...sink.told.values()].map(({ status }) => status)).toEqual(Array(50).fill(Status.Ok));
  expect(rig.server.counters.hellosRefused).toBeGreaterThan(1);
  expect(rig.server.counters.fenced).toBe(0);
  expect(client.counters.connectionsLost).toBe(0);
  expect(rig.allocs).toBe(0);
});

test('a call may take longer than a silence, and so may the hello after it', async () => {
  const rig = new Rig();
  const { world, client, link } = rig;
  let calls = 0;
  rig.server.serve(MessageType.Counters, async () => {
    calls++;
    await new Promise<void>((resolve) => world.after(7000, resolve));
    return { status: Status.Ok, json: '{}' };
  });
  const reply = link.call(MessageType.Counters, {}, 60_000);
  const behind = link.call(MessageType.Alloc, alloc(0), 60_000);
  expect(await rig.result(reply)).toEqual({ status: Status.Ok, json: '{}' });
  expect(await rig.result(behind)).toMatchObject({ status: Status.Ok });
  expect([world.connections, calls, client.counters.silences]).toEqual([1, 1, 0]);
  const again = link.call(MessageType.Counters, {}, 60_000);
  await world.run(() => calls === 2);
  world.cutAll();
  expect(await rig.result(again)).toMatchObject({ status: Status.Ok });
  // Repeatable, so it was called again, and the connection was lost that one time.
  expect([world.connections, calls, client.counters.silences]).toEqual([2, 3, 0]);
});

test('what lies in the input already is looked at before a silence is one', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { world, link, sink } = rig;
  let isHeld = true;
  world.wire = { chunk: () => (isHeld ? 0 : 65536) };
  link.read(window, 0, new Uint8Array(8), 0, 8, sink, 1, rig.deadline);
  // The first look that finds it too long comes at 2,020 ms, and the next one 20 ms later.
  await world.run(() => false, 2030);
  isHeld = false;
  await rig.told(1);
  expect([sink.status(1), world.connections]).toEqual([Status.Ok, 1]);
});

test('an idle link pings, and both sides notice when the other one is gone', async () => {
  const rig = new Rig(smallWorld(1));
  const window = await rig.openWindow();
  const { world, client, server, memory } = rig;
  await world.run(() => false, 95_000);
  expect(client.counters.pingsSent).toBe(9);
  expect([server.sessions, world.connections, server.counters.sessionsSilent]).toEqual([1, 1, 0]);
  // The client's machine is gone: not even an end of the connection is heard.
  rig.link.reserve(window, 0, 4096, rig.sink, 1, rig.deadline);
  await rig.told(1);
  world.wire = { isSilent: () => true };
  await world.run(() => false, 29_000);
  expect(server.sessions).toBe(1);
  await world.run(() => false, 12_000);
  expect([server.sessions, server.counters.sessionsSilent]).toEqual([0, 1]);
  expect([memory.reserved.size, memory.forgottenSlots]).toEqual([1, []]);
  await world.run(() => false, 60_000);
  expect([memory.reserved.size, memory.forgottenSlots]).toEqual([0, [0]]);
  // The other side has noticed too, and nothing is done by either of them any more.
  expect(client.counters.silences).toBe(1);
  const { connections } = world;
  await world.run(() => false, 600_000);
  expect(world.connections).toBe(connections);
  world.wire = {};
  rig.link.write(window, 0, Uint8Array.of(7), 0, 1, rig.sink, 2, rig.deadline);
  await rig.told(2);
  expect(rig.sink.status(2)).toBe(Status.Ok);
});

test('what a closed link was promised is not kept for the next one of its process', async () => {
  const rig = new Rig(smallWorld(1));
  const window = await rig.openWindow();
  const { world, client, memory } = rig;
  rig.link.reserve(window, 0, 4096, rig.sink, 1, rig.deadline);
  await rig.told(1);
  // It is closed while it is not connected, so it cannot say goodbye.
  world.wire = { cut: () => 0 };
  world.cutAll();
  await world.run(() => false, 100);
  rig.link.close();
  expect(memory.reserved.size).toBe(1);
  world.wire = {};
  rig.link = client.link(NODE);
  await rig.openWindow();
  expect([memory.reserved.size, memory.forgottenSlots]).toEqual([0, []]);
});

test('who lends no memory answers pings too', async () => {
  const world = smallWorld(1);
  const server = createEndpoint(world.runtime());
  server.serve(MessageType.RackStatus, () => ({ status: Status.Ok, json: '{}' }));
  void server.listen('tcp://controller:1');
  const client = createEndpoint(world.runtime());
  const peer = client.peer('tcp://controller:1');
  for (let i = 0; i < 3; i++) {
    let reply: unknown;
    void peer.call(MessageType.RackStatus, {}, 1000).then((came) => (reply = came));
    await world.run(() => reply !== undefined);
    expect(reply).toEqual({ status: Status.Ok, json: '{}' });
    await world.run(() => false, 45_000);
  }
  expect([client.counters.pingsSent, world.connections, server.sessions]).toEqual([12, 1, 1]);
});

test('the record is kept for a minute, and unknown after', async () => {
  for (const [awayMs, expected] of [
    [50_000, Status.Ok],
    [70_000, Status.OutcomeUnknown],
  ] as const) {
    const rig = new Rig(smallWorld(1));
    const window = await rig.openWindow();
    const { link, sink, world } = rig;
    let isCut = false;
    world.wire = { isSilent: (_connection, direction) => direction === 'down' && isCut };
    isCut = true;
    link.fetchAndAdd(window, 8, 1, 0, sink, 1, world.nowMs + 100_000);
    await world.run(() => rig.memory.executed.length === 1);
    // Everything is lost for both sides, and nothing gets through for a while.
    world.wire = { cut: () => 0 };
    world.cutAll();
    await world.run(() => false, awayMs);
    expect(rig.memory.forgottenSlots).toEqual(awayMs < 60_000 ? [] : [0]);
    world.wire = {};
    await rig.told(1);
    expect(sink.status(1)).toBe(expected);
    expect(rig.memory.view.getBigUint64(8, true)).toBe(1n);
    // Its windows went with the record, in the same process too.
    await world.run(() => false, 10);
    expect(rig.client.counters.windowsRenewed).toBe(awayMs < 60_000 ? 0 : 1);
  }
});

test('the queue is bounded, and a full one says Busy', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, deadline } = rig;
  const into = new Uint8Array(8);
  const count = 65536 + 10;
  for (let i = 0; i < count; i++) link.read(window, 0, into, 0, 8, sink, i, deadline);
  expect(sink.told.size).toBe(0);
  await rig.told(count);
  const busy = [...sink.told.values()].filter((told) => told.status === Status.Busy);
  expect(busy.length).toBe(10);
  expect(busy[0]?.outcome).toBe('notApplied');
  expect([...sink.told.values()].filter((told) => told.status === Status.Ok).length).toBe(65536);
});

test('what was dropped counts as queued until what is before it is answered', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, world } = rig;
  world.wire = { chunk: () => 0 };
  link.fence(sink, 0, rig.deadline);
  await world.run(() => false, 1);
  window.id = WINDOW_GONE;
  const into = new Uint8Array(8);
  let token = 1;
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 50_000; i++) {
      link.read(window, 0, into, 0, 8, sink, token++, rig.deadline);
    }
    await rig.told(token - 1);
  }
  const told = [...sink.told.values()];
  expect(told.filter(({ status }) => status === Status.Stale).length).toBe(2 * 65536 - 1);
  expect(told.filter(({ status }) => status === Status.Busy).length).toBe(token - 2 * 65536);
  world.wire = {};
  await rig.told(token);
  link.fence(sink, token, rig.deadline);
  await rig.told(token + 1);
  expect(sink.status(token)).toBe(Status.Ok);
});

test('a sink may start operations, and may close the link', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, deadline } = rig;
  const told: number[] = [];
  const sink = {
    completed(token: number, status: Status): void {
      told.push(token, status);
      if (token < 5) link.fetchAndAdd(window, 0, 1, 0, sink, token + 1, deadline);
      if (token === 5) link.close();
    },
  };
  link.fetchAndAdd(window, 0, 1, 0, sink, 1, deadline);
  link.read(window, 0, new Uint8Array(8), 0, 8, sink, 100, deadline);
  await rig.world.run(() => told.includes(5));
  link.read(window, 0, new Uint8Array(8), 0, 8, sink, 200, deadline);
  await rig.world.run(() => told.includes(200));
  expect(told.slice(-2)).toEqual([200, Status.Closed]);
  expect(rig.memory.view.getBigUint64(0, true)).toBe(5n);
  await rig.world.run(() => rig.memory.forgottenSlots.length > 0, 1000);
  expect(rig.memory.forgottenSlots).toEqual([0]);
  expect(rig.client.link(NODE)).not.toBe(link);
});

test('a node that is paused loses nothing and does nothing twice', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, world } = rig;
  rig.memory.isFull = true;
  const deadline = world.nowMs + 60_000;
  link.fetchAndAdd(window, 0, 1, 0, sink, 1, deadline);
  link.write(window, 8, Uint8Array.of(1, 1, 1, 1, 1, 1, 1, 1), 0, 8, sink, 2, deadline);
  link.fetchAndAdd(window, 8, 1, 0, sink, 3, deadline);
  for (let i = 0; i < 4; i++) {
    await world.run(() => false, 1000);
    world.cutAll();
  }
  // It waits for longer than a silence: the node says that it has not forgotten.
  await world.run(() => false, 9000);
  expect(world.connections).toBe(5);
  expect(rig.client.counters.silences).toBe(0);
  rig.memory.refill();
  await rig.told(3);
  expect(rig.memory.view.getBigUint64(0, true)).toBe(1n);
  expect(rig.memory.view.getBigUint64(8, true)).toBe(0x0101010101010102n);
  expect(sink.told.get(3)).toMatchObject({ status: Status.Ok, low: 0x01010101, high: 0x01010101 });
});

test('a buffer that its owner gave away ends its own operation alone', async () => {
  const rig = new Rig();
  const window = await rig.openWindow();
  const { link, sink, deadline } = rig;
  const given = new Uint8Array(128);
  const target = new Uint8Array(128);
  const short = new Uint8Array(8);
  link.write(window, 0, given, 0, 128, sink, 1, deadline);
  link.read(window, 0, target, 0, 128, sink, 2, deadline);
  link.read(window, 0, short, 0, 8, sink, 3, deadline);
  link.write(window, 0, Uint8Array.of(5), 0, 1, sink, 4, deadline);
  structuredClone(0, { transfer: [given.buffer, target.buffer, short.buffer] });
  await rig.told(4);
  expect(sink.told.get(1)).toMatchObject({ status: Status.Invalid, outcome: 'notApplied' });
  expect([sink.status(2), sink.status(3), sink.status(4)]).toEqual([
    Status.Invalid,
    Status.Invalid,
    Status.Ok,
  ]);
});
