import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { AllocFlag, MessageType } from '../wire/messages.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { BASE, Harness, PAGE, SPACE } from './testing/harness.js';
import type { Fate } from './slow/provisional.js';
import type { TestWorld, WorldParts } from './testing/harness.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const bytes = (...values: number[]) => Uint8Array.from(values);
const start = (options = {}) => new Harness({ makeWorld, ...options }).start();

test('what was written is read again; untouched pages are zeros and take no frame', async () => {
  const node = await start();
  const at = await node.alloc(3);
  expect((await node.data('read', { address: at + PAGE, bytes: 5 })).bytes).toEqual(
    bytes(0, 0, 0, 0, 0),
  );
  expect(node.counters()['framesUsed']).toBe(0);
  expect((await node.data('write', { address: at + 100, data: bytes(1, 2, 3) })).status).toBe(
    Status.Ok,
  );
  const seen = await node.data('read', { address: at + 99, bytes: 5 });
  expect(seen.bytes).toEqual(bytes(0, 1, 2, 3, 0));
  expect(node.counters()).toMatchObject({ framesUsed: 1, pagesCommitted: 3, firstTouches: 1 });
});

test('what regions use is what was written to, asked for memory or not', async () => {
  const node = await start();
  const sizes = () => node.call(MessageType.RegionSizes, {});
  const at = await node.alloc(3);
  expect(await sizes()).toMatchObject({ bytes: 0, regions: [] });
  for (const page of [0, 2]) {
    await node.data('write', { address: at + page * PAGE, data: bytes(1) });
  }
  const region = Math.floor(at / 2 ** 30);
  const used = { space: SPACE, region, bytes: 2 * PAGE };
  expect(await sizes()).toMatchObject({ bytes: 2 * PAGE, regions: [used] });
  expect(await node.call(MessageType.RegionsToGive, {})).toMatchObject({ bytes: 0, regions: [] });
});

test('atomics: the old value, wrapping at 2^64, no frame while nothing changes', async () => {
  const node = await start();
  const address = (await node.alloc(1)) + 64;
  const cas = async (expected: bigint, desired: bigint) =>
    (await node.data('compareAndSwap', { address, operands: [expected, desired] })).value;
  expect(await cas(5n, 6n)).toBe(0n);
  expect(await cas(0n, 0n)).toBe(0n);
  expect((await node.data('fetchAndAdd', { address, operands: [0n] })).value).toBe(0n);
  expect(node.counters()['framesUsed']).toBe(0);
  expect(await cas(0n, 2n ** 64n - 1n)).toBe(0n);
  expect((await node.data('fetchAndAdd', { address, operands: [3n] })).value).toBe(2n ** 64n - 1n);
  expect((await node.data('read', { address, bytes: 8 })).bytes).toEqual(
    bytes(2, 0, 0, 0, 0, 0, 0, 0),
  );
  const odd = await node.data('fetchAndAdd', { address: address + 4, operands: [1n] });
  expect(odd.status).toBe(Status.Invalid);
});

test('what is not allowed changes nothing', async () => {
  const node = await start();
  const at = await node.alloc(2);
  const status = async (request: object, verb: 'read' | 'write' = 'write') =>
    (await node.data(verb, { address: at, data: bytes(1), ...request })).status;
  expect(await status({ address: at + 2 * PAGE })).toBe(Status.NotAllocated);
  expect(await status({ address: 0 })).toBe(Status.NotFound);
  expect(await status({ address: at + PAGE - 1, data: bytes(1, 2) })).toBe(Status.Invalid);
  expect(await status({ data: bytes() })).toBe(Status.Invalid);
  expect(await status({ epoch: 99 })).toBe(Status.Stale);
  expect(await status({ window: 1 })).toBe(Status.Stale);
  expect(await status({ window: 2 ** 32 - 1 })).toBe(Status.Stale);
  await node.windowOf(1);
  expect(await status({ window: 1 })).toBe(Status.Stale);
  await node.call(MessageType.Protect, { space: SPACE, address: at, bytes: 1, rights: 1 });
  expect(await status({})).toBe(Status.Denied);
  expect((await node.data('fetchAndAdd', { address: at, operands: [1n] })).status).toBe(
    Status.Denied,
  );
  expect(await status({ bytes: 1 }, 'read')).toBe(Status.Ok);
  await node.call(MessageType.Protect, { space: SPACE, address: at, bytes: 1, rights: 0 });
  expect(await status({ bytes: 1 }, 'read')).toBe(Status.Denied);
  expect(await status({ address: at + PAGE })).toBe(Status.Ok);
  expect(node.counters()).toMatchObject({ framesUsed: 1, refusals: { Stale: 4, Denied: 3 } });
});

test('spaces do not see each other, and neither do regions', async () => {
  const node = await start();
  const { memoryId } = node.node.table.facts;
  const other = SPACE + 1;
  for (const [space, region] of [
    [other, 1],
    [SPACE, 2],
  ] as const) {
    const grant = { space, region, epoch: 1, pageBytes: PAGE, memoryId };
    expect((await node.call(MessageType.GrantRegion, grant)).status).toBe(Status.Ok);
  }
  const places: { window?: number; epoch?: number; address: number }[] = [];
  for (const [space, region] of [
    [SPACE, 1],
    [other, 1],
    [SPACE, 2],
  ] as const) {
    const request = { space, region, bytes: PAGE, wish: region * BASE, flags: 0, nonce: 1 };
    const alloc = await node.call(MessageType.Alloc, request);
    expect(alloc).toEqual({ status: Status.Ok, address: region * BASE });
    const opened = await node.call(MessageType.OpenWindow, { space, rights: 3 });
    if (opened.status === Status.Ok) places.push({ ...opened, address: region * BASE });
  }
  for (const [i, place] of places.entries())
    await node.data('write', { ...place, data: bytes(i + 1) });
  for (const [i, place] of places.entries()) {
    expect((await node.data('read', { ...place, bytes: 1 })).bytes).toEqual(bytes(i + 1));
  }
  await node.call(MessageType.RemoveSpace, { space: SPACE });
  const left = places[1] ?? { address: 0 };
  expect((await node.data('read', { ...left, bytes: 1 })).bytes).toEqual(bytes(2));
  expect(node.counters()).toMatchObject({ regions: 1, windows: 1, pagesCommitted: 1 });
});

test('memory that is freed and not needed is given back, and reads as zeros', async () => {
  const node = await start({ frames: 16, zeroedFrames: 2 });
  const at = await node.alloc(16);
  for (let page = 0; page < 16; page++) {
    await node.data('write', { address: at + page * PAGE, data: new Uint8Array(64).fill(0xee) });
  }
  await node.free(at);
  await node.world.run({ forMs: 90_000 });
  const again = await node.alloc(16);
  for (let page = 0; page < 16; page++) {
    const address = again + page * PAGE;
    expect((await node.data('write', { address: address + 8, data: bytes(1) })).status).toBe(0);
    const seen = await node.data('read', { address, bytes: PAGE });
    expect(seen.bytes.reduce((sum, byte) => sum + byte, 0)).toBe(1);
  }
});

test('a session that may not wait is not kept, yet frames are zeroed for it', async () => {
  const node = await start({ frames: 16, zeroedFrames: 2 });
  const slot = -1;
  const at = await node.alloc(16);
  for (let page = 0; page < 16; page++) {
    const address = at + page * PAGE;
    // It is called again by itself only, and throws when somebody else does.
    const { status } = await node.data('write', { slot, address, data: bytes(page + 1) });
    expect(status).toBe(Status.Ok);
    expect((await node.data('fetchAndAdd', { slot, address, operands: [1n] })).value).toBe(
      BigInt(page + 1),
    );
  }
  expect(node.givenBack).toBeGreaterThan(0);
});

test('a window of fewer rights allows less', async () => {
  const node = await start();
  const address = await node.alloc(1);
  const reply = await node.call(MessageType.OpenWindow, { space: SPACE, rights: 1 });
  const { window, epoch } = reply.status === Status.Ok ? reply : { window: -1, epoch: 0 };
  const lesser = { window, epoch, address };
  expect((await node.data('read', { ...lesser, bytes: 1 })).status).toBe(Status.Ok);
  expect((await node.data('write', { ...lesser, data: bytes(1) })).status).toBe(Status.Denied);
  expect((await node.call(MessageType.CloseWindow, { window })).status).toBe(Status.Ok);
  expect((await node.call(MessageType.CloseWindow, { window })).status).toBe(Status.NotFound);
  expect((await node.data('read', { ...lesser, bytes: 1 })).status).toBe(Status.Stale);
  const none = await node.call(MessageType.OpenWindow, { space: SPACE + 1, rights: 1 });
  expect(none.status).toBe(Status.NotFound);
});

test('wrong calls are refused: free, confirm, inspect, protect, alloc', async () => {
  const node = await start();
  const at = await node.alloc(3);
  const on = (address: number) => ({ space: SPACE, address });
  const statusOf = async (reply: Promise<{ status: number }>) => (await reply).status;
  for (const address of [at + 1, at + PAGE, at + 3 * PAGE]) {
    expect(await statusOf(node.free(address))).toBe(Status.NotAllocated);
    expect(await statusOf(node.confirm(address))).toBe(Status.NotAllocated);
  }
  expect(await statusOf(node.inspect(at + 3 * PAGE))).toBe(Status.NotAllocated);
  expect(await statusOf(node.confirm(at, 6))).toBe(Status.NotAllocated);
  expect(await statusOf(node.free(at, 6))).toBe(Status.NotAllocated);
  expect(await statusOf(node.free(BASE - PAGE))).toBe(Status.NotFound);
  const inspected = await node.inspect(at + 2 * PAGE + 5);
  expect(inspected).toMatchObject({ base: at, bytes: 3 * PAGE, flags: 0, rights: 3 });
  const protect = (address: number, length: number) =>
    statusOf(node.call(MessageType.Protect, { ...on(address), bytes: length, rights: 1 }));
  expect(await protect(at + 1, 1)).toBe(Status.Invalid);
  expect(await protect(at, 0)).toBe(Status.Invalid);
  expect(await protect(at, 3 * PAGE + 1)).toBe(Status.NotAllocated);
  expect(await protect(at, 3 * PAGE)).toBe(Status.Ok);
  expect(await statusOf(node.tryAlloc(0))).toBe(Status.Invalid);
  expect(await statusOf(node.tryAlloc(16385))).toBe(Status.Invalid);
  expect(await statusOf(node.tryAlloc(1, { region: 2 }))).toBe(Status.NotFound);
  expect(await node.free(at)).toMatchObject({ status: Status.Ok, bytes: 3 * PAGE });
  expect(await statusOf(node.free(at))).toBe(Status.NotAllocated);
});

test('a wish is met where it is free, and else the address is another', async () => {
  const node = await start();
  expect(await node.alloc(2, { wish: BASE + 40 * PAGE })).toBe(BASE + 40 * PAGE);
  const other = await node.alloc(2, { wish: BASE + 41 * PAGE });
  expect([BASE + 40 * PAGE, BASE + 41 * PAGE]).not.toContain(other);
  await node.alloc(1, { wish: 12345 });
  expect(node.counters()['pagesCommitted']).toBe(5);
});

test('memory that is full refuses, and promises are kept', async () => {
  const node = await start({ frames: 4 });
  const at = await node.alloc(8);
  const write = async (page: number, slot = 0) => {
    const request = { slot, reservation: slot, address: at + page * PAGE, data: bytes(page) };
    return (await node.data('write', request)).status;
  };
  const reserve = (slot: number, pages: number) =>
    node.data('reserve', { slot, address: at + 4 * PAGE, bytes: pages * PAGE });
  expect((await reserve(1, 5)).status).toBe(Status.NotAllocated);
  expect(await reserve(1, 3)).toMatchObject({ status: Status.Ok, value: 3n });
  expect((await reserve(2, 2)).status).toBe(Status.NoSpace);
  expect(await write(0)).toBe(Status.Ok);
  expect(await write(1)).toBe(Status.NoSpace);
  expect(await write(4, 1)).toBe(Status.Ok);
  expect(await write(5, 1)).toBe(Status.Ok);
  expect(node.counters()).toMatchObject({ framesPromised: 1, framesUsed: 3 });
  await node.data('unreserve', { slot: 1 });
  expect(await write(1)).toBe(Status.Ok);
  expect(await write(2)).toBe(Status.NoSpace);
  expect(await write(0)).toBe(Status.Ok);
  expect((await node.tryAlloc(1)).status).toBe(Status.NoSpace);
  await node.free(at);
  const again = await node.alloc(8);
  for (let page = 0; page < 4; page++) {
    const address = again + page * PAGE;
    const seen = await node.data('read', { address, bytes: PAGE });
    expect(seen.bytes.every((byte) => byte === 0)).toBe(true);
    const end = await node.data('write', { address: address + 8, data: bytes(1) });
    expect(end.status).toBe(Status.Ok);
    const page0 = await node.data('read', { address, bytes: PAGE });
    expect(page0.bytes.reduce((sum, byte) => sum + byte, 0)).toBe(1);
  }
});

test('a reservation is used, and ended, by its own operation alone', async () => {
  const node = await start({ frames: 4 });
  const at = await node.alloc(8);
  const write = async (page: number, reservation: number, slot = 0) => {
    const request = { slot, reservation, address: at + page * PAGE, data: bytes(page) };
    return (await node.data('write', request)).status;
  };
  const reserve = (reservation: number, page: number, pages: number) =>
    node.data('reserve', { reservation, address: at + page * PAGE, bytes: pages * PAGE });
  expect((await reserve(0, 0, 1)).status).toBe(Status.Invalid);
  await reserve(7, 0, 2);
  await reserve(8, 2, 2);
  // Not by a small write or an atomic of the same client, nor by that number of another client.
  expect([await write(5, 0), await write(5, 9), await write(5, 7, 1)]).toEqual([
    Status.NoSpace,
    Status.NoSpace,
    Status.NoSpace,
  ]);
  const add = await node.data('fetchAndAdd', { address: at, reservation: 7, operands: [1n] });
  expect(add.status).toBe(Status.NoSpace);
  expect([await write(0, 7), await write(1, 7), await write(5, 7)]).toEqual([0, 0, Status.NoSpace]);
  // While the one goes on, what is left of the other is given back.
  expect(await write(2, 8)).toBe(Status.Ok);
  await reserve(7, 3, 1).then(({ status }) => expect(status).toBe(Status.NoSpace));
  await node.data('unreserve', { reservation: 7 });
  expect(node.counters()).toMatchObject({ framesPromised: 1, framesUsed: 3 });
  await node.data('unreserve', { reservation: 8 });
  expect(node.counters()['framesPromised']).toBe(0);
  expect(await write(5, 0)).toBe(Status.Ok);
});

test('a client that is forgotten gives back its promises and windows', async () => {
  const node = await start({ frames: 4 });
  const at = await node.alloc(4);
  await node.data('reserve', { slot: 100, address: at, bytes: 4 * PAGE });
  expect(node.counters()).toMatchObject({ framesPromised: 4, windows: 1 });
  node.node.dataHandler.forgotten(100, node.session(100).client);
  expect(node.counters()).toMatchObject({ framesPromised: 0, windows: 0 });
  const stale = await node.data('read', { slot: 100, address: at, bytes: 1 });
  expect(stale.status).toBe(Status.Stale);
});

test('a client that begins anew gives back its promises, and keeps its windows', async () => {
  const node = await start({ frames: 4 });
  const at = await node.alloc(4);
  await node.data('reserve', { slot: 100, address: at, bytes: 4 * PAGE });
  node.node.dataHandler.begunAnew(100);
  expect(node.counters()).toMatchObject({ framesPromised: 0, windows: 1 });
});

test('a first touch waits for the slow path while memory is left', async () => {
  const node = await start({ frames: 16, zeroedFrames: 1 });
  const at = await node.alloc(16);
  for (let page = 0; page < 16; page++) {
    const end = await node.data('write', { address: at + page * PAGE, data: bytes(1) });
    expect(end.status).toBe(Status.Ok);
  }
  expect(node.counters()['waitsForZeroedFrame']).toBeGreaterThan(0);
  expect(node.counters()['framesUsed']).toBe(16);
});

test('an allocation goes unless it is confirmed, by its nonce', async () => {
  const node = await start();
  const kept = await node.begun(2);
  const dropped = await node.begun(2, { nonce: 7 });
  const freed = await node.begun(2);
  expect((await node.confirm(kept, 7)).status).toBe(Status.NotAllocated);
  expect((await node.confirm(kept)).status).toBe(Status.Ok);
  expect((await node.confirm(kept)).status).toBe(Status.Ok);
  expect(await node.inspect(dropped)).toMatchObject({ flags: AllocFlag.PROVISIONAL });
  await node.free(freed);
  await node.world.run({ forMs: 31_000 });
  expect((await node.inspect(dropped)).status).toBe(Status.NotAllocated);
  expect(await node.inspect(kept)).toMatchObject({ flags: 0 });
  expect(node.counters()).toMatchObject({ provisionalExpired: 1, pagesCommitted: 2 });
  // Whoever comes late does not take, or free, what has the address by now.
  expect(await node.alloc(2, { wish: dropped, nonce: 8 })).toBe(dropped);
  expect((await node.confirm(dropped, 7)).status).toBe(Status.NotAllocated);
  expect((await node.free(dropped, 7)).status).toBe(Status.NotAllocated);
  expect((await node.confirm(dropped, 8)).status).toBe(Status.Ok);
  expect((await node.free(dropped, 8)).status).toBe(Status.Ok);
});

/** A node with two regions, and a piece in each: the end of the first, the start of the second. */
async function startWithPieces() {
  const node = await start();
  const { memoryId } = node.node.table.facts;
  const grant = { space: SPACE, region: 2, epoch: 1, pageBytes: PAGE, memoryId };
  await node.call(MessageType.GrantRegion, grant);
  const wish = 2 * BASE - 3 * PAGE;
  const head = await node.begun(3, { wish, flags: AllocFlag.CONTINUES });
  const tailMore = { wish: 2 * BASE, region: 2, flags: AllocFlag.CONTINUATION };
  const tail = await node.begun(2, tailMore);
  expect([head, tail]).toEqual([wish, 2 * BASE]);
  return { node, head, tail };
}

test('pieces lie against their borders, and one that cannot is refused', async () => {
  const { node } = await startWithPieces();
  const misfit = async (wish: number, region: number, flags: number) =>
    (await node.tryAlloc(2, { wish, region, flags })).status;
  const { CONTINUES, CONTINUATION } = AllocFlag;
  expect(await misfit(BASE + PAGE, 1, CONTINUATION)).toBe(Status.Invalid);
  expect(await misfit(BASE, 1, CONTINUATION)).toBe(Status.Invalid);
  expect(await misfit(2 * BASE - 3 * PAGE, 1, CONTINUES)).toBe(Status.Invalid);
  expect(await misfit(0, 1, CONTINUES)).toBe(Status.Invalid);
  expect(await misfit(2 * BASE - 2 * PAGE, 1, CONTINUES)).toBe(Status.NoSpace);
  expect(await misfit(2 * BASE, 2, CONTINUATION)).toBe(Status.NoSpace);
  expect(node.counters()['pagesCommitted']).toBe(5);
});

test('a continuation goes with its first piece', async () => {
  const { node, head, tail } = await startWithPieces();
  await node.world.run({ forMs: 29_000 });
  expect((await node.inspect(tail)).status).toBe(Status.Ok);
  await node.world.run({ forMs: 32_000 });
  expect((await node.inspect(head)).status).toBe(Status.NotAllocated);
  expect((await node.inspect(tail)).status).toBe(Status.NotAllocated);
  expect((await node.confirm(head)).status).toBe(Status.NotAllocated);
  expect(node.counters()).toMatchObject({ pagesCommitted: 0, provisionalExpired: 2 });
});

test('a continuation stays with its first piece, also over a death of the node', async () => {
  const { node, head, tail } = await startWithPieces();
  expect((await node.confirm(head)).status).toBe(Status.Ok);
  await node.kill();
  await node.start();
  const { CONTINUATION, PROVISIONAL } = AllocFlag;
  expect(await node.inspect(tail)).toMatchObject({ flags: CONTINUATION | PROVISIONAL });
  await node.world.run({ forMs: 31_000 });
  expect(await node.inspect(tail)).toMatchObject({ flags: CONTINUATION });
  expect(node.counters()).toMatchObject({ pagesCommitted: 5, provisionalExpired: 0 });
});

test('a continuation goes with a first piece that did not outlive the node', async () => {
  const { node, head, tail } = await startWithPieces();
  await node.kill();
  await node.start();
  expect((await node.inspect(head)).status).toBe(Status.NotAllocated);
  expect((await node.inspect(tail)).status).toBe(Status.Ok);
  await node.world.run({ forMs: 31_000 });
  expect(node.counters()['pagesCommitted']).toBe(0);
});

test('a continuation waits until somebody can tell of the piece at another node', async () => {
  const node = await start();
  const { memoryId } = node.node.table.facts;
  const grant = { space: SPACE, region: 3, epoch: 1, pageBytes: PAGE, memoryId };
  await node.call(MessageType.GrantRegion, grant);
  const flags = AllocFlag.CONTINUATION;
  const begin = () => node.begun(2, { wish: 3 * BASE, region: 3, flags });
  let fate: Fate = 'unknown';
  const asked: number[] = [];
  const before = (_space: number, address: number) => {
    asked.push(address);
    return Promise.resolve(fate);
  };
  const tail = await begin();
  await node.world.run({ forMs: 31_000 });
  node.node.askNeighbours({ before });
  await node.world.run({ forMs: 60_000 });
  expect(asked).toEqual([3 * BASE, 3 * BASE]);
  expect((await node.inspect(tail)).status).toBe(Status.Ok);
  fate = 'gone';
  await node.world.run({ forMs: 31_000 });
  expect((await node.inspect(tail)).status).toBe(Status.NotAllocated);
  fate = 'kept';
  await begin();
  await node.world.run({ forMs: 31_000 });
  expect(await node.inspect(tail)).toMatchObject({ flags: AllocFlag.CONTINUATION });
  await node.world.run({ forMs: 120_000 });
  expect(asked.length).toBe(4);
});

test('grants are idempotent, and never go back', async () => {
  const node = await start();
  const grant = async (epoch: number, region = 2, pageBytes = PAGE) =>
    (
      await node.call(MessageType.GrantRegion, {
        space: SPACE,
        region,
        epoch,
        pageBytes,
        memoryId: node.node.table.facts.memoryId,
      })
    ).status;
  expect([await grant(5), await grant(5), await grant(6)]).toEqual([0, 0, 0]);
  expect(await grant(5)).toBe(Status.Stale);
  expect(await grant(7, 3, 2 * PAGE)).toBe(Status.Unsupported);
  expect(await node.call(MessageType.NodeRegions, { after: 0 })).toMatchObject({
    more: 0,
    regions: [
      { space: SPACE, region: 1, epoch: 1 },
      { space: SPACE, region: 2, epoch: 6 },
    ],
  });
  for (let region = 3; region <= 64; region++) expect(await grant(1, region)).toBe(Status.Ok);
  expect(await grant(1, 65)).toBe(Status.NoSpace);
});

test('a space that is removed leaves nothing, also not of an allocation under way', async () => {
  const node = await start();
  const at = await node.alloc(3);
  await node.data('write', { address: at, data: bytes(9) });
  const late = node.begin(MessageType.Alloc, {
    space: SPACE,
    region: 1,
    bytes: PAGE,
    wish: 0,
    flags: 0,
    nonce: 1,
  });
  const removed = await node.call(MessageType.RemoveSpace, { space: SPACE });
  expect(removed.status).toBe(Status.Ok);
  await node.until(() => late() !== undefined);
  expect(late()?.status).toBe(Status.NotFound);
  expect((await node.data('read', { address: at, bytes: 1 })).status).toBe(Status.Stale);
  expect((await node.tryAlloc(1)).status).toBe(Status.NotFound);
  expect(node.counters()).toMatchObject({
    framesUsed: 0,
    pagesCommitted: 0,
    regions: 0,
    windows: 0,
  });
  expect((await node.call(MessageType.RemoveSpace, { space: SPACE })).status).toBe(Status.Ok);
});

test('an allocation under way outlives a higher epoch, and not a removal', async () => {
  const node = await start();
  const request = { space: SPACE, region: 1, bytes: 4 * PAGE, wish: 0, flags: 0, nonce: 1 };
  const grant = {
    space: SPACE,
    region: 1,
    epoch: 2,
    pageBytes: PAGE,
    memoryId: node.node.table.facts.memoryId,
  };
  const first = node.begin(MessageType.Alloc, request);
  expect((await node.call(MessageType.GrantRegion, grant)).status).toBe(Status.Ok);
  await node.until(() => first() !== undefined);
  expect(first()?.status).toBe(Status.Ok);
  const second = node.begin(MessageType.Alloc, request);
  const removed = node.begin(MessageType.RemoveSpace, { space: SPACE });
  await node.until(() => removed() !== undefined);
  expect((await node.call(MessageType.GrantRegion, grant)).status).toBe(Status.Ok);
  await node.until(() => second() !== undefined);
  expect(second()?.status).toBe(Status.NotFound);
  // Nothing has leaked in the slow path's picture either: all can be allocated.
  await node.alloc(32);
  await node.kill();
  await node.start();
  expect(node.counters()['pagesCommitted']).toBe(32);
});

test('a node that was killed goes on with its memory, under a new epoch', async () => {
  const node = await start({ frames: 8 });
  const at = await node.alloc(6);
  for (const page of [0, 2, 5]) {
    await node.data('write', { address: at + page * PAGE, data: bytes(page + 1) });
  }
  const gone = await node.alloc(2);
  await node.data('write', { address: gone, data: bytes(77) });
  await node.data('reserve', { address: at, bytes: 6 * PAGE });
  await node.begun(1);
  const old = await node.windowOf(0);
  await node.free(gone);
  await node.kill();
  await node.start();
  expect(node.counters()).toMatchObject({ framesUsed: 3, pagesCommitted: 6, framesPromised: 0 });
  const stale = await node.data('read', { epoch: old.epoch, address: at, bytes: 1 });
  expect(stale.status).toBe(Status.Stale);
  for (const page of [0, 1, 2, 3, 4, 5]) {
    const seen = await node.data('read', { address: at + page * PAGE, bytes: 1 });
    expect(seen.bytes[0]).toBe([1, 0, 3, 0, 0, 6][page]);
  }
  const fresh = await node.alloc(5);
  for (let page = 0; page < 5; page++) {
    await node.data('write', { address: fresh + page * PAGE, data: bytes(1) });
    const seen = await node.data('read', { address: fresh + page * PAGE, bytes: PAGE });
    expect(seen.bytes.reduce((sum, byte) => sum + byte, 0)).toBe(1);
  }
  const full = await node.data('write', { address: at + PAGE, data: bytes(1) });
  expect(full.status).toBe(Status.NoSpace);
});
