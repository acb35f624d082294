import { afterEach, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { EntryFlag } from '../disk/page-table.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { MessageType } from '../wire/messages.js';
import { memoryNodeFaults } from './planted.js';
import { AttachedThread } from './testing/attached-thread.js';
import { Harness, PAGE, SPACE } from './testing/harness.js';
import type { TestWorld, WorldParts } from './testing/harness.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const FRAMES = 8;
const REVOKE_MS = 100;
const start = (frames = FRAMES) => new Harness({ makeWorld, frames, commitPages: 64 }).start();
const word = (value: bigint): Uint8Array => new Uint8Array(new BigUint64Array([value]).buffer);

afterEach(() => {
  memoryNodeFaults.revokeBeforeSlots = false;
  memoryNodeFaults.noCopyOnRevoke = false;
  memoryNodeFaults.forcedNotRaised = false;
});

async function read(node: Harness, address: number): Promise<bigint> {
  const { bytes } = await node.data('read', { address, bytes: 8 });
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

interface RangeMore {
  readonly slot?: number;
  readonly rights?: number;
  readonly bytes?: number;
  readonly parent?: { readonly window: number; readonly epoch: number };
  readonly lease?: number;
  readonly leaseEpoch?: number;
  readonly isShared?: boolean;
}

function tryRange(node: Harness, base: number, more: RangeMore = {}) {
  const { parent, lease = 0, leaseEpoch = 0 } = more;
  const request = {
    space: SPACE,
    rights: more.rights ?? 3,
    base,
    bytes: more.bytes ?? PAGE,
    parent: parent === undefined ? 0 : parent.window + 1,
    parentEpoch: parent?.epoch ?? 0,
    lease,
    leaseEpoch,
    isShared: more.isShared === true ? 1 : 0,
  };
  return node.call(MessageType.OpenRange, request, more.slot ?? 0);
}

async function range(node: Harness, base: number, more: RangeMore = {}) {
  const reply = await tryRange(node, base, more);
  if (reply.status !== Status.Ok) throw new Error(`${reply.status}: ${reply.reason}`);
  return { window: reply.window, epoch: reply.epoch };
}

const revoke = (node: Harness, { window, epoch }: { window: number; epoch: number }, slot = 0) =>
  node.call(MessageType.RevokeWindow, { window, epoch }, slot);

/** A page that holds 5, and a thread that is stopped where it will store 6 there. */
async function stopped(node: Harness, isThere = true) {
  const thread = await AttachedThread.start(node);
  const address = await node.alloc(1);
  await node.data('write', { address, data: word(5n) });
  const window = await range(node, address);
  thread.use({ ...window, space: SPACE, rights: 6 });
  const step = thread.begin(address, 'write', 6n);
  expect(thread.toTheCopy()).toBe(isThere);
  return { thread, address, window, step };
}

const status = async (reply: Promise<{ readonly status: Status }>) => (await reply).status;

test('a window over a range allows its range, and only what its parent does', async () => {
  const node = await start();
  const address = await node.alloc(2);
  const whole = await range(node, address, { bytes: 2 * PAGE });
  const cut = await range(node, address, { bytes: 16, rights: 1, parent: whole });
  const write = (at: number, of: { window: number; epoch: number }) =>
    status(node.data('write', { ...of, address: at, data: word(1n) }));
  expect(await write(address + 8, whole)).toBe(Status.Ok);
  expect(await write(address + 2 * PAGE, whole)).toBe(Status.Denied);
  expect(await write(address, cut)).toBe(Status.Denied);
  const seen = await node.data('read', { ...cut, address: address + 8, bytes: 8 });
  expect([seen.status, seen.bytes[0]]).toEqual([Status.Ok, 1]);
  const beyond = await node.data('read', { ...cut, address: address + 8, bytes: 16 });
  expect(beyond.status).toBe(Status.Denied);
  const parent = cut;
  expect(await status(tryRange(node, address, { bytes: 8, parent }))).toBe(Status.Denied);
  const one = { bytes: 8, rights: 1 };
  expect(await status(tryRange(node, address, { ...one, parent }))).toBe(Status.Ok);
  expect(await status(tryRange(node, address + 16, { ...one, parent }))).toBe(Status.Denied);
  expect(await status(tryRange(node, address, { ...one, parent, slot: 1 }))).toBe(Status.Stale);
  const old = { window: cut.window, epoch: cut.epoch + 1 };
  expect(await status(tryRange(node, address, { ...one, parent: old }))).toBe(Status.Stale);
});

test('ranges that cannot be are refused', async () => {
  const node = await start();
  const address = await node.alloc(1);
  const refused = (base: number, more: RangeMore = {}) => status(tryRange(node, base, more));
  expect(await refused(address, { bytes: 0 })).toBe(Status.Invalid);
  expect(await refused(2 ** 31 - 8, { bytes: 16 })).toBe(Status.Invalid);
  expect(await refused(2 ** 31)).toBe(Status.NotFound);
  expect(await refused(2 ** 53 - 8, { bytes: 8 })).toBe(Status.NotFound);
  expect(await refused(address, { lease: 4, leaseEpoch: 1 })).toBe(Status.Stale);
});

test('a shared window is for whoever names it; who may revoke it', async () => {
  const node = await start();
  const address = await node.alloc(1);
  const parent = await range(node, address);
  const given = await range(node, address, { parent, slot: 0, isShared: true });
  const cut = await range(node, address, { parent: given, slot: 1, isShared: true });
  const write = (of: { window: number; epoch: number }, slot: number) =>
    status(node.data('write', { ...of, slot, address, data: word(1n) }));
  expect([await write(given, 2), await write(cut, 3)]).toEqual([Status.Ok, Status.Ok]);
  const guess = { window: cut.window, epoch: (cut.epoch + 1) % 2 ** 32 };
  expect(await write(guess, 3)).toBe(Status.Stale);
  expect(node.counters()).toMatchObject({ windowsShared: 2 });
  // Client 2 can use it, and is not who opened it.
  expect(await status(revoke(node, cut, 2))).toBe(Status.Denied);
  expect(await status(revoke(node, given, 1))).toBe(Status.Denied);
  node.node.dataHandler.forgotten(1, 1001);
  expect(await write(cut, 3)).toBe(Status.Ok);
  expect(await status(revoke(node, given, 0))).toBe(Status.Ok);
  expect([await write(given, 2), await write(cut, 3)]).toEqual([Status.Stale, Status.Stale]);
  expect(await write(parent, 0)).toBe(Status.Ok);
  expect(await status(revoke(node, given, 0))).toBe(Status.Stale);
  expect(node.counters()).toMatchObject({ windowsShared: 0 });
});

test('a window of a lease is for its holder, and ends when the epoch is raised', async () => {
  const node = await start();
  const address = await node.alloc(1);
  const lease = 77;
  const grant = { lease, holder: 1000, epoch: 3, durationMs: 1000 };
  expect(await status(node.call(MessageType.RaiseLease, { lease, epoch: 3 }))).toBe(Status.Ok);
  expect(await status(node.call(MessageType.GrantLease, grant))).toBe(Status.Ok);
  const of = { lease, leaseEpoch: 3 };
  expect(await status(tryRange(node, address, { ...of, slot: 1 }))).toBe(Status.Stale);
  expect(await status(tryRange(node, address, { ...of, leaseEpoch: 2 }))).toBe(Status.Stale);
  const window = await range(node, address, of);
  const cut = await range(node, address, { parent: window, isShared: true });
  const write = (named: { window: number; epoch: number }) =>
    status(node.data('write', { ...named, address, data: word(1n) }));
  expect([await write(window), await write(cut)]).toEqual([Status.Ok, Status.Ok]);
  expect(await status(node.call(MessageType.RaiseLease, { lease, epoch: 4 }))).toBe(Status.Ok);
  expect([await write(window), await write(cut)]).toEqual([Status.Stale, Status.Stale]);
  expect(await status(tryRange(node, address, of))).toBe(Status.Stale);
});

type TakeAway = (node: Harness, at: Awaited<ReturnType<typeof stopped>>) => Promise<Status>;
const protect: TakeAway = (node, { address }) =>
  status(node.call(MessageType.Protect, { space: SPACE, address, bytes: PAGE, rights: 1 }));
const WAYS: Readonly<Record<string, TakeAway>> = {
  'a revoked window': (node, { window }) => status(revoke(node, window)),
  'a closed window': (node, { window }) => status(node.call(MessageType.CloseWindow, window)),
  'a protected page': protect,
  'a raised lease': (node) => status(node.call(MessageType.RaiseLease, { lease: 9, epoch: 1 })),
};

for (const [name, takeAway] of Object.entries(WAYS)) {
  test(`${name} waits for a step, and no longer than it takes`, async () => {
    const node = await start();
    const at = await stopped(node);
    const { clock, timers } = node.world.supervisor;
    timers.after(REVOKE_MS / 2, () => at.thread.end());
    const begunMs = clock.now();
    expect(await takeAway(node, at)).toBe(Status.Ok);
    expect(clock.now() - begunMs).toBeGreaterThanOrEqual(REVOKE_MS / 2 - 1);
    expect(clock.now() - begunMs).toBeLessThan(REVOKE_MS);
    expect(await read(node, at.address)).toBe(6n);
    expect(node.counters()).toMatchObject({ pagesCopiedOnRevoke: 0 });
  });

  test(`${name} leaves to a stopped thread a frame that nobody reads`, async () => {
    const node = await start();
    const at = await stopped(node);
    expect(await takeAway(node, at)).toBe(Status.Ok);
    const held = { pagesCopiedOnRevoke: 1, framesResting: 1, pagesPaused: 0 };
    expect(node.counters()).toMatchObject(held);
    // Again and again it costs no other frame.
    for (let i = 0; i < 3; i++) await protect(node, at);
    expect(node.counters()).toMatchObject(held);
    at.thread.end();
    expect([at.step.made, at.step.isVerified]).toEqual([1, false]);
    expect(await read(node, at.address)).toBe(5n);
    await node.until(() => node.counters()['framesResting'] === 0);
  });
}

test('who asks again, also a process that knows nothing of it, waits as the first', async () => {
  const node = await start();
  const at = await stopped(node);
  node.begin(MessageType.RevokeWindow, at.window);
  await node.world.run({ forMs: REVOKE_MS / 2 });
  await node.kill();
  await node.start();
  expect(await status(revoke(node, at.window))).toBe(Status.Stale);
  expect(node.counters()).toMatchObject({ pagesCopiedOnRevoke: 1 });
  at.thread.end();
  expect([at.step.isVerified, await read(node, at.address)]).toEqual([false, 5n]);
});

test('without a frame for the copy nothing is told as ended, and nobody else waits', async () => {
  const node = await start();
  const at = await stopped(node);
  const others: number[] = [];
  for (let i = 1; i < FRAMES; i++) {
    const address = await node.alloc(1);
    await node.data('write', { address, data: word(7n) });
    others.push(address);
  }
  const reply = node.begin(MessageType.RevokeWindow, at.window);
  for (let i = 0; i < 5; i++) {
    expect(await read(node, others[0] as number)).toBe(7n);
    await node.world.run({ forMs: REVOKE_MS / 2 });
  }
  expect([reply(), node.counters()['revocationsWaiting']]).toEqual([undefined, 1]);
  await node.until(() => reply() !== undefined);
  expect(reply()).toMatchObject({ status: Status.Busy });
  expect(node.counters()).toMatchObject({ revocationsUnsettled: 1, pagesCopiedOnRevoke: 0 });
  expect(await status(node.data('write', { address: at.address, data: word(8n) }))).toBe(0);
  // The window is closed all the same; that it has ended is told when there is a frame.
  await node.free(others[0] as number);
  expect(await status(revoke(node, at.window))).toBe(Status.Stale);
  at.thread.end();
  expect([at.step.isVerified, await read(node, at.address)]).toEqual([false, 8n]);
});

/** What a reader finds after it was told that access has ended, and the thread's own result. */
async function lateStore(): Promise<[bigint, boolean | undefined]> {
  const node = await start();
  const at = await stopped(node);
  expect(await WAYS['a protected page']?.(node, at)).toBe(Status.Ok);
  at.thread.end();
  return [await read(node, at.address), at.step.isVerified];
}

test('each line that safety hangs on, switched off', async () => {
  expect(await lateStore()).toEqual([5n, false]);
  memoryNodeFaults.revokeBeforeSlots = true;
  expect(await lateStore()).toEqual([6n, true]);
  memoryNodeFaults.revokeBeforeSlots = false;
  memoryNodeFaults.noCopyOnRevoke = true;
  expect(await lateStore()).toEqual([6n, true]);
  memoryNodeFaults.noCopyOnRevoke = false;
  memoryNodeFaults.forcedNotRaised = true;
  expect(await lateStore()).toEqual([5n, true]);
});

const relocate = (node: Harness, address: number, bytes: number) =>
  node.call(MessageType.Relocate, { space: SPACE, address, bytes });

/** A page's frame, and its flags. */
function placeOf(node: Harness, address: number): [number, number] {
  const { pages } = node.node.table;
  const at = pages.find(SPACE, address / PAGE);
  return [pages.frameOf(at), pages.flagsOf(at)];
}

test('pages are moved with what they hold; others are left alone', async () => {
  const node = await start(32);
  const address = await node.alloc(20);
  const touched = [0, 1, 5, 19].map((page) => address + page * PAGE);
  for (const at of touched) await node.data('write', { address: at + 40, data: word(BigInt(at)) });
  const before = touched.map((at) => placeOf(node, at)[0]);
  const reply = await relocate(node, address + 8, 20 * PAGE - 16);
  expect(reply).toMatchObject({ status: Status.Ok, moved: 4, cancelled: 0 });
  for (const [i, at] of touched.entries()) {
    expect(placeOf(node, at)[0]).not.toBe(before[i]);
    expect(await read(node, at + 40)).toBe(BigInt(at));
  }
  expect(node.counters()).toMatchObject({ framesUsed: 4, pagesMoved: 4, framesResting: 0 });
  expect(await status(relocate(node, address, 0))).toBe(Status.Invalid);
  expect(await status(relocate(node, 2 ** 31 - PAGE, 2 * PAGE))).toBe(Status.Invalid);
  expect(await status(relocate(node, 2 ** 31, PAGE))).toBe(Status.NotFound);
});

test('a range of more pages than there are zeroed frames is moved bit by bit', async () => {
  const node = await new Harness({ makeWorld, frames: 16, zeroedFrames: 2 }).start();
  const address = await node.alloc(10);
  for (let page = 0; page < 10; page++) {
    await node.data('write', { address: address + page * PAGE, data: word(BigInt(page)) });
  }
  expect(await relocate(node, address, 10 * PAGE)).toMatchObject({ moved: 10, cancelled: 0 });
  for (let page = 0; page < 10; page++) {
    expect(await read(node, address + page * PAGE)).toBe(BigInt(page));
  }
});

test('without a frame, or because of a stopped thread, a page stays where it is', async () => {
  const node = await start();
  const at = await stopped(node);
  const before = placeOf(node, at.address);
  expect(await relocate(node, at.address, PAGE)).toMatchObject({ moved: 0, cancelled: 1 });
  at.thread.end();
  expect([at.step.isVerified, await read(node, at.address)]).toEqual([true, 6n]);
  for (let i = 1; i < FRAMES; i++) {
    await node.data('write', { address: await node.alloc(1), data: word(7n) });
  }
  expect(await relocate(node, at.address, PAGE)).toMatchObject({ moved: 0, cancelled: 1 });
  expect(placeOf(node, at.address)).toEqual(before);
  expect(node.counters()).toMatchObject({ movesCancelled: 2, framesUsed: FRAMES });
});

/** A page that is paused, because the thread began a step just before. */
async function paused() {
  const node = await start();
  const at = await stopped(node);
  const reply = node.begin(MessageType.Relocate, {
    space: SPACE,
    address: at.address,
    bytes: PAGE,
  });
  // The step that was under way is over; another one begins before it is seen that it is.
  await node.world.run({ forMs: 0 });
  at.thread.end();
  const step = at.thread.begin(at.address, 'write', 9n);
  at.thread.toTheCopy();
  await node.until(() => node.counters()['pagesPaused'] === 1);
  expect(placeOf(node, at.address)[1] & EntryFlag.PAUSED).not.toBe(0);
  return { node, reply, step, at };
}

test('messages to a page that is paused wait, and are executed when it goes on', async () => {
  const { node, reply, step, at } = await paused();
  const { address, thread } = at;
  const { timers } = node.world.supervisor;
  let isStored = false;
  timers.after(20, () => {
    isStored = true;
    thread.end();
  });
  const added = await node.data('fetchAndAdd', { address, operands: [1n] });
  expect([isStored, added.value, step.isVerified]).toEqual([true, 9n, true]);
  expect(await read(node, address)).toBe(10n);
  await node.until(() => reply() !== undefined);
  expect(reply()).toMatchObject({ moved: 1, cancelled: 0 });
  expect(node.counters()['waitsForPausedPage']).toBeGreaterThan(0);
});

test('a paused page is freed, protected, or goes on after a kill, like any other', async () => {
  const freed = await paused();
  expect(await status(freed.node.free(freed.at.address))).toBe(Status.Ok);
  freed.at.thread.end();
  await freed.node.until(() => freed.reply() !== undefined);
  expect(freed.reply()).toMatchObject({ moved: 0, cancelled: 0 });
  await freed.node.until(() => freed.node.counters()['framesResting'] === 0);
  expect(freed.node.counters()).toMatchObject({ framesUsed: 0 });

  const { node, at, reply } = await paused();
  expect(await protect(node, at)).toBe(Status.Ok);
  await node.until(() => reply() !== undefined);
  expect(placeOf(node, at.address)[1] & (EntryFlag.PAUSED | 6)).toBe(EntryFlag.READ);
  at.thread.end();

  const killed = await paused();
  await killed.node.kill();
  await killed.node.start();
  expect(placeOf(killed.node, killed.at.address)[1] & EntryFlag.PAUSED).toBe(0);
  const { address } = killed.at;
  expect(await status(killed.node.data('write', { address, data: word(3n) }))).toBe(Status.Ok);
  killed.at.thread.end();
  expect(killed.step.isVerified).toBe(false);
});
