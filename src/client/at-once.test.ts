import { describe, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { KiB } from '../base/units.js';
import { MessageType } from '../wire/messages.js';
import { NOT_NOW } from '../fabric/link.js';
import { Connections } from './connections.js';
import { Control } from './control.js';
import type { MemrackError } from './error.js';
import { OPERATIONS_MAX } from './operations.js';
import { RemoteSpace } from './space.js';
import { FakeRack, settle } from './testing/fake-rack.js';
import { FakeTogether } from './testing/fake-together.js';

const PAGE = 64 * KiB;

/** A space whose regions are known, at nodes that can be reached without a message. */
async function openSpace(nodes = 1, pages = 8) {
  const rack = new FakeRack(nodes);
  const { runtime } = rack.world;
  const space = new RemoteSpace({
    runtime,
    control: new Control(runtime, rack.peer(), 'memrack://fake'),
    connections: new Connections(rack),
    name: 'test',
    id: 7,
    pageBytes: PAGE,
    timeoutMs: 10_000,
  });
  const at = await space.alloc(pages * PAGE);
  await space.write(at, bytesOf(8));
  await space.release();
  for (const node of rack.nodes) {
    node.isAtOnce = true;
    node.log.length = 0;
  }
  return { rack, space, at, node: rack.node(0) };
}

const bytesOf = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: MemrackError) => error,
  );

test('of a long list only the beginning is done at once', async () => {
  const { space, at, node } = await openSpace();
  const from = bytesOf(PAGE);
  await space.writeMany(Array.from({ length: 200 }, () => ({ at, from })));
  const last = { at, from: bytesOf(PAGE, 9) };
  const into = new Uint8Array(PAGE);
  await Promise.all([space.writeMany([last]), space.readMany([{ at, into }])]);
  expect(into).toEqual(last.from);
  const counts = ['writeNow', 'write'].map(
    (what) => node.log.filter((line) => line === `${what} ${at}`).length,
  );
  expect(counts).toEqual([129, 72]);
});

test('empty lists do not heap up timers', async () => {
  const { rack, space } = await openSpace();
  await rack.world.pass(10_000);
  for (let i = 0; i < 100; i++) await space.writeMany([]);
  expect(rack.world.timersWaiting).toBe(1);
});

test('writes of one piece need no reservation because they follow each other', async () => {
  const { space, at, node } = await openSpace();
  node.isAtOnce = false;
  const all = bytesOf(3 * PAGE);
  const parts = [0, 1, 2].map((i) => all.subarray(i * PAGE, (i + 1) * PAGE));
  await space.writeMany(parts.map((from, i) => ({ at: at + i * PAGE, from })));
  expect(node.log.filter((line) => !line.startsWith('write '))).toEqual([]);
  expect(await space.read(at, 3 * PAGE)).toEqual(all);
});

describe('one operation', () => {
  test('is done when its verb returns, and its promise is settled', async () => {
    const { space, at, node } = await openSpace();
    const target = new Uint8Array(8);
    const written = space.write(at, bytesOf(8, 3));
    const read = space.read(at, target);
    expect(target).toEqual(bytesOf(8, 3));
    let settled = 0;
    void written.then(() => settled++);
    void read.then(() => settled++);
    await Promise.resolve();
    expect(settled).toBe(2);
    expect(await read).toBe(target);
    expect(await space.read(at, 8)).toEqual(target);
    expect(node.log).toEqual([`writeNow ${at}`, `readNow ${at}`, `readNow ${at}`]);
    expect(space.isBusy).toBe(false);
  });

  test('tells the old value of an atomic in full width', async () => {
    const { space, at } = await openSpace();
    const huge = 2n ** 64n - 2n;
    await space.write(at, new Uint8Array(8));
    expect(await space.compareAndSwap(at, 0n, huge)).toBe(0n);
    expect(await space.compareAndSwap(at, 0n, 5n)).toBe(huge);
    expect(await space.fetchAndAdd(at, 3n)).toBe(huge);
    expect(await space.fetchAndAdd(at, -1n)).toBe(1n);
    expect(await space.fetchAndAdd(at, 0n)).toBe(0n);
  });

  test('is queued where it cannot be done at once, or has several pieces', async () => {
    const { space, at, node } = await openSpace();
    await space.write(at + 8, bytesOf(2 * PAGE));
    expect(node.log.filter((line) => line.startsWith('writeNow'))).toEqual([]);
    node.isAtOnce = false;
    expect(await space.read(at + 8, 8)).toEqual(bytesOf(8));
    expect(node.log.at(-1)).toBe(`read ${at + 8}`);
  });

  test('is refused with its arguments before a link hears of it', async () => {
    const { space, at, node } = await openSpace();
    expect((await failureOf(space.read(-1, 8)))?.code).toBe('Invalid');
    expect((await failureOf(space.write(at, new Uint8Array(0))))?.code).toBe('Invalid');
    expect((await failureOf(space.fetchAndAdd(at + 1, 1n)))?.code).toBe('Invalid');
    expect(node.log).toEqual([]);
  });

  test('is Closed in a closed space', async () => {
    const { space, at, node } = await openSpace();
    space.close();
    expect((await failureOf(space.read(at, 8)))?.code).toBe('Closed');
    expect((await failureOf(space.readMany([{ at, into: new Uint8Array(8) }])))?.code).toBe(
      'Closed',
    );
    expect(node.log).toEqual([]);
  });
});

describe('order', () => {
  test('what stands behind a waiting call on its page is not done before it', async () => {
    const { space, at, node } = await openSpace();
    node.isPrompt = false;
    const frozen = space.protect(at, PAGE, 'r');
    const read = space.read(at, 8);
    const added = space.fetchAndAdd(at, 1n);
    await settle();
    expect(node.log).toEqual([]);
    // Another page need not wait for the call; the fake's link does, as links do.
    node.isPrompt = true;
    for (let i = 0; i < 5; i++) {
      node.execute();
      await settle();
    }
    await Promise.all([frozen, read, added]);
    expect(node.log[0]).toBe(`call ${MessageType.Protect} ${at}`);
    expect(node.log.slice(1).every((line) => /^(read|fetchAndAdd)/.test(line))).toBe(true);
  });

  test('a change waits for a large write of the page that is still being sent', async () => {
    const { space, at } = await openSpace();
    const large = space.write(at, bytesOf(3 * PAGE, 9));
    const small = space.write(at + 2 * PAGE, bytesOf(8, 77));
    await Promise.all([large, small]);
    expect(await space.read(at + 2 * PAGE, 8)).toEqual(bytesOf(8, 77));
  });
});

describe('a failure', () => {
  test('is told as that of a queued one, and to the barriers', async () => {
    const { space, at, node } = await openSpace();
    node.order('writeNow', Status.Denied);
    const error = await failureOf(space.write(at, bytesOf(8)));
    expect(error).toMatchObject({ code: 'Denied', outcome: 'notApplied' });
    const failure = await failureOf(space.release());
    expect(failure?.failures).toEqual([error]);
    await space.release();
  });

  test('nobody need wait for it', async () => {
    const { space, at, node } = await openSpace();
    node.order('readNow', Status.NotAllocated);
    void space.read(at, 8);
    expect((await failureOf(space.fence()))?.code).toBe('NotAllocated');
  });

  test('of an unknown outcome says so, also when no row is left', async () => {
    const { space, at, node } = await openSpace();
    node.isAtOnce = false;
    node.isPrompt = false;
    for (let i = 0; i < OPERATIONS_MAX; i++) void space.read(at, 1);
    expect((await failureOf(space.read(at, 1)))?.code).toBe('Busy');
    node.isPrompt = true;
    node.execute();
    node.isAtOnce = true;
    node.order('writeNow', Status.OutcomeUnknown);
    const error = await failureOf(space.write(at, bytesOf(8)));
    expect(error).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
  });

  test('is DataLost where the controller says so', async () => {
    const { rack, space, at, node } = await openSpace();
    for (const owner of rack.owners.values()) owner.lost = 1;
    node.order('readNow', Status.Stale);
    expect((await failureOf(space.read(at, 8)))?.code).toBe('DataLost');
  });
});

describe('many', () => {
  const writesOf = (at: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ at: at + 16 * i, from: bytesOf(8, i) }));

  test('are done when the verb returns', async () => {
    const { space, at, node } = await openSpace();
    const writes = writesOf(at, 20);
    const written = space.writeMany(writes);
    const reads = writes.map((write) => ({ at: write.at, into: new Uint8Array(8) }));
    const read = space.readMany(reads);
    for (const [i, { into }] of reads.entries()) expect(into).toEqual(writes[i]?.from);
    await Promise.all([written, read]);
    expect(node.log.length).toBe(40);
    expect(space.isBusy).toBe(false);
  });

  test('go on as messages with what could not be done at once', async () => {
    const { space, at, node } = await openSpace();
    const large = { at: at + PAGE + 8, from: bytesOf(PAGE, 3) };
    const [first, ...others] = writesOf(at, 4);
    await space.writeMany([first as (typeof others)[0], large, ...others]);
    // No write overtakes one that was named before it.
    const now = node.log.filter((line) => line.startsWith('writeNow'));
    expect(now).toEqual([`writeNow ${at}`]);
    node.log.length = 0;
    const big = new Uint8Array(PAGE);
    const small = new Uint8Array(8);
    await space.readMany([
      { at: large.at, into: big },
      { at: at + 16, into: small },
    ]);
    expect(big).toEqual(large.from);
    expect(small).toEqual(bytesOf(8, 1));
    expect(node.log[0]).toBe(`readNow ${at + 16}`);
  });

  test('nothing is done where one of them is wrong', async () => {
    const { space, at, node } = await openSpace();
    const wrong = { at: 0.5, from: bytesOf(8) };
    const error = await failureOf(space.writeMany([...writesOf(at, 3), wrong]));
    expect(error?.code).toBe('Invalid');
    expect(error?.message).toContain('[3].at');
    const holes = [{ at, into: bytesOf(8) }, undefined] as unknown as [];
    expect((await failureOf(space.readMany(holes)))?.message).toContain('[1].at');
    expect(node.log).toEqual([]);
  });

  test('a write that fails after others were made leaves the outcome unknown', async () => {
    const { space, at, node } = await openSpace();
    node.order('writeNow', Status.Ok);
    node.order('writeNow', Status.Denied);
    const atOnce = await failureOf(space.writeMany(writesOf(at, 4)));
    expect(atOnce).toMatchObject({ code: 'Denied', outcome: 'unknown' });
    expect(node.log.length).toBe(2);
    // The rest goes as a message and fails there.
    const cut = { at: at + PAGE + 8, from: bytesOf(PAGE, 3) };
    node.order('reserve', Status.NoSpace);
    const later = await failureOf(space.writeMany([...writesOf(at, 1), cut]));
    expect(later).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
    const failure = await failureOf(space.release());
    expect(failure?.failures).toEqual([atOnce, later]);
  });

  test('a read that fails first is the one that is told', async () => {
    const { space, at, node } = await openSpace();
    node.order('readNow', Status.Denied);
    const reads = [0, 8].map((offset) => ({ at: at + offset, into: new Uint8Array(8) }));
    const error = await failureOf(space.readMany(reads));
    expect(error).toMatchObject({ code: 'Denied', outcome: 'notApplied' });
  });
});

describe('together', () => {
  async function openTogether() {
    const opened = await openSpace();
    const together = new FakeTogether(opened.node, 4);
    opened.node.together = together;
    return { ...opened, together };
  }
  const piecesOf = (log: readonly string[], verb: string) =>
    log.filter((line) => line.startsWith(`${verb} `)).map((line) => Number(line.split(' ')[1]));

  test('many are done in steps of several', async () => {
    const { space, at, node, together } = await openTogether();
    const writes = Array.from({ length: 10 }, (_, i) => ({ at: at + 8 * i, from: bytesOf(8, i) }));
    const written = space.writeMany(writes);
    const reads = writes.map((write) => ({ at: write.at, into: new Uint8Array(8) }));
    const read = space.readMany(reads);
    for (const [i, { into }] of reads.entries()) expect(into).toEqual(writes[i]?.from);
    await Promise.all([written, read]);
    expect(together.runs).toEqual([4, 4, 2, 4, 4, 2]);
    expect(piecesOf(node.log, 'writeNow')).toEqual(writes.map((write) => write.at));
    expect(space.isBusy).toBe(false);
  });

  test('a range of several pieces is done when its verb returns', async () => {
    const { space, at, node, together } = await openTogether();
    const bytes = bytesOf(5 * PAGE + 100, 3);
    const target = new Uint8Array(bytes.length);
    const written = space.write(at + 50, bytes);
    const read = space.read(at + 50, target);
    expect(target).toEqual(bytes);
    expect(await read).toBe(target);
    await written;
    expect(together.runs).toEqual([4, 2, 4, 2]);
    expect(piecesOf(node.log, 'write')).toEqual([]);
  });

  test('a range is not begun where its frames have to be promised first', async () => {
    const { space, at, node, together } = await openTogether();
    together.isFramed = false;
    const large = { at, from: bytesOf(3 * PAGE, 3) };
    const last = { at: at + PAGE, from: bytesOf(8, 9) };
    await space.writeMany([{ at: at + 8, from: bytesOf(8) }, large, last]);
    expect(piecesOf(node.log, 'writeNow')).toEqual([at + 8]);
    expect(node.log.some((line) => line.startsWith('reserve'))).toBe(true);
    expect(await space.read(at + PAGE, 8)).toEqual(last.from);
    expect((await space.read(at, 8))[0]).toBe(3);
  });

  test('what is left of a range goes on as one range, and nothing overtakes it', async () => {
    const { space, at, node } = await openTogether();
    node.order('writeNow', Status.Ok);
    node.order('writeNow', NOT_NOW as Status);
    const bytes = bytesOf(6 * PAGE, 5);
    const after = { at: at + 2 * PAGE, from: bytesOf(8, 99) };
    await space.writeMany([{ at, from: bytes }, after]);
    // The first was told as done by order, and the second as not.
    expect(piecesOf(node.log, 'writeNow')).toEqual([at, at + PAGE]);
    const sent = piecesOf(node.log, 'write');
    expect(sent).toEqual([1, 2, 3, 4, 5, 2].map((page) => at + page * PAGE));
    expect(await space.read(at + 2 * PAGE, 8)).toEqual(after.from);
    expect((await space.read(at + 5 * PAGE, PAGE))[7]).toBe(bytes[5 * PAGE + 7]);
  });

  test('reads behind one that was not done are done by message, others at once', async () => {
    const { space, at, node } = await openTogether();
    await space.write(at, bytesOf(64, 1));
    node.log.length = 0;
    node.order('readNow', Status.Ok);
    node.order('readNow', NOT_NOW as Status);
    const reads = Array.from({ length: 6 }, (_, i) => ({
      at: at + 8 * i,
      into: new Uint8Array(8),
    }));
    await space.readMany(reads);
    for (const [i, { into }] of reads.entries()) {
      if (i > 0) expect(into).toEqual(bytesOf(64, 1).subarray(8 * i, 8 * i + 8));
    }
    expect(piecesOf(node.log, 'readNow')).toEqual([0, 1, 4, 5].map((i) => at + 8 * i));
  });

  test('a write of an unknown outcome ends all of it', async () => {
    const { space, at, node } = await openTogether();
    node.order('writeNow', Status.Ok);
    node.order('writeNow', Status.OutcomeUnknown);
    const error = await failureOf(space.write(at, bytesOf(6 * PAGE)));
    expect(error).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
    expect(piecesOf(node.log, 'writeNow')).toEqual([0, 1, 2, 3].map((page) => at + page * PAGE));
  });
});

test('a program that awaits one after the other lets timers have their turn', async () => {
  const { rack, space, at } = await openSpace();
  const target = new Uint8Array(8);
  let isDue = false;
  rack.world.runtime.timers.after(1, () => (isDue = true));
  let reads = 0;
  const spin = (async () => {
    for (; !isDue && reads < 1_000_000; reads++) await space.read(at, target);
  })();
  let isSpinning = true;
  void spin.then(() => (isSpinning = false));
  // The world's clock only moves when nothing more happens by itself.
  for (let i = 0; i < 10_000 && isSpinning; i++) await settle();
  expect(isSpinning).toBe(true);
  const released = space.release();
  let isReleased = false;
  void released.then(() => (isReleased = true));
  await settle();
  expect(isReleased).toBe(false);
  await rack.world.pass(2);
  await Promise.all([spin, released]);
  expect(isDue).toBe(true);
  expect(reads).toBeLessThan(1_000_000);
});
