import { afterEach, expect, test } from 'vitest';
import { ENTRY_FLAGS, EntryFlag } from '../../disk/page-table.js';
import { Status } from '../../base/status.js';
import { MessageType } from '../../wire/messages.js';
import { NOT_NOW } from '../link.js';
import { fabricFaults } from '../planted.js';
import { DONE } from '../serve.js';
import { PAGE } from '../testing/shared-node.js';
import { ShmRig } from '../testing/shm-rig.js';
import { ShmLink } from './shm-link.js';

const BOTH = EntryFlag.READ | EntryFlag.WRITE;
const { PAUSED } = EntryFlag;
const bytes = (...values: number[]) => Uint8Array.from(values);

afterEach(() => {
  fabricFaults.shmBesideTcp = false;
});

async function attached(): Promise<ShmRig> {
  const rig = new ShmRig();
  rig.node.page(1);
  await rig.attach();
  return rig;
}

test('until it is attached everything is a message, and attaching needs no asking', async () => {
  const rig = new ShmRig();
  rig.node.page(1);
  const { link, window, sink, node } = rig;
  const into = new Uint8Array(4);
  expect(link.readNow(window, PAGE, into, 0, 4)).toBe(NOT_NOW);
  link.write(window, PAGE, bytes(1, 2, 3, 4), 0, 4, sink, 1, rig.deadline);
  await rig.told(1);
  expect(node.executed).toEqual([MessageType.Write]);
  expect(await rig.world.run(() => link.isAttached)).toBe(true);
  expect(link.readNow(window, PAGE, into, 0, 4)).toBe(Status.Ok);
  expect(into).toEqual(bytes(1, 2, 3, 4));
  expect(link.counters).toMatchObject({ attachments: 1, operationsAlone: 1 });
  expect(link.counters.byMessage.notAttached).toBe(1);
});

test('every verb is done without the node, in its order', async () => {
  const rig = await attached();
  const { link, window, sink, deadline, node } = rig;
  const back = new Uint8Array(13).fill(9);
  link.write(window, PAGE + 3, bytes(0, 1, 2, 3, 4, 5), 1, 5, sink, 1, deadline);
  link.read(window, PAGE, back, 2, 11, sink, 2, deadline);
  link.fetchAndAdd(window, PAGE + 16, 5, 1, sink, 3, deadline);
  link.fetchAndAdd(window, PAGE + 16, 0xffffffff, 0xffffffff, sink, 4, deadline);
  link.compareAndSwap(window, PAGE + 16, 4, 1, 7, 8, sink, 5, deadline);
  link.compareAndSwap(window, PAGE + 16, 4, 1, 0, 0, sink, 6, deadline);
  link.fence(sink, 7, deadline);
  expect(sink.told.size).toBe(0);
  await rig.told(7);
  expect(sink.order).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect([...back]).toEqual([9, 9, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
  expect(sink.told.get(4)).toEqual({ status: Status.Ok, outcome: 'applied', low: 5, high: 1 });
  expect(sink.told.get(5)).toMatchObject({ low: 4, high: 1 });
  expect(sink.told.get(6)).toMatchObject({ low: 7, high: 8 });
  expect(node.executed).toEqual([]);
  expect(link.counters).toMatchObject({ batches: 1, operationsInBatches: 6 });
  expect(link.fetchAndAddNow(window, PAGE + 16, 1, 0)).toBe(Status.Ok);
  expect([link.resultLow, link.resultHigh]).toEqual([7, 8]);
  expect(link.compareAndSwapNow(window, PAGE + 16, 8, 8, 1, 0)).toBe(Status.Ok);
  expect(link.fetchAndAddNow(window, PAGE + 16, 0, 0)).toBe(Status.Ok);
  expect([link.resultLow, link.resultHigh]).toEqual([1, 0]);
  expect(link.writeNow(window, PAGE, bytes(1), 0, 1)).toBe(Status.Ok);
});

test('several are done together up to the first that cannot be', async () => {
  const rig = await attached();
  const { link, window, node } = rig;
  const { together } = link;
  node.page(2, BOTH, false);
  for (let i = 0; i < 3; i++) together.addWrite(window, PAGE + 8 * i, bytes(i, 7), 0, 2);
  together.addWrite(window, 2 * PAGE, bytes(9), 0, 1);
  together.addWrite(window, PAGE, bytes(9), 0, 1);
  expect(together.count).toBe(5);
  expect(together.run()).toBe(3);
  expect([0, 1, 2].map((i) => together.statusOf(i))).toEqual([0, 0, 0]);
  expect(together.count).toBe(0);
  const into = Array.from({ length: 64 }, () => new Uint8Array(2));
  for (const [i, each] of into.entries()) {
    expect(together.addRead(window, PAGE + 8 * (i % 3), each, 0, 2)).toBe(true);
  }
  expect(together.addRead(window, PAGE, bytes(0), 0, 1)).toBe(false);
  expect(together.run()).toBe(64);
  expect(into[63]).toEqual(bytes(0, 7));
  expect(into[62]).toEqual(bytes(2, 7));
  expect(together.run()).toBe(0);
  expect(link.counters).toMatchObject({ batches: 2, operationsInBatches: 67 });
  expect(node.executed).toEqual([]);
});

test('a range can be written where all of its pages have frames and rights', async () => {
  const rig = await attached();
  const { link, window, node } = rig;
  const { together } = link;
  for (const page of [2, 3]) node.page(page);
  node.page(4, BOTH, false);
  node.page(5, EntryFlag.READ);
  expect(together.mayWrite(window, PAGE, 3 * PAGE)).toBe(true);
  expect(together.mayWrite(window, 2 * PAGE - 1, 2)).toBe(true);
  expect(together.mayWrite(window, 4 * PAGE - 1, 1)).toBe(true);
  expect(together.mayWrite(window, 4 * PAGE - 1, 2)).toBe(false);
  expect(together.mayWrite(window, 5 * PAGE, 1)).toBe(false);
  expect(together.mayWrite(window, 6 * PAGE, 1)).toBe(false);
  const { pages } = node.table;
  const entry = node.entry(2);
  pages.words[entry + ENTRY_FLAGS] = (pages.words[entry + ENTRY_FLAGS] as number) | PAUSED;
  expect(together.mayWrite(window, PAGE, 3 * PAGE)).toBe(false);
  expect(together.mayWrite({ ...window, epoch: window.epoch + 1 }, PAGE, PAGE)).toBe(false);
});

test('what a step turns away goes as a message, in its order', async () => {
  const rig = await attached();
  const { link, window, sink, deadline, node } = rig;
  node.page(2, BOTH, false);
  const back = new Uint8Array(2);
  link.write(window, PAGE, bytes(1), 0, 1, sink, 1, deadline);
  link.write(window, 2 * PAGE, bytes(2), 0, 1, sink, 2, deadline);
  link.write(window, 2 * PAGE, bytes(3), 0, 1, sink, 3, deadline);
  link.read(window, 2 * PAGE, back, 0, 1, sink, 4, deadline);
  link.read(window, 9 * PAGE, back, 1, 1, sink, 5, deadline);
  link.write(window, PAGE + 1, bytes(4), 0, 1, sink, 6, deadline);
  expect(link.writeNow(window, PAGE, bytes(9), 0, 1)).toBe(NOT_NOW);
  await rig.told(6);
  expect(sink.order).toEqual([1, 2, 3, 4, 5, 6]);
  expect(back[0]).toBe(3);
  expect(sink.status(5)).toBe(Status.NotAllocated);
  // The first touch alone was a message; of what is not there whatever followed is one, too.
  expect(node.executed).toEqual([MessageType.Write, MessageType.Read, MessageType.Write]);
  expect(link.counters.byMessage).toMatchObject({ noFrame: 1, noPage: 1, outstanding: 1 });
  expect(link.writeNow(window, 2 * PAGE, bytes(9), 0, 1)).toBe(Status.Ok);
});

/** A write that the node has not executed stands in the way of all that follows it. */
async function overtaking(): Promise<number> {
  const rig = await attached();
  const { link, window, sink, node } = rig;
  node.page(2, BOTH, false);
  node.isStalled = true;
  link.write(window, 2 * PAGE, bytes(1), 0, 1, sink, 1, rig.world.nowMs + 50);
  await rig.told(1);
  expect(sink.status(1)).toBe(Status.OutcomeUnknown);
  // Told, but it may still be executed: the page has its frame by now.
  node.table.pages.setFrame(node.entry(2), node.takeFrame());
  const now = link.writeNow(window, 2 * PAGE, bytes(2), 0, 1);
  if (now === NOT_NOW) {
    link.write(window, 2 * PAGE, bytes(2), 0, 1, sink, 2, rig.deadline);
    await rig.world.run(() => false, 5);
    expect(sink.told.size).toBe(1);
  }
  node.goOn();
  await rig.world.run(() => sink.told.size === 2, 100);
  await rig.world.run(() => false, 10);
  return node.bytes(2)[0] ?? -1;
}

test('nothing is done at once while a message may still be executed, told or not', async () => {
  expect(await overtaking()).toBe(2);
  fabricFaults.shmBesideTcp = true;
  expect(await overtaking()).toBe(1);
});

test('while messages are under way operations are held back for a moment', async () => {
  const rig = await attached();
  const { link, window, sink, node } = rig;
  node.page(2, BOTH, false);
  link.write(window, 2 * PAGE, bytes(1), 0, 1, sink, 1, rig.deadline);
  await rig.world.run(() => !rig.tcp.transport.isSettled && rig.tcp.transport.ring.sent > 1, 1);
  for (let token = 2; token < 20; token++) {
    link.write(window, PAGE + token, bytes(token), 0, 1, sink, token, rig.deadline);
  }
  await rig.told(19);
  expect(node.executed).toEqual([MessageType.Write]);
  expect(link.counters).toMatchObject({ holds: 1, operationsInBatches: 18 });
  node.isStalled = true;
  node.page(3, BOTH, false);
  link.write(window, 3 * PAGE, bytes(1), 0, 1, sink, 20, rig.deadline);
  link.write(window, PAGE, bytes(1), 0, 1, sink, 21, rig.deadline);
  await rig.world.run(() => false, 10);
  node.goOn();
  await rig.told(21);
  expect(node.executed).toEqual([MessageType.Write, MessageType.Write, MessageType.Write]);
});

test('what waits behind an operation that came back is not done in place', async () => {
  const rig = await attached();
  const { link, window, sink, node } = rig;
  const back: number[] = [];
  Object.assign(sink, { moved: (token: number) => back.push(token) });
  node.page(2, BOTH, false);
  const execute = node.execute.bind(node);
  // The region has gone, and is here again at once.
  node.execute = (session) => {
    node.execute = execute;
    session.finish(Status.Moved, 0);
    return DONE;
  };
  link.write(window, 2 * PAGE, bytes(1), 0, 1, sink, 1, rig.deadline);
  await rig.world.run(() => !rig.tcp.transport.isSettled && rig.tcp.transport.ring.sent > 1, 1);
  for (const token of [2, 3]) {
    link.write(window, PAGE, bytes(token), 0, 1, sink, token, rig.deadline);
  }
  // Of another region nothing came back.
  link.write(window, 2 ** 30, bytes(4), 0, 1, sink, 4, rig.deadline);
  await rig.told(4);
  expect(back).toEqual([1, 2, 3]);
  expect([1, 2, 3].map((token) => sink.status(token))).toEqual(back.map(() => Status.Moved));
  expect([sink.status(4), node.bytes(1)[0]]).toEqual([Status.NotAllocated, 0]);
  link.fence(sink, 5, rig.deadline);
  link.write(window, PAGE, bytes(6), 0, 1, sink, 6, rig.deadline);
  await rig.told(6);
  expect([sink.status(6), node.bytes(1)[0]]).toEqual([Status.Ok, 6]);
});

test('calls that take pages away have their order; others do not', async () => {
  const rig = await attached();
  const { link, window, sink, node } = rig;
  const seen: number[] = [];
  rig.server.serve(MessageType.Free, async () => {
    await new Promise<void>((resolve) => rig.world.after(1, resolve));
    seen.push(node.bytes(1)[0] ?? -1);
    return { status: Status.Ok, bytes: PAGE };
  });
  rig.server.serve(MessageType.Inspect, async () => {
    await new Promise<void>((resolve) => rig.world.after(1, resolve));
    return { status: Status.NotAllocated, reason: '' };
  });
  const piece = { space: 5, address: 0, nonce: 1 };
  const inspected = link.call(
    MessageType.Inspect,
    { space: 5, address: 0, nonce: 1 } as never,
    500,
  );
  await rig.world.run(() => rig.tcp.transport.ring.sent > 1, 0.1);
  expect(link.writeNow(window, PAGE, bytes(1), 0, 1)).toBe(Status.Ok);
  link.write(window, PAGE, bytes(2), 0, 1, sink, 1, rig.deadline);
  const freed = link.call(MessageType.Free, piece, 500);
  expect(link.writeNow(window, PAGE, bytes(3), 0, 1)).toBe(NOT_NOW);
  link.write(window, PAGE, bytes(3), 0, 1, sink, 2, rig.deadline);
  expect((await rig.result(inspected)).status).toBe(Status.NotAllocated);
  expect((await rig.result(freed)).status).toBe(Status.Ok);
  await rig.told(2);
  expect(seen).toEqual([2]);
  expect(node.bytes(1)[0]).toBe(3);
});

test('no step is made while a copy is trimmed: its node looks at pages then', async () => {
  const rig = await attached();
  const { link, window, sink, node } = rig;
  const seen: number[] = [];
  rig.server.serve(MessageType.TrimSlab, () => {
    seen.push(node.bytes(1)[0] ?? -1);
    return { status: Status.Ok };
  });
  const holder = { lease: 3, leaseEpoch: 1 };
  const trim = { space: 5, address: 0, copy: 1, from: 0, bytes: 4096, ...holder };
  const trimmed = link.call(MessageType.TrimSlab, trim, 500);
  expect(link.writeNow(window, PAGE, bytes(1), 0, 1)).toBe(NOT_NOW);
  expect((await rig.result(trimmed)).status).toBe(Status.Ok);
  // Nor is it sent before a step that waits has been made.
  link.write(window, PAGE, bytes(2), 0, 1, sink, 1, rig.deadline);
  const again = link.call(MessageType.TrimSlab, trim, 500);
  expect(link.readNow(window, PAGE, new Uint8Array(1), 0, 1)).toBe(NOT_NOW);
  expect((await rig.result(again)).status).toBe(Status.Ok);
  expect(seen).toEqual([0, 2]);
  expect(link.writeNow(window, PAGE, bytes(3), 0, 1)).toBe(Status.Ok);
});

test('reservations are messages, and what they pay comes behind them', async () => {
  const rig = await attached();
  const { link, window, sink, deadline, node } = rig;
  node.page(2, BOTH, false);
  link.write(window, PAGE, bytes(1), 0, 1, sink, 1, deadline);
  link.reserve(window, 2 * PAGE, PAGE, sink, 2, deadline, 7);
  link.write(window, 2 * PAGE, bytes(1), 0, 1, sink, 3, deadline, 7);
  link.unreserve(sink, 4, deadline, 7);
  link.fence(sink, 5, deadline);
  await rig.told(5);
  expect(sink.order).toEqual([1, 2, 3, 4, 5]);
  const { Reserve, Write, Unreserve, Fence } = MessageType;
  expect(node.executed).toEqual([Reserve, Write, Unreserve, Fence]);
});

test('an operation whose deadline passed before the step is not done', async () => {
  const rig = await attached();
  const { link, window, sink } = rig;
  link.write(window, PAGE, bytes(1), 0, 1, sink, 1, rig.world.nowMs);
  link.write(window, PAGE + 1, bytes(1), 0, 1, sink, 2, rig.deadline);
  await rig.told(2);
  expect(sink.told.get(1)).toMatchObject({ status: Status.Unavailable, outcome: 'notApplied' });
  expect([...rig.node.bytes(1).subarray(0, 2)]).toEqual([0, 1]);
});

test('a step that cannot be sure repeats its reads, and says so of its writes', async () => {
  const rig = await attached();
  const { link, window, sink, deadline, node } = rig;
  rig.memory.before = (access) => {
    if (access === 12) node.table.raiseForced();
  };
  const [first, second] = [new Uint8Array(1), new Uint8Array(1)];
  link.read(window, PAGE, first, 0, 1, sink, 1, deadline);
  link.read(window, PAGE + 8, second, 0, 1, sink, 2, deadline);
  link.write(window, PAGE, bytes(1), 0, 1, sink, 3, deadline);
  link.fetchAndAdd(window, PAGE + 16, 1, 0, sink, 4, deadline);
  await rig.told(4);
  // What was read before the write must not show it.
  expect(sink.status(1)).toBe(Status.Unavailable);
  expect(sink.status(2)).toBe(Status.Ok);
  expect(sink.told.get(3)).toMatchObject({ status: Status.OutcomeUnknown, outcome: 'unknown' });
  expect(sink.status(4)).toBe(Status.OutcomeUnknown);
  expect(node.executed).toEqual([MessageType.Read]);
  expect(link.counters).toMatchObject({ outcomesUnknown: 2 });
  expect(link.readNow(window, PAGE, first, 0, 1)).toBe(NOT_NOW);
  expect(link.writeNow(window, PAGE, first, 0, 1)).toBe(Status.OutcomeUnknown);
  expect(link.fetchAndAddNow(window, PAGE, 1, 0)).toBe(Status.OutcomeUnknown);
});

test('a lost connection gives the files up; the next one gets the same slot', async () => {
  const rig = await attached();
  const { link, window, sink, node } = rig;
  expect(rig.memory.opened).toBe(3);
  rig.world.cutAll();
  await rig.world.run(() => !link.isAttached, 100);
  expect([rig.memory.opened, link.writeNow(window, PAGE, bytes(1), 0, 1)]).toEqual([0, NOT_NOW]);
  link.write(window, PAGE, bytes(1), 0, 1, sink, 1, rig.deadline);
  await rig.told(1);
  expect(await rig.world.run(() => link.isAttached, 100)).toBe(true);
  expect(link.writeNow(window, PAGE, bytes(2), 0, 1)).toBe(Status.Ok);
  expect(node.table.owners.taken()).toEqual([0]);
  expect(link.counters).toMatchObject({ attachments: 2, attachmentsLost: 1 });
});

test('another process of the node is noticed by its first step, and attached to', async () => {
  const rig = await attached();
  const { link, sink, node } = rig;
  node.restart();
  expect(link.writeNow(rig.window, PAGE, bytes(1), 0, 1)).toBe(NOT_NOW);
  expect([link.isAttached, rig.memory.opened]).toEqual([false, 0]);
  await rig.restart();
  const window = node.window();
  link.write(window, PAGE, bytes(7), 0, 1, sink, 1, rig.deadline);
  await rig.told(1);
  expect(await rig.world.run(() => link.isAttached, 500)).toBe(true);
  expect(link.writeNow(window, PAGE, bytes(8), 0, 1)).toBe(Status.Ok);
  expect(node.bytes(1)[0]).toBe(8);
});

test('closing ends what waits, gives the slot back and the files up', async () => {
  const rig = await attached();
  const { link, window, sink, node } = rig;
  link.write(window, PAGE, bytes(1), 0, 1, sink, 1, rig.deadline);
  const call = link.call(MessageType.Free, { space: 5, address: 0, nonce: 1 }, 1000);
  link.close();
  await rig.told(1);
  expect(sink.status(1)).toBe(Status.Closed);
  expect((await rig.result(call)).status).toBe(Status.Closed);
  expect(rig.memory.opened).toBe(0);
  link.write(window, PAGE, bytes(1), 0, 1, sink, 2, rig.deadline);
  await rig.told(2);
  expect(sink.status(2)).toBe(Status.Closed);
  expect(await rig.world.run(() => node.table.owners.taken().length === 0, 100)).toBe(true);
  expect(node.bytes(1)[0]).toBe(0);
});

test('closing gives back the slot also of who is not attached at the moment', async () => {
  const rig = await attached();
  const { link, window, node } = rig;
  node.refusal = Status.Busy;
  rig.world.cutAll();
  await rig.world.run(() => !link.isAttached, 100);
  link.fence(rig.sink, 1, rig.deadline);
  await rig.told(1);
  expect([link.isAttached, node.table.owners.taken()]).toEqual([false, [0]]);
  expect(link.writeNow(window, PAGE, bytes(1), 0, 1)).toBe(NOT_NOW);
  link.close();
  expect(await rig.world.run(() => node.table.owners.taken().length === 0, 100)).toBe(true);
});

test('while a step is under way all else waits behind it, closing too', async () => {
  const rig = await attached();
  const { link, window, sink, memory, node } = rig;
  memory.isSlow = true;
  link.write(window, PAGE, bytes(1), 0, 1, sink, 1, rig.deadline);
  await rig.world.run(() => memory.isWaiting, 10);
  expect(link.writeNow(window, PAGE, bytes(2), 0, 1)).toBe(NOT_NOW);
  link.write(window, PAGE, bytes(2), 0, 1, sink, 2, rig.deadline);
  // Another link of this thread must not step in between.
  const other = ShmLink.open({ runtime: rig.runtime, link: rig.client.link('tcp://other:1') });
  expect(other.readNow(window, PAGE, bytes(2), 0, 1)).toBe(NOT_NOW);
  await rig.world.run(() => false, 10);
  expect(sink.told.size).toBe(0);
  memory.finish();
  expect(sink.order).toEqual([1]);
  await rig.world.run(() => memory.isWaiting, 10);
  link.close();
  await rig.world.run(() => false, 10);
  expect([memory.opened, node.table.owners.taken()]).toEqual([3, [0]]);
  memory.finish();
  expect([sink.status(2), memory.opened]).toEqual([Status.Ok, 0]);
});

test('where the node refuses, or a process has no name, everything stays a message', async () => {
  const rig = new ShmRig();
  rig.node.page(1);
  rig.node.refusal = Status.Unsupported;
  expect(await rig.result(rig.link.attach(1000))).toBe('as the test wants it');
  const { link, window, sink } = rig;
  link.write(window, PAGE, bytes(1), 0, 1, sink, 1, rig.deadline);
  await rig.told(1);
  await rig.world.run(() => false, 5000);
  expect([link.isAttached, link.counters.attachesFailed]).toEqual([false, 1]);
  rig.node.refusal = Status.Busy;
  rig.world.cutAll();
  link.fence(sink, 2, rig.deadline);
  await rig.told(2);
  expect(link.isAttached).toBe(false);
  rig.node.refusal = undefined;
  expect(await rig.world.run(() => link.isAttached, 5000)).toBe(true);
  const nameless = new ShmRig('');
  expect(await nameless.result(nameless.link.attach(1000))).toContain('no names');
});

test('files that do not fit are not used, and their slot is given back', async () => {
  const rig = new ShmRig();
  rig.node.table.alive = 77;
  const { node } = rig;
  const attach = node.attach.bind(node);
  node.attach = (client, identity, token, slot) => ({
    ...attach(client, identity, token, slot),
    incarnation: 1,
  });
  expect(await rig.result(rig.link.attach(1000))).toContain('serves no more');
  await rig.world.run(() => false, 10);
  expect([node.table.owners.taken(), rig.memory.opened]).toEqual([[], 0]);
  node.table.alive = 1;
  expect(await rig.world.run(() => rig.link.isAttached, 5000)).toBe(true);
});

test('a buffer that its owner gave away ends its own operation alone', async () => {
  const rig = await attached();
  const { link, window, sink, deadline, node } = rig;
  const given = new Uint8Array(128);
  const target = new Uint8Array(128);
  link.write(window, PAGE, given, 0, 128, sink, 1, deadline);
  link.read(window, PAGE, target, 0, 128, sink, 2, deadline);
  link.write(window, PAGE, bytes(5), 0, 1, sink, 3, deadline);
  structuredClone(0, { transfer: [given.buffer, target.buffer] });
  await rig.told(3);
  expect(sink.told.get(1)).toMatchObject({ status: Status.Invalid, outcome: 'notApplied' });
  expect(sink.status(2)).toBe(Status.Invalid);
  expect(sink.status(3)).toBe(Status.Ok);
  expect(node.bytes(1)[0]).toBe(5);
  expect(link.writeNow(window, PAGE, bytes(6), 0, 1)).toBe(Status.Ok);
});
