import { describe, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { GiB, KiB } from '../base/units.js';
import { MessageType } from '../wire/messages.js';
import { Connections } from './connections.js';
import { Control } from './control.js';
import { MemrackError } from './error.js';
import { RemoteSpace } from './space.js';
import { FakeRack, settle } from './testing/fake-rack.js';
import type { RangeWindow } from './window.js';
import { decodeToken, type WindowFacts } from './window-token.js';

const PAGE = 64 * KiB;

function client(rack: FakeRack) {
  const { runtime } = rack.world;
  return new RemoteSpace({
    runtime,
    control: new Control(runtime, rack.peer(), 'memrack://fake'),
    connections: new Connections(rack),
    name: 'test',
    id: 7,
    pageBytes: PAGE,
    timeoutMs: 10_000,
  });
}

async function openSpace(bytes = 4 * PAGE, nodes = 1) {
  const rack = new FakeRack(nodes);
  const space = client(rack);
  const at = await space.alloc(bytes);
  return { rack, space, at, node: rack.node(0) };
}

/** As `rack.window` does it, in another process. */
function handed(rack: FakeRack, window: RangeWindow): RangeWindow {
  return client(rack).windowOf(decodeToken(window.token) as WindowFacts);
}

const bytesOf = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: MemrackError) => error,
  );
const codeOf = async (promise: Promise<unknown>) => (await failureOf(promise))?.code;

describe('a window', () => {
  test('reads and writes by the addresses of its space, also where its token went', async () => {
    const { rack, space, at } = await openSpace();
    const window = await space.window(at + 100, 2 * PAGE, 'rw');
    await window.write(at + 100, bytesOf(2 * PAGE));
    expect(await space.read(at + 100, 2 * PAGE)).toEqual(bytesOf(2 * PAGE));
    const other = handed(rack, window);
    expect(other).toMatchObject({ at: at + 100, bytes: 2 * PAGE, rights: 'rw' });
    expect(await other.read(at + 107, 8)).toEqual(bytesOf(2 * PAGE).subarray(7, 15));
    await other.write(at + 104, new Uint8Array(8));
    expect(await other.fetchAndAdd(at + 104, 5n)).toBe(0n);
    expect(await window.compareAndSwap(at + 104, 5n, 6n)).toBe(5n);
    const into = new Uint8Array(8);
    await other.readMany([{ at: at + 104, into }]);
    expect(into[0]).toBe(6);
    await other.writeMany([{ at: at + 104, from: bytesOf(8, 9) }]);
    expect(await space.read(at + 104, 8)).toEqual(bytesOf(8, 9));
  });

  test('covers several regions, with one window at each node', async () => {
    const { rack, space, at } = await openSpace(2 * GiB + PAGE, 3);
    const border = Math.ceil((at + 1) / GiB) * GiB;
    const window = await space.window(border - 8, GiB + 16, 'rw');
    expect((decodeToken(window.token) as WindowFacts).parts.length).toBe(3);
    await window.write(border - 8, bytesOf(16));
    const other = handed(rack, window);
    expect(await other.read(border - 8, 16)).toEqual(bytesOf(16));
    const narrow = await other.narrow(border, 8, 'r');
    expect((decodeToken(narrow.token) as WindowFacts).parts.length).toBe(1);
    expect(await narrow.read(border, 8)).toEqual(bytesOf(16).subarray(8));
    await window.revoke();
    expect(rack.nodes.map(({ windows }) => windows.size)).toEqual([0, 0, 0]);
    expect(await codeOf(other.read(border + GiB, 1))).toBe('Stale');
    expect(await codeOf(narrow.read(border, 8))).toBe('Stale');
  });

  test('is bound by its range and its rights before anybody is asked', async () => {
    const { space, at, node } = await openSpace();
    const window = await space.window(at + 8, 16, 'r');
    node.log.length = 0;
    expect(await codeOf(window.read(at + 7, 8))).toBe('Invalid');
    expect(await codeOf(window.read(at + 17, 8))).toBe('Invalid');
    expect(await codeOf(window.read(at + 8, Infinity))).toBe('Invalid');
    expect(await codeOf(window.read(at + 8, 'x' as never))).toBe('Invalid');
    expect(await codeOf(window.read(Number.NaN, 8))).toBe('Invalid');
    expect(await codeOf(window.read(BigInt(at + 8) as never, 8))).toBe('Invalid');
    expect(await codeOf(window.write(at + 8, bytesOf(8)))).toBe('Denied');
    expect(await codeOf(window.write(at + 8, undefined as never))).toBe('Denied');
    expect(await codeOf(window.fetchAndAdd(at + 8, 1n))).toBe('Denied');
    expect(await codeOf(window.compareAndSwap(at + 8, 0n, 1n))).toBe('Denied');
    const into = new Uint8Array(8);
    const reads = [
      { at: at + 8, into },
      { at: at + 24, into },
    ];
    expect(await codeOf(window.readMany(reads))).toBe('Invalid');
    expect(await codeOf(window.readMany([undefined as never]))).toBe('Invalid');
    expect(await codeOf(window.readMany(undefined as never))).toBe('Invalid');
    expect(await codeOf(window.writeMany([{ at: at + 8, from: into }]))).toBe('Denied');
    expect(node.log).toEqual([]);
  });

  test('is refused where its arguments are wrong', async () => {
    const { space, at } = await openSpace();
    expect(await codeOf(space.window(0, 8, 'r'))).toBe('Invalid');
    expect(await codeOf(space.window(at, 0, 'r'))).toBe('Invalid');
    expect(await codeOf(space.window(at, 8, 'w' as never))).toBe('Invalid');
    expect(await codeOf(space.window(at, 2000 * GiB, 'r'))).toBe('Invalid');
    expect(await codeOf(space.window(at, 2 ** 53, 'r'))).toBe('Invalid');
    const window = await space.window(at + 8, 64, 'r');
    expect(await codeOf(window.narrow(at, 8, 'r'))).toBe('Invalid');
    expect(await codeOf(window.narrow(at + 8, 8, 'rw'))).toBe('Denied');
    expect(await codeOf(window.narrow(at + 8, 8, 'none' as never))).toBe('Invalid');
    expect((await window.narrow(at + 16, 8)).rights).toBe('r');
  });
});

describe('after it was revoked', () => {
  test('a window is Stale for everybody, and so is what was narrowed from it', async () => {
    const { rack, space, at } = await openSpace();
    const window = await space.window(at, PAGE, 'rw');
    const narrow = await window.narrow(at, 8, 'rw');
    const other = handed(rack, narrow);
    await other.write(at, bytesOf(8));
    await window.revoke();
    await window.revoke();
    for (const each of [window, narrow, other]) {
      const error = await failureOf(each.read(at, 8));
      expect(error).toMatchObject({ code: 'Stale', outcome: 'notApplied' });
      expect(error?.message).toContain('revoked');
      expect(await codeOf(each.write(at, bytesOf(8)))).toBe('Stale');
      expect(await codeOf(each.narrow(at, 8))).toBe('Stale');
    }
    expect(await space.read(at, 8)).toEqual(bytesOf(8));
  });

  test('what was started through it before is done', async () => {
    const { space, at } = await openSpace();
    const window = await space.window(at, 4 * PAGE, 'rw');
    // Of several pieces, which go after a reservation.
    const written = window.write(at, bytesOf(3 * PAGE, 3));
    const revoked = window.revoke();
    expect(await codeOf(window.read(at, 8))).toBe('Stale');
    await Promise.all([written, revoked]);
    expect(await space.read(at, 3 * PAGE)).toEqual(bytesOf(3 * PAGE, 3));
  });

  test('of a narrowed one alone the others stay', async () => {
    const { space, at } = await openSpace();
    const window = await space.window(at, PAGE, 'rw');
    const narrow = await window.narrow(at, 8);
    await narrow.revoke();
    expect(await codeOf(narrow.read(at, 8))).toBe('Stale');
    expect(await codeOf(window.read(at, 8))).toBe(undefined);
  });

  test('a restart of its node does the same, and it is not opened again', async () => {
    const { rack, space, at, node } = await openSpace();
    const window = await space.window(at, PAGE, 'rw');
    node.windows.closeAll();
    expect(await codeOf(window.read(at, 8))).toBe('Stale');
    expect(await codeOf(window.read(at, 8))).toBe('Stale');
    // It is closed, which is what was asked for.
    await window.revoke();
    expect(rack.node(0).windows.size).toBe(0);
  });

  test('it is told as done only when the node says so', async () => {
    const { rack, space, at, node } = await openSpace();
    const window = await space.window(at, PAGE, 'rw');
    node.order(`call ${MessageType.RevokeWindow}`, Status.Busy);
    let isRevoked = false;
    const revoked = window.revoke().then(() => (isRevoked = true));
    await settle();
    expect(isRevoked).toBe(false);
    await rack.world.pass(100);
    await revoked;
    expect(node.windows.size).toBe(0);
  });

  test('who may not revoke it has changed nothing', async () => {
    const { rack, space, at, node } = await openSpace();
    const window = await space.window(at, PAGE, 'rw');
    const other = handed(rack, window);
    node.order(`call ${MessageType.RevokeWindow}`, Status.Denied);
    const error = await failureOf(other.revoke());
    expect(error).toMatchObject({ code: 'Denied', outcome: 'notApplied' });
    expect(await codeOf(other.read(at, 8))).toBe(undefined);
  });

  test('one whose node did not answer may be open, and can be revoked again', async () => {
    const { space, at, node } = await openSpace();
    const window = await space.window(at, PAGE, 'rw');
    node.order(`call ${MessageType.RevokeWindow}`, Status.Timeout);
    const error = await failureOf(window.revoke());
    expect(error).toMatchObject({ code: 'Timeout', outcome: 'unknown' });
    expect(node.windows.size).toBe(1);
    expect((await failureOf(space.release()))?.failures).toEqual([error]);
    await window.revoke();
    expect(node.windows.size).toBe(0);
  });
});

describe('a window that is opened at some of its nodes only', () => {
  test('is revoked there, and fails', async () => {
    const { rack, space, at } = await openSpace(2 * GiB, 2);
    const second = Math.floor(at / GiB) + 1;
    const node = rack.node(rack.owners.get(second)?.node ?? 0);
    node.order(`call ${MessageType.OpenRange}`, Status.Busy);
    const error = await failureOf(space.window(at, 2 * GiB, 'r'));
    expect(error?.code).toBe('Busy');
    expect(rack.nodes.map(({ windows }) => windows.size)).toEqual([0, 0]);
  });
});

describe('data that is gone', () => {
  test('is DataLost, not Stale; and what is left of its window needs no revoking', async () => {
    const { rack, space, at, node } = await openSpace();
    const window = await space.window(at, PAGE, 'rw');
    node.windows.closeAll();
    for (const owner of rack.owners.values()) owner.lost = 1;
    expect(await codeOf(window.read(at, 8))).toBe('DataLost');
    await window.revoke();
  });
});

test('keeps its order with operations of its space', async () => {
  const { space, at } = await openSpace();
  const window = await space.window(at, 4 * PAGE, 'rw');
  const large = space.write(at, bytesOf(3 * PAGE, 3));
  const read = window.read(at + 2 * PAGE, 8);
  void window.write(at + PAGE, bytesOf(2 * PAGE, 5));
  const after = space.read(at + 2 * PAGE, 8);
  await Promise.all([large, read, after]);
  expect(await read).toEqual(bytesOf(3 * PAGE, 3).subarray(2 * PAGE, 2 * PAGE + 8));
  expect(await after).toEqual(bytesOf(2 * PAGE, 5).subarray(PAGE, PAGE + 8));
});

test('what it failed at is told to the barriers of its space, and closed with it', async () => {
  const { space, at, node } = await openSpace();
  const window = await space.window(at, PAGE, 'rw');
  node.order('write', Status.Denied);
  const error = await failureOf(window.write(at, bytesOf(8)));
  expect((await failureOf(space.release()))?.failures).toEqual([error]);
  space.close();
  expect(await codeOf(window.read(at, 8))).toBe('Closed');
  expect(await codeOf(window.revoke())).toBe('Closed');
});
