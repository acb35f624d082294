import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { MARKS_OFFSET } from '../../disk/slots.js';
import type { Peer } from '../../fabric/link.js';
import { sleep } from '../../runtime/clock.js';
import { SimulatedWorld } from '../../runtime/simulated/world.js';
import { REGION_BYTES } from '../../wire/limits.js';
import {
  type CallType,
  MessageType,
  MoveState,
  type Reply,
  type Request,
} from '../../wire/messages.js';
import { AttachedThread } from '../testing/attached-thread.js';
import type { WorldParts } from '../testing/harness.js';
import {
  BASE,
  Harness,
  type HarnessOptions,
  NONCE,
  PAGE,
  SPACE,
  type TestWorld,
} from '../testing/harness.js';
import type { Step } from '../testing/one-sided-thread.js';
import { give, hold, TAKE, take, tryTake } from '../testing/slab-calls.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const start = (options = {}) => new Harness({ makeWorld, ...options }).start();
const bytes = (...values: number[]) => Uint8Array.from(values);
const EPOCH = 100;
const MOVE = { space: SPACE, region: 2, epoch: EPOCH, more: PAGE };

/** A node as it is seen from the other one: its world moves on while it is asked. */
function peerOf(node: Harness, lost: (type: number) => 'request' | 'reply' | undefined): Peer {
  // One after the other, as over one connection.
  let last: Promise<unknown> = Promise.resolve();
  return {
    call(type: CallType, request: never) {
      const reply = last.then(() => answer(type, request));
      last = reply;
      return reply;
    },
    close: () => undefined,
  } as unknown as Peer;

  async function answer(type: CallType, request: never) {
    const away = { status: Status.OutcomeUnknown, reason: 'no answer came' };
    const fate = lost(type);
    if (fate === 'request') return away as never;
    const reply = (await node.call(type, request)) as Reply<CallType>;
    return (fate === 'reply' ? away : reply) as never;
  }
}

/** A source with a region of its own, 2, and a target that holds another region of the space. */
async function pair(
  lost: (type: number) => 'request' | 'reply' | undefined = () => undefined,
  options: Partial<HarnessOptions> = {},
) {
  const [source, target] = [await start(options), await start({ ...options, seed: 2 })];
  const grant = { space: SPACE, region: 2, epoch: 9, pageBytes: PAGE, memoryId: 99 };
  await source.call(MessageType.GrantRegion, grant);
  source.node.reachNodes(() => peerOf(target, lost));
  return { source, target };
}

const ORDER = { ...MOVE, held: 9, id: 'node-2', address: 'tcp://b:1', memoryId: 98 };

async function progressOf(node: Harness) {
  const reply = await node.call(MessageType.MoveProgress, MOVE);
  if (reply.status !== Status.Ok) throw new Error('no progress');
  return reply;
}

/** The other world goes on, while no time passes in this one. */
async function others(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(node: Harness, state: number): Promise<void> {
  for (let i = 0; i < 20_000; i++) {
    if ((await progressOf(node)).state === state) return;
    await others();
    await node.world.run({ forMs: 0.1 });
  }
  throw new Error(`it is ${JSON.stringify(await progressOf(node))}`);
}

test('a region goes with all that is in it, and its old holder says where it is', async () => {
  const { source, target } = await pair();
  const at = await source.alloc(3, { region: 2 });
  const begun = await source.begun(1, { region: 2, nonce: 77 });
  await source.call(MessageType.Protect, { space: SPACE, rights: 1, address: at, bytes: PAGE });
  await source.data('write', { address: at + PAGE + 8, data: bytes(1, 2, 3) });
  expect(await source.call(MessageType.MoveOut, ORDER)).toEqual({ status: Status.Ok });
  await until(source, MoveState.GONE);
  expect((await progressOf(target)).state).toBe(MoveState.HELD);
  expect((await target.data('read', { address: at + PAGE + 8, bytes: 3 })).bytes).toEqual(
    bytes(1, 2, 3),
  );
  expect((await target.data('read', { address: at + 2 * PAGE, bytes: 1 })).bytes).toEqual(bytes(0));
  expect((await target.data('write', { address: at, data: bytes(1) })).status).toBe(Status.Denied);
  expect((await target.confirm(begun, 77)).status).toBe(Status.Ok);
  expect((await source.data('read', { address: at, bytes: 1 })).status).toBe(Status.Moved);
  expect((await source.free(at)).status).toBe(Status.Moved);
  const where = await source.call(MessageType.WhereIs, { space: SPACE, region: 2 });
  expect(where).toMatchObject({ id: 'node-2', address: 'tcp://b:1', memoryId: 98, epoch: EPOCH });
  expect(source.counters()).toMatchObject({ framesUsed: 0, regions: 1, regionsGiven: 1 });
  expect(target.counters()).toMatchObject({ framesUsed: 1, pagesCommitted: 4, regionsTaken: 1 });
  // Its addresses are taken at the target, and free again at the source.
  expect(await target.alloc(1, { region: 2, wish: at })).not.toBe(at);
  const late = { space: SPACE, region: 2, epoch: 9, pageBytes: PAGE, memoryId: 99 };
  expect((await source.call(MessageType.GrantRegion, late)).status).toBe(Status.Stale);
});

test('both ends remember the epoch of a move', async () => {
  const { source, target } = await pair();
  const epochs = () => [source, target].map(({ node }) => node.table.mark.nextEpoch);
  expect(epochs()).toEqual([1, 1]);
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.GONE);
  expect(epochs()).toEqual([EPOCH + 1, EPOCH + 1]);
});

test('a region with a copy of a slab stays where it is, and takes none when it goes', async () => {
  const { source } = await pair();
  await hold(source, 1);
  const of = { region: 2 };
  const address = await take(source, of);
  for (const type of [MessageType.MoveOut, MessageType.MoveOutForced] as const) {
    expect(await source.call(type, ORDER)).toMatchObject({ status: Status.Conflict });
  }
  expect(await give(source, address)).toBe(Status.Ok);
  // Not while one is being made, either.
  const taking = source.begin(MessageType.TakeSlab, { ...TAKE, ...of });
  const refused = await source.call(MessageType.MoveOut, ORDER);
  expect(refused).toMatchObject({ status: Status.Conflict });
  await source.until(() => taking() !== undefined);
  expect(taking()?.status).toBe(Status.Ok);
  expect(await give(source, address)).toBe(Status.Ok);
  expect(await source.call(MessageType.MoveOut, ORDER)).toEqual({ status: Status.Ok });
  expect((await tryTake(source, of)).status).toBe(Status.Unavailable);
  await until(source, MoveState.GONE);
  expect((await tryTake(source, of)).status).toBe(Status.Moved);
});

test('what was sent before a region was away is not executed when it is back', async () => {
  const { source } = await pair();
  const at = await source.alloc(1, { region: 2 });
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.GONE);
  const read = async (slot: number) =>
    (await source.data('read', { slot, address: at, bytes: 1 })).status;
  expect(await read(1)).toBe(Status.Moved);
  expect(await read(2)).toBe(Status.Moved);
  const back = { space: SPACE, region: 2, epoch: EPOCH + 1, pageBytes: PAGE, memoryId: 99 };
  expect((await source.call(MessageType.GrantRegion, back)).status).toBe(Status.Ok);
  // Whoever sent something before may have it executed over a new connection alone.
  for (const slot of [1, 2]) expect(await read(slot)).toBe(Status.Closed);
  await source.world.run({ forMs: 1 });
  expect(await read(1)).toBe(Status.Moved);
  expect(await read(3)).toBe(Status.NotAllocated);
  await source.data('fence', { slot: 1 });
  expect(await read(1)).toBe(Status.NotAllocated);
  // Who makes no fence is served after a while.
  expect(await read(2)).toBe(Status.Moved);
  await source.world.run({ forMs: 11_000 });
  expect(await read(2)).toBe(Status.NotAllocated);
});

test('what is called over a connection from before a region came back is not done', async () => {
  const { source } = await pair();
  const at = await source.alloc(2, { region: 2 });
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.GONE);
  const back = { space: SPACE, region: 2, epoch: EPOCH + 1, pageBytes: PAGE, memoryId: 99 };
  expect((await source.call(MessageType.GrantRegion, back)).status).toBe(Status.Ok);
  expect(await source.alloc(1, { region: 2, wish: at })).toBe(at);
  expect((await source.free(at)).status).toBe(Status.Moved);
  const protect = { space: SPACE, rights: 1, address: at, bytes: PAGE };
  expect((await source.call(MessageType.Protect, protect)).status).toBe(Status.Moved);
  expect(await source.data('write', { address: at, data: bytes(1) })).toMatchObject({
    status: Status.Closed,
  });
  await source.world.run({ forMs: 1 });
  expect((await source.data('write', { address: at, data: bytes(1) })).status).toBe(Status.Ok);
  expect((await source.free(at)).status).toBe(Status.Ok);
});

test('what is written while it moves comes along; freed, protected and new pages too', async () => {
  const { source, target } = await pair();
  const at = await source.alloc(4, { region: 2 });
  for (let page = 0; page < 4; page++) {
    await source.data('write', { address: at + page * PAGE, data: bytes(10 + page) });
  }
  const gone = await source.alloc(1, { region: 2 });
  await source.data('write', { address: gone, data: bytes(66) });
  await source.call(MessageType.MoveOut, ORDER);
  await source.free(gone);
  const again = await source.alloc(1, { region: 2, wish: gone });
  const done: number[] = [];
  for (let i = 0; i < 50; i++) {
    const written = await source.data('write', { address: at + 8 * i, data: bytes(i + 1) });
    if (written.status !== Status.Ok) break;
    done.push(i);
    await others();
  }
  expect(done.length).toBeGreaterThan(0);
  await until(source, MoveState.GONE);
  expect((await target.data('read', { address: at + 3 * PAGE, bytes: 1 })).bytes[0]).toBe(13);
  for (const i of done) {
    expect((await target.data('read', { address: at + 8 * i, bytes: 1 })).bytes[0]).toBe(i + 1);
  }
  if (again === gone) {
    expect((await target.data('read', { address: gone, bytes: 1 })).bytes[0]).toBe(0);
  }
});

test('a target without room refuses, and everything stays as it was', async () => {
  const { source, target } = await pair();
  const all = await target.alloc(16);
  for (let page = 0; page < 15; page++) {
    await target.data('write', { address: all + page * PAGE, data: bytes(1) });
  }
  const at = await source.alloc(3, { region: 2 });
  for (let page = 0; page < 3; page++) {
    await source.data('write', { address: at + page * PAGE, data: bytes(5) });
  }
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.CANCELLED);
  expect((await progressOf(source)).why).toBe(Status.NoSpace);
  expect((await source.data('write', { address: at, data: bytes(6) })).status).toBe(Status.Ok);
  expect((await progressOf(target)).state).toBe(MoveState.NEVER);
  expect(target.counters()).toMatchObject({ framesUsed: 15, framesPromised: 0, regions: 1 });
});

test.each(['request', 'reply'] as const)(
  'the %s of a piece is lost: no doubt is left',
  async (what) => {
    const { source, target } = await pair((type) => {
      return type === MessageType.MovePages ? what : undefined;
    });
    const at = await source.alloc(1, { region: 2 });
    await source.data('write', { address: at, data: bytes(7) });
    await source.call(MessageType.MoveOut, ORDER);
    await until(source, MoveState.CANCELLED);
    // The call may have been executed; what becomes of the region is known.
    expect(await progressOf(source)).toMatchObject({ why: Status.Unavailable });
    expect((await source.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(7));
    expect((await progressOf(target)).state).toBe(MoveState.NEVER);
  },
);

test.each(['request', 'reply'] as const)('the %s of the take is lost', async (what) => {
  let isLost = false;
  const { source, target } = await pair((type) => {
    if (type !== MessageType.MoveTake || isLost) return undefined;
    isLost = true;
    return what;
  });
  const at = await source.alloc(1, { region: 2 });
  await source.data('write', { address: at, data: bytes(7) });
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, what === 'reply' ? MoveState.GONE : MoveState.CANCELLED);
  const holder = what === 'reply' ? target : source;
  expect((await holder.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(7));
  expect((await progressOf(target)).state).toBe(
    what === 'reply' ? MoveState.HELD : MoveState.NEVER,
  );
  // What was cancelled cannot be taken any more, however late it is asked for.
  const late = await target.call(MessageType.MoveTake, MOVE);
  expect(late.status).toBe(what === 'reply' ? Status.Ok : Status.Stale);
});

test('a source that is killed in doubt stays in doubt until it is told', async () => {
  let isDeaf = true;
  const { source, target } = await pair((type) =>
    isDeaf && (type === MessageType.MoveTake || type === MessageType.MoveCancel)
      ? 'reply'
      : undefined,
  );
  const at = await source.alloc(1, { region: 2 });
  await source.data('write', { address: at, data: bytes(7) });
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.HANDING);
  await source.kill();
  isDeaf = false;
  await source.start();
  expect((await progressOf(source)).state).toBe(MoveState.HANDING);
  expect((await source.data('read', { address: at, bytes: 1 })).status).toBe(Status.Unavailable);
  expect((await source.tryAlloc(1, { region: 2 })).status).toBe(Status.Unavailable);
  const relocate = { space: SPACE, address: at, bytes: PAGE };
  const relocated = await source.call(MessageType.Relocate, relocate);
  expect(relocated.status).toBe(Status.Unavailable);
  expect((await source.data('read', { address: at, bytes: 1 })).status).toBe(Status.Unavailable);
  const grant = { space: SPACE, region: 2, epoch: 200, pageBytes: PAGE, memoryId: 99 };
  expect((await source.call(MessageType.GrantRegion, grant)).status).toBe(Status.Conflict);
  await source.call(MessageType.MoveEnd, { ...MOVE, more: 1 });
  expect((await source.data('read', { address: at, bytes: 1 })).status).toBe(Status.Moved);
  expect((await target.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(7));
});

test('a source that is killed in doubt serves on when the target never will', async () => {
  const { source } = await pair((type) =>
    type === MessageType.MoveTake || type === MessageType.MoveCancel ? 'request' : undefined,
  );
  const at = await source.alloc(1, { region: 2 });
  await source.data('write', { address: at, data: bytes(7) });
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.HANDING);
  await source.kill();
  await source.start();
  await source.call(MessageType.MoveEnd, { ...MOVE, more: 0 });
  expect((await source.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(7));
  expect((await source.tryAlloc(1, { region: 2, nonce: NONCE })).status).toBe(Status.Ok);
});

async function known(node: Harness, stops = 0) {
  const reply = await node.call(MessageType.NodeMoves, { stops });
  if (reply.status !== Status.Ok) throw new Error('no moves');
  return reply.moves;
}

test('what is copied comes to rest at its source or its target, and R stays', async () => {
  for (const who of ['source', 'target'] as const) {
    const nodes = await pair();
    const { source, target } = nodes;
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    const peer = peerOf(target, () => undefined);
    const call = async (type: CallType, request: never, ms: number) => {
      if (type === MessageType.MovePages) await held;
      return peer.call(type, request, ms);
    };
    source.node.reachNodes(() => ({ call, close: () => undefined }) as unknown as Peer);
    const at = await source.alloc(1, { region: 2 });
    await source.data('write', { address: at, data: bytes(7) });
    await source.call(MessageType.MoveOut, ORDER);
    for (let i = 0; i < 10; i++) {
      await others();
      await source.world.run({ forMs: 1 });
    }
    const { space, region, epoch } = MOVE;
    const move = { space, region, epoch };
    expect(await known(source)).toEqual([{ ...move, to: 'node-2', state: MoveState.COPYING }]);
    expect(await known(target)).toEqual([{ ...move, to: '', state: MoveState.COMING }]);
    expect(await known(nodes[who], 1)).toEqual([]);
    goOn();
    await until(source, MoveState.CANCELLED);
    expect(await known(source)).toEqual([]);
    expect((await target.call(MessageType.MoveTake, MOVE)).status).toBe(Status.Stale);
    expect(await known(target)).toEqual([]);
    expect((await source.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(7));
  }
});

test('what is in doubt stays so, is named, and hears nothing of other moves', async () => {
  let isDeaf = true;
  const { source } = await pair((type) =>
    isDeaf && (type === MessageType.MoveTake || type === MessageType.MoveCancel)
      ? 'request'
      : undefined,
  );
  const at = await source.alloc(1, { region: 2 });
  await source.data('write', { address: at, data: bytes(7) });
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.HANDING);
  const { space, region, epoch } = MOVE;
  const doubt = { space, region, state: MoveState.HANDING };
  expect(await known(source, 1)).toEqual([{ ...doubt, epoch, to: 'node-2' }]);
  for (const [other, more] of [
    [EPOCH + 1, 0],
    [EPOCH - 1, 1],
  ] as const) {
    const told = await source.call(MessageType.MoveEnd, { ...MOVE, epoch: other, more });
    expect(told.status).toBe(Status.Busy);
  }
  expect((await progressOf(source)).state).toBe(MoveState.HANDING);
  await source.kill();
  await source.start();
  expect(await known(source, 1)).toEqual([{ ...doubt, epoch: 0, to: '' }]);
  isDeaf = false;
  await source.call(MessageType.MoveEnd, { ...MOVE, epoch: 0, more: 0 });
  expect(await known(source)).toEqual([]);
  expect((await source.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(7));
});

test('who is in doubt lets go of what was moved on since under a later epoch', async () => {
  const { source } = await pair((type) =>
    type === MessageType.MoveTake || type === MessageType.MoveCancel ? 'reply' : undefined,
  );
  const at = await source.alloc(1, { region: 2 });
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.HANDING);
  const told = await source.call(MessageType.MoveEnd, { ...MOVE, epoch: EPOCH + 5, more: 1 });
  expect(told.status).toBe(Status.Ok);
  await until(source, MoveState.GONE);
  expect((await source.data('read', { address: at, bytes: 1 })).status).toBe(Status.Moved);
  expect(await known(source)).toEqual([]);
});

test('a target that is killed drops what has come, and takes nothing of it later', async () => {
  const { source, target } = await pair((type) =>
    type === MessageType.MoveTake ? 'request' : undefined,
  );
  const at = await source.alloc(2, { region: 2 });
  await source.data('write', { address: at, data: bytes(7) });
  await target.call(MessageType.MovePrepare, MOVE);
  await target.kill();
  await target.start();
  expect((await target.call(MessageType.MoveTake, MOVE)).status).toBe(Status.Stale);
  expect((await target.call(MessageType.MovePrepare, MOVE)).status).toBe(Status.Stale);
  expect(target.counters()).toMatchObject({ framesUsed: 0, framesPromised: 0, regions: 1 });
  expect((await source.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(7));
});

test('a region with a window over a part of it stays, and says why', async () => {
  const { source } = await pair();
  await source.alloc(1, { region: 2 });
  const open = { space: SPACE, rights: 3, isShared: 0, base: 2 * REGION_BYTES, bytes: PAGE };
  const none = { parent: 0, parentEpoch: 0, lease: 0, leaseEpoch: 0 };
  expect((await source.call(MessageType.OpenRange, { ...open, ...none })).status).toBe(Status.Ok);
  const refused = await source.call(MessageType.MoveOut, ORDER);
  expect(refused).toMatchObject({ status: Status.Conflict });
  expect(BASE).toBe(REGION_BYTES);
});

test('by force a window over a part of it is closed, and the region goes', async () => {
  const { source, target } = await pair();
  const at = await source.alloc(1, { region: 2 });
  const open = { space: SPACE, rights: 3, isShared: 0, base: at, bytes: PAGE };
  const none = { parent: 0, parentEpoch: 0, lease: 0, leaseEpoch: 0 };
  const window = await source.call(MessageType.OpenRange, { ...open, ...none });
  if (window.status !== Status.Ok) throw new Error('no window');
  expect(await source.call(MessageType.MoveOutForced, ORDER)).toEqual({ status: Status.Ok });
  await until(source, MoveState.GONE);
  expect((await progressOf(target)).state).toBe(MoveState.HELD);
  const { window: number, epoch } = window;
  const closed = await source.call(MessageType.RevokeWindow, { window: number, epoch });
  expect(closed.status).not.toBe(Status.Ok);
});

test('a window that is bound to a lease is named, and goes by force like any other', async () => {
  const { source, target } = await pair();
  const at = await source.alloc(1, { region: 2 });
  const [lease, epoch] = [4, 3];
  await source.call(MessageType.RaiseLease, { lease, epoch });
  const holder = 1000;
  const grant = { lease, epoch, holder, durationMs: 60_000 };
  expect((await source.call(MessageType.GrantLease, grant)).status).toBe(Status.Ok);
  const open = { space: SPACE, rights: 3, isShared: 0, base: at, bytes: PAGE };
  const bound = { parent: 0, parentEpoch: 0, lease, leaseEpoch: epoch };
  const window = await source.call(MessageType.OpenRange, { ...open, ...bound });
  if (window.status !== Status.Ok) throw new Error('no window');
  const refused = await source.call(MessageType.MoveOut, ORDER);
  expect(refused).toMatchObject({ reason: expect.stringMatching(/bound to a lease$/) as string });
  expect(await source.call(MessageType.MoveOutForced, ORDER)).toEqual({ status: Status.Ok });
  await until(source, MoveState.GONE);
  expect((await progressOf(target)).state).toBe(MoveState.HELD);
  const closed = { window: window.window, epoch: window.epoch };
  expect((await source.call(MessageType.RevokeWindow, closed)).status).not.toBe(Status.Ok);
  // The lease itself lives on: its holder opens a window where the region is now.
  expect(await source.call(MessageType.InspectLease, { lease })).toMatchObject({ holder, epoch });
});

/** A target in the source's own time that takes everything, each piece for so long. */
function slowTarget(source: Harness, ms: number) {
  const { clock, timers } = source.world.supervisor;
  const firstBytes = new Map<number, number>();
  let freeAt = 0;
  const call = async (type: CallType, request: Request<typeof MessageType.MovePages>) => {
    if (type === MessageType.MovePages) {
      firstBytes.set(request.page, request.data[0] as number);
      freeAt = Math.max(freeAt, clock.now()) + ms;
      await sleep(timers, freeAt - clock.now());
    }
    return { status: Status.Ok };
  };
  return { firstBytes, peer: { call, close: () => undefined } as unknown as Peer };
}

test('who writes to all of it quicker than it is copied is slowed, and loses nothing', async () => {
  const { source } = await pair(undefined, { frames: 256 });
  const { firstBytes, peer } = slowTarget(source, 5);
  source.node.reachNodes(() => peer);
  const pages: number[] = [];
  while (pages.length < 128) {
    const at = await source.alloc(8, { region: 2 });
    for (let page = 0; page < 8; page++) pages.push(at + page * PAGE);
  }
  for (const address of pages) await source.data('write', { address, data: bytes(1) });
  const values = await writeUntilMoved(source, pages);
  for (const [address, value] of values) {
    expect(firstBytes.get((address - 2 * REGION_BYTES) / PAGE)).toBe(value);
  }
});

/** Orders the move, and writes to every page again and again, until the region is elsewhere. */
async function writeUntilMoved(source: Harness, pages: readonly number[]) {
  const { clock } = source.world.supervisor;
  const values = new Map<number, number>();
  let longestMs = 0;
  await source.call(MessageType.MoveOut, ORDER);
  for (let i = 0; ; i++) {
    const address = pages[(i * 37) % pages.length] as number;
    const value = 1 + (i % 255);
    const began = clock.now();
    const { status } = await source.data('write', { address, data: bytes(value) });
    if (status === Status.Moved) break;
    expect(status).toBe(Status.Ok);
    values.set(address, value);
    longestMs = Math.max(longestMs, clock.now() - began);
    await source.world.run({ forMs: 1 });
  }
  // Slowed, and nobody but the last one waited for the last round.
  expect(longestMs).toBeGreaterThan(30);
  expect(longestMs).toBeLessThan(120);
  return values;
}

test('the last round waits for a step that began after the one before', async () => {
  let step: Step | undefined;
  let thread: AttachedThread | undefined;
  let at = 0;
  const { source, target } = await pair((type) => {
    if (type === MessageType.MovePages && step === undefined) {
      step = thread?.begin(at, 'write', 9n);
      expect(thread?.toTheCopy()).toBe(true);
    }
    return undefined;
  });
  at = await source.alloc(1, { region: 2 });
  await source.data('write', { address: at, data: bytes(1) });
  thread = await AttachedThread.start(source);
  const { slots } = source.openFiles();
  const marks = new Uint8Array(slots.buffer, slots.byteOffset + MARKS_OFFSET);
  thread.stores = (frame) => void (marks[frame] = 1);
  await source.call(MessageType.MoveOut, ORDER);
  for (let i = 0; i < 1_000 && (await progressOf(source)).state === MoveState.COPYING; i++) {
    await others();
    await source.world.run({ forMs: 0.1 });
    // Long after the pause began, and long before the move is given up because of it.
    if (i === 100) thread.end();
  }
  await until(source, MoveState.GONE);
  expect(step?.isVerified).toBe(true);
  expect((await target.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(9));
});

test('a stopped thread is named; by force its page goes without what it writes later', async () => {
  const { source, target } = await pair();
  const at = await source.alloc(2, { region: 2 });
  await source.data('write', { address: at, data: bytes(1) });
  const thread = await AttachedThread.start(source);
  const step = thread.begin(at, 'write', 9n);
  expect(thread.toTheCopy()).toBe(true);
  await source.call(MessageType.MoveOut, ORDER);
  await until(source, MoveState.CANCELLED);
  expect((await progressOf(source)).reason).toMatch(/^a thread of process \d+ is stopped/);
  const again = { ...ORDER, epoch: EPOCH + 1 };
  expect(await source.call(MessageType.MoveOutForced, again)).toEqual({ status: Status.Ok });
  const move = { ...MOVE, epoch: EPOCH + 1 };
  for (let i = 0; i < 20_000; i++) {
    const reply = await source.call(MessageType.MoveProgress, move);
    if (reply.status === Status.Ok && reply.state === MoveState.GONE) break;
    await others();
    await source.world.run({ forMs: 0.1 });
  }
  thread.end();
  expect(step.isVerified).toBe(false);
  expect((await target.data('read', { address: at, bytes: 1 })).bytes).toEqual(bytes(1));
});
