import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { FakeWorld } from '../fabric/testing/fake-world.js';
import { outcomeOf } from '../fabric/verbs.js';
import type { Device } from './device.js';
import { FairShare } from './fair-share.js';
import { ServedDevice, type Tenure } from './served-device.js';

function rigOf(
  answers: readonly ('held' | Status)[],
  epochs: readonly number[] = [],
  sizes: readonly number[] = [],
  held: readonly number[] = [],
) {
  const world = new FakeWorld(1);
  const { clock, timers } = world.runtime();
  let opened = 0;
  let done = 0;
  let end: () => void = () => undefined;
  const open = (): Promise<Tenure | Status> => {
    const answer = answers[opened++] ?? Status.Conflict;
    if (answer !== 'held') return Promise.resolve(answer);
    const ended = new Promise<void>((resolve) => (end = resolve));
    const isFirst = opened === 1;
    const tell = (...args: unknown[]): void => {
      const [sink, token] = args.slice(4) as [CompletionSink, number];
      if (!isFirst) done += 1;
      // The first lease is lost while it is at work.
      const status = isFirst ? Status.Stale : Status.Ok;
      timers.soon(() => sink.completed(token, status, outcomeOf(status), 0, 0));
    };
    const trim = (at: number, bytes: number, ...told: unknown[]): void => {
      tell(at, bytes, 0, 0, ...told);
    };
    const verbs = { stop: () => undefined, read: tell, write: tell, trim };
    const device = verbs as unknown as Device;
    const release = (): Promise<void> => Promise.resolve();
    const epoch = epochs[opened - 1] ?? opened;
    const bytes = sizes[opened - 1] ?? 4096;
    const heldBefore = held[opened - 1] ?? epoch - 1;
    return Promise.resolve({ device, bytes, epoch, heldBefore, ended, release });
  };
  const served = new ServedDevice({ clock, timers, bytes: 4096, open, patienceMs: 1_000 });
  const pass = (ms: number): Promise<boolean> => world.run(() => false, ms);
  return { served, pass, end: () => end(), opened: () => opened, done: () => done };
}

test('a lease that is lost is taken anew, though nobody reads or writes', async () => {
  const { served, pass, end, opened } = rigOf(['held', Status.Unavailable, 'held']);
  void served.begin(1_000);
  await pass(100);
  expect([opened(), served.device]).toEqual([1, expect.anything()]);
  end();
  await pass(10_000);
  expect([opened(), served.device]).toEqual([3, expect.anything()]);
});

test('a lease that somebody else has is left to him', async () => {
  const { served, pass, end, opened } = rigOf(['held', Status.Conflict]);
  void served.begin(1_000);
  await pass(100);
  end();
  await pass(10_000);
  expect([opened(), served.device]).toEqual([2, undefined]);
});

test.each([
  ['nobody else was the writer since', [1, 2], [], Status.Ok],
  ['attempts to be it came to nothing since', [1, 5], [0, 1], Status.Ok],
  ['somebody else may have been', [1, 3], [], Status.Unavailable],
  ['somebody else may have been', [1, 5], [0, 2], Status.Unavailable],
] as const)('a write that waits is done where %s', async (_what, epochs, held, wanted) => {
  const { served, pass, end, done } = rigOf(['held', 'held'], epochs, [], held);
  void served.begin(1_000);
  await pass(100);
  const ends: Status[] = [];
  const sink = { completed: (_token: number, status: Status) => void ends.push(status) };
  served.write(0, new Uint8Array(512), 0, 512, sink, 1);
  served.read(0, new Uint8Array(512), 0, 512, sink, 2);
  end();
  await pass(5_000);
  expect([ends.sort(), done()]).toEqual([[Status.Ok, wanted].sort(), wanted === Status.Ok ? 2 : 1]);
});

test('a trim is done under the next lease as a write is, and waits for no limit', async () => {
  const { served, pass, end, done } = rigOf(['held', 'held']);
  void served.begin(1_000);
  await pass(100);
  served.allow({ requestsPerS: 100 });
  const ends: Status[] = [];
  const sink = { completed: (_token: number, status: Status) => void ends.push(status) };
  for (let i = 0; i < 50; i++) served.trim(0, 4096, sink, i);
  end();
  await pass(100);
  expect([ends, done()]).toEqual([Array(50).fill(Status.Ok), 50]);
  const now = { device: undefined, epoch: 0, waiting: 0 };
  const { writes, bytesWritten } = served.counters.report(1, now);
  expect([writes, bytesWritten]).toEqual([50, 0]);
});

test('what was to be done again is told when the device is closed meanwhile', async () => {
  const { served, pass, end } = rigOf(['held']);
  void served.begin(1_000);
  await pass(100);
  const ends: Status[] = [];
  const sink = { completed: (_token: number, status: Status) => void ends.push(status) };
  served.read(0, new Uint8Array(512), 0, 512, sink, 1);
  // It is told that the lease is gone before the lease has ended here.
  await pass(10);
  void served.close();
  end();
  await pass(5_000);
  expect(ends).toEqual([Status.Closed]);
});

test('a device that became smaller without a lease has nothing beyond its end', async () => {
  const { served, pass, end, done } = rigOf(['held', 'held'], [1, 2], [4096, 1024]);
  void served.begin(1_000);
  await pass(100);
  expect(served.bytes).toBe(4096);
  end();
  await pass(5_000);
  expect(served.bytes).toBe(1024);
  const ends: Status[] = [];
  const sink = { completed: (_token: number, status: Status) => void ends.push(status) };
  served.write(1024, new Uint8Array(512), 0, 512, sink, 1);
  served.read(512, new Uint8Array(512), 0, 512, sink, 2);
  // Who asked for several may not take the first that ends for the last.
  expect(ends).toEqual([]);
  await pass(100);
  expect([ends, done(), served.readNow(1024, new Uint8Array(512), 0, 512)]).toEqual([
    [Status.Invalid, Status.Ok],
    1,
    NOT_NOW,
  ]);
});

test('how large it is now is heard under one lease', async () => {
  const { served, pass, end } = rigOf(['held', 'held'], [1, 2], [4096, 1024]);
  void served.begin(1_000);
  await pass(100);
  await served.measure(() => Promise.resolve(8192));
  expect(served.bytes).toBe(8192);
  let answer: (bytes: number) => void = () => undefined;
  const measured = served.measure(() => new Promise((resolve) => (answer = resolve)));
  end();
  await pass(5_000);
  // What was asked before somebody else shrank it.
  answer(8192);
  await measured;
  expect(served.bytes).toBe(1024);
});

/** A device that has a lease, and does all at once; `order` has the tokens as they ended. */
async function limited(limits: Parameters<ServedDevice['allow']>[0]) {
  const world = new FakeWorld(1);
  const { clock, timers } = world.runtime();
  const order: number[] = [];
  const statuses: Status[] = [];
  const tell = (...args: unknown[]): void => {
    const [sink, token] = args.slice(4) as [CompletionSink, number];
    timers.soon(() => sink.completed(token, Status.Ok, outcomeOf(Status.Ok), 0, 0));
  };
  const now = (): number => Status.Ok;
  const verbs = { read: tell, write: tell, readNow: now, writeNow: now, stop: () => undefined };
  const tenure = {
    ...{ device: verbs as unknown as Device, bytes: 2 ** 30, epoch: 1, heldBefore: 0 },
    ...{ ended: new Promise<void>(() => undefined), release: () => Promise.resolve() },
  };
  const open = (): Promise<Tenure> => Promise.resolve(tenure);
  const served = new ServedDevice({ clock, timers, bytes: 2 ** 30, open, patienceMs: 1_000 });
  void served.begin(1_000);
  await world.run(() => served.device !== undefined, 1_000);
  served.allow(limits);
  const sink: CompletionSink = {
    completed: (token, status) => {
      order.push(token);
      statuses.push(status);
    },
  };
  const bytes = new Uint8Array(65_536);
  /** As the door does it. */
  const ask = (token: number, length = 4096): void => {
    if (served.readNow(0, bytes, 0, length) === Status.Ok) order.push(token);
    else served.read(0, bytes, 0, length, sink, token);
  };
  const pass = (ms: number): Promise<boolean> => world.run(() => false, ms);
  return { served, order, statuses, ask, pass };
}

test('what is beyond the limit waits in its order, and is no failure', async () => {
  const { ask, order, statuses, pass } = await limited({ requestsPerS: 100 });
  for (let i = 0; i < 300; i++) ask(i);
  expect(order.length).toBeLessThanOrEqual(12);
  await pass(1_000);
  expect(order.length).toBeGreaterThan(100);
  expect(order.length).toBeLessThan(125);
  await pass(3_000);
  expect(order).toEqual(Array.from({ length: 300 }, (_, i) => i));
  expect(statuses.every((status) => status === Status.Ok)).toBe(true);
});

test('nobody overtakes who waits', async () => {
  const { ask, order, pass } = await limited({ requestsPerS: 5_000 });
  for (let i = 0; i < 600; i++) ask(i);
  // Their timer comes a little later than there is room.
  for (let i = 600; i < 700; i++) {
    await pass(0.3);
    ask(i);
  }
  await pass(10_000);
  expect(order).toEqual(Array.from({ length: 700 }, (_, i) => i));
});

test('another limit is one for those who wait, too', async () => {
  const { served, ask, order, pass } = await limited({ requestsPerS: 100 });
  for (let i = 0; i < 1_000; i++) ask(i);
  await pass(500);
  served.allow({ requestsPerS: 1_000 });
  const before = order.length;
  await pass(500);
  expect(order.length - before).toBeGreaterThan(480);
  served.allow({});
  await pass(5);
  expect(order).toHaveLength(1_000);
});

test('what waits for its limit ends when the device is closed, each once', async () => {
  const { served, ask, order, statuses, pass } = await limited({ requestsPerS: 100 });
  for (let i = 0; i < 50; i++) ask(i);
  void served.close();
  await pass(5_000);
  expect(order).toHaveLength(50);
  expect(new Set(order).size).toBe(50);
  expect(statuses).toContain(Status.Closed);
});

test('what waits for its turn beside others is begun later, or ends with the device', async () => {
  const world = new FakeWorld(1);
  const { clock, timers } = world.runtime();
  const fairShare = new FairShare(clock, timers);
  const begun = [0, 0];
  const devices = [0, 1].map((which) => {
    const verb = (): void => void ((begun[which] as number) += 1);
    const verbs = { read: verb, write: verb, stop: () => undefined };
    const tenure = {
      ...{ device: verbs as unknown as Device, bytes: 2 ** 30, epoch: 1, heldBefore: 0 },
      ...{ ended: new Promise<void>(() => undefined), release: () => Promise.resolve() },
    };
    const open = (): Promise<Tenure> => Promise.resolve(tenure);
    const parts = { clock, timers, bytes: 2 ** 30, open, patienceMs: 1_000, fairShare };
    return new ServedDevice(parts);
  }) as [ServedDevice, ServedDevice];
  for (const device of devices) void device.begin(1_000);
  await world.run(() => devices.every(({ device }) => device !== undefined), 1_000);
  const ends: Status[] = [];
  const sink: CompletionSink = { completed: (_token, status) => ends.push(status) };
  const bytes = new Uint8Array(65_536);
  for (let i = 0; i < 40; i++) for (const one of devices) one.write(0, bytes, 0, 65_536, sink, i);
  expect((begun[0] as number) + (begun[1] as number)).toBeLessThan(16);
  await devices[0].close();
  expect([ends.length, new Set(ends)]).toEqual([
    40 - (begun[0] as number),
    new Set([Status.Closed]),
  ]);
  // Nothing ends that is under way: it counts for a while.
  await world.run(() => false, 300);
  expect(begun[1]).toBe(40);
});
