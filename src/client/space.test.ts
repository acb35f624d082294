import { describe, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { GiB, KiB, MiB } from '../base/units.js';
import { AllocFlag, MessageType } from '../wire/messages.js';
import { Connections } from './connections.js';
import { Control } from './control.js';
import { FAILURES_MAX, MemrackError } from './error.js';
import { RemoteSpace } from './space.js';
import { FakeRack, settle } from './testing/fake-rack.js';

const PAGE = 64 * KiB;
const ALLOC = `call ${MessageType.Alloc}`;
const CONFIRM = `call ${MessageType.ConfirmAlloc}`;
const FREE = `call ${MessageType.Free}`;
const INSPECT = `call ${MessageType.Inspect}`;
const PROTECT = `call ${MessageType.Protect}`;

function openSpace(nodes = 1, rack = new FakeRack(nodes)) {
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
  return { rack, space, node: rack.node(0) };
}

function lose(rack: FakeRack, region: number): void {
  const owner = rack.owners.get(region);
  if (owner !== undefined) owner.lost = 1;
  // Whoever asks the node is told that it does not hold the region.
  const node = rack.node(owner?.node ?? 0);
  node.lostRegions.add(region);
}

/** What a promise has come to so far. */
function watch<T>(promise: Promise<T>) {
  const seen: { value?: T; error?: MemrackError; isSettled: boolean } = { isSettled: false };
  promise.then(
    (value) => Object.assign(seen, { value, isSettled: true }),
    (error: MemrackError) => Object.assign(seen, { error, isSettled: true }),
  );
  return seen;
}

const code = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason as MemrackError,
  );
  return error?.code;
};

const bytesOf = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

describe('reading and writing', () => {
  test('gives back what was written, over pages and pieces', async () => {
    const { space } = openSpace(2);
    const at = await space.alloc(4 * PAGE);
    const bytes = bytesOf(3 * PAGE + 100);
    await space.write(at + 13, bytes);
    expect(await space.read(at + 13, bytes.length)).toEqual(bytes);
    const target = new Uint8Array(20);
    expect(await space.read(at + 13, target)).toBe(target);
    expect(target).toEqual(bytes.subarray(0, 20));
    expect(await space.read(at, 13)).toEqual(new Uint8Array(13));
  });

  test('cuts at pages and at 64 KiB, never within an aligned word', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(4 * PAGE);
    node.log.length = 0;
    await space.write(at + 3, new Uint8Array(2 * PAGE));
    const sent = node.log.filter((line) => line.startsWith('write'));
    expect(sent).toEqual([`write ${at + 3}`, `write ${at + PAGE}`, `write ${at + 2 * PAGE}`]);
  });

  test('has many with one completion', async () => {
    const { space } = openSpace(2);
    const at = await space.alloc(4 * PAGE);
    const writes = [0, 1, 2].map((i) => ({ at: at + i * PAGE + 5, from: bytesOf(9, i) }));
    await space.writeMany(writes);
    const reads = writes.map((write) => ({ at: write.at, into: new Uint8Array(9) }));
    await space.readMany(reads);
    for (const [i, read] of reads.entries()) expect(read.into).toEqual(bytesOf(9, i));
    await space.readMany([]);
  });

  test('has atomics over the whole range of a word', async () => {
    const { space } = openSpace();
    const at = await space.alloc(PAGE);
    const most = 2n ** 64n - 1n;
    expect(await space.compareAndSwap(at, 0n, most)).toBe(0n);
    expect(await space.compareAndSwap(at, 5n, 6n)).toBe(most);
    expect(await space.fetchAndAdd(at, 2n)).toBe(most);
    expect(await space.fetchAndAdd(at, -3n)).toBe(1n);
    expect(await space.fetchAndAdd(at, 0n)).toBe(most - 1n);
  });
});

test('an array that its owner gave away fails its own operation alone', async () => {
  const { space: first, rack, node } = openSpace();
  const at = await first.alloc(4 * PAGE);
  // This one does not know the region yet, so everything waits.
  const { space } = openSpace(1, rack);
  const given = bytesOf(2 * PAGE);
  const target = new Uint8Array(8);
  const results = [
    code(space.write(at, given)),
    code(space.read(at + 3 * PAGE, target)),
    code(space.write(at + 3 * PAGE, bytesOf(8))),
  ];
  structuredClone(0, { transfer: [given.buffer, target.buffer] });
  expect(await Promise.all(results)).toEqual(['Invalid', 'Invalid', undefined]);
  expect(node.reservations.size).toBe(0);
  await expect(space.fence()).rejects.toThrow('until the promise settles');
});

describe('arguments', () => {
  test('are refused with a code and a remedy before anything is sent', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(PAGE);
    node.log.length = 0;
    const wrong: Promise<unknown>[] = [];
    for (const value of [0, -1, 1.5, NaN, Infinity, 2 ** 53, '7', null, undefined, {}]) {
      wrong.push(space.read(value as number, 8), space.alloc(value as number));
      wrong.push(space.free(value as number), space.write(value as number, new Uint8Array(1)));
      wrong.push(space.fetchAndAdd(value as number, 1n), space.read(at, value as number));
    }
    wrong.push(space.read(2 ** 53 - 4, 8), space.write(at, new Uint8Array(0)));
    wrong.push(space.write(at, [1, 2] as unknown as Uint8Array), space.fetchAndAdd(at + 4, 1n));
    wrong.push(space.compareAndSwap(at, -1n, 0n), space.compareAndSwap(at, 0n, 2n ** 64n));
    wrong.push(space.compareAndSwap(at, 0 as unknown as bigint, 0n));
    wrong.push(space.protect(at + 1, PAGE, 'r'), space.protect(at, PAGE, 'x' as 'r'));
    wrong.push(space.alloc(PAGE, { at: PAGE + 1 }), space.read(at, 2 ** 52));
    for (const promise of wrong) {
      const error = await promise.catch((reason: unknown) => reason as MemrackError);
      expect(error).toBeInstanceOf(MemrackError);
      expect((error as MemrackError).code).toBe('Invalid');
      expect((error as MemrackError).message).toMatch(/\(Invalid\): \w+/);
    }
    expect(node.log).toEqual([]);
  });
});

describe('order', () => {
  test('a write that waits for its region is not overtaken by one on the same page', async () => {
    const first = openSpace();
    const at = await first.space.alloc(2 * PAGE);
    // Another client: it knows no region yet.
    const { rack, node } = first;
    const { runtime } = rack.world;
    const parts = { runtime, connections: new Connections(rack), name: 'test', id: 7 };
    const control = new Control(runtime, rack.peer(), 'memrack://fake');
    const space = new RemoteSpace({ ...parts, control, pageBytes: PAGE, timeoutMs: 10_000 });
    node.log.length = 0;
    void space.write(at, bytesOf(8, 1));
    void space.write(at, bytesOf(8, 2));
    const read = space.read(at, 8);
    expect(await read).toEqual(bytesOf(8, 2));
    expect(node.log).toEqual([`write ${at}`, `write ${at}`, `read ${at}`]);
  });

  test('nothing on its pages passes a write that is reserving; others do', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(4 * PAGE);
    await space.read(at, 1);
    node.isPrompt = false;
    node.log.length = 0;
    void space.write(at, bytesOf(2 * PAGE));
    void space.write(at + PAGE, bytesOf(8, 9));
    const other = watch(space.write(at + 3 * PAGE, bytesOf(8)));
    await settle();
    node.execute(2);
    await settle();
    expect(node.log).toEqual([`reserve ${at}`, `write ${at + 3 * PAGE}`]);
    node.isPrompt = true;
    node.execute();
    await space.release();
    expect(other.isSettled).toBe(true);
    const writes = node.log.filter((line) => line !== `write ${at + 3 * PAGE}`);
    expect(writes.filter((line) => line.startsWith('write'))).toEqual([
      `write ${at}`,
      `write ${at + PAGE}`,
      `write ${at + PAGE}`,
    ]);
    expect(node.reservations.size).toBe(0);
  });

  test('what is cut names its reservation, and each ends as soon as its write has', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(8 * PAGE);
    await space.read(at, 1);
    node.paid.length = 0;
    node.isPrompt = false;
    const first = watch(space.write(at, bytesOf(2 * PAGE)));
    const second = space.writeMany([
      { at: at + 3 * PAGE, from: bytesOf(2 * PAGE) },
      { at: at + 6 * PAGE, from: bytesOf(8) },
    ]);
    await settle();
    node.execute(2);
    expect([...node.reservations]).toEqual([1, 2]);
    await settle();
    node.execute(2);
    await settle();
    expect(first.isSettled).toBe(true);
    node.isPrompt = true;
    node.order('unreserve', Status.Busy);
    node.execute();
    await second;
    expect(node.paid).toEqual([1, 1, 2, 2, 0]);
    // The end of the first one could not be sent, and was sent again behind the second one's.
    await settle();
    expect(node.reservations.size).toBe(0);
  });

  test('free and protect keep their place', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(2 * PAGE);
    const other = await space.alloc(PAGE);
    await space.read(at, 1);
    node.log.length = 0;
    void space.write(at, bytesOf(8));
    void space.protect(at, PAGE, 'r');
    const read = space.read(at, 8);
    void space.free(at);
    const late = watch(space.read(at, 8));
    const elsewhere = space.read(other, 8);
    await read;
    await elsewhere;
    await space.release();
    expect(late.isSettled).toBe(true);
    expect(node.log.filter((line) => !line.endsWith(` ${other}`))).toEqual([
      `write ${at}`,
      `${PROTECT} ${at}`,
      `read ${at}`,
      `${INSPECT} ${at}`,
      `${FREE} ${at}`,
      `read ${at}`,
    ]);
  });

  test('protects again what a stopped process holds up, and says what may be changed', async () => {
    const { rack, space, node } = openSpace();
    const at = await space.alloc(PAGE);
    const failing = (promise: Promise<unknown>) => promise.catch((error: MemrackError) => error);
    node.order(PROTECT, Status.Busy);
    const first = watch(space.protect(at, PAGE, 'r'));
    await rack.world.pass(100);
    expect([first.isSettled, first.error]).toEqual([true, undefined]);
    node.order(PROTECT, Status.Busy);
    node.order(PROTECT, Status.Unavailable);
    const second = failing(space.protect(at, PAGE, 'r'));
    await rack.world.pass(100);
    expect(await second).toMatchObject({ code: 'Unavailable', outcome: 'unknown' });
    // The region behind it does not exist, but by then the first one is changed.
    const third = failing(space.protect(at, 2 * GiB, 'r'));
    await rack.world.pass(100);
    expect(await third).toMatchObject({ code: 'NotAllocated', outcome: 'unknown' });
    node.order(PROTECT, Status.Unavailable);
    const fourth = failing(space.protect(at, PAGE, 'r'));
    await rack.world.pass(100);
    expect(await fourth).toMatchObject({ code: 'Unavailable', outcome: 'notApplied' });
  });

  test('keeps order through thousands that wait', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(64 * PAGE);
    await space.read(at, 1);
    node.isPrompt = false;
    void space.write(at, bytesOf(2 * PAGE));
    for (let i = 0; i < 3000; i++) void space.fetchAndAdd(at, 1n);
    const sums: bigint[] = [];
    for (let i = 0; i < 3; i++) void space.fetchAndAdd(at, 1n).then((old) => sums.push(old));
    await settle();
    node.isPrompt = true;
    node.execute();
    await space.release();
    expect((sums[2] as bigint) - (sums[0] as bigint)).toBe(2n);
  });
});

describe('fence and release', () => {
  test('wait for all before them and end in order', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(PAGE);
    await space.read(at, 1);
    node.isPrompt = false;
    const ended: string[] = [];
    void space.write(at, bytesOf(8));
    void space.release().then(() => ended.push('first'));
    void space.write(at, bytesOf(8));
    void space.fence().then(() => ended.push('second'));
    void space.release().then(() => ended.push('third'));
    node.execute(1);
    await settle();
    expect(ended).toEqual(['first']);
    node.execute();
    await settle();
    expect(ended).toEqual(['first', 'second', 'third']);
  });

  test('reject once with all failures, and a call nobody awaits ends nothing', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(PAGE);
    await space.read(at, 1);
    node.order('write', Status.Denied);
    node.order('write', Status.NotAllocated);
    void space.write(at, bytesOf(8));
    void space.write(at, bytesOf(8));
    void space.read(-1, 8);
    void space.free(at + PAGE);
    const failure = watch(space.release());
    await settle();
    const codes = failure.error?.failures?.map((error) => error.code);
    expect(codes?.sort()).toEqual(['Denied', 'Invalid', 'NotAllocated', 'NotAllocated']);
    expect(failure.error?.failuresOmitted).toBe(0);
    await space.release();
  });

  test('failures beyond what is kept are counted, and can be printed as JSON', async () => {
    const { space } = openSpace();
    for (let i = 0; i < FAILURES_MAX + 7; i++) void space.read(-1, 8);
    const failure = watch(space.release());
    await settle();
    const { error } = failure;
    expect(error?.failures).toHaveLength(FAILURES_MAX);
    expect(error?.failuresOmitted).toBe(7);
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ code: 'Invalid' });
  });
});

describe('allocation', () => {
  test('rounds up, honours a wish, and gives another address where it cannot', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(1);
    expect(node.allocations.get(at)?.bytes).toBe(PAGE);
    expect(await space.alloc(PAGE, { at: at + 5 * PAGE })).toBe(at + 5 * PAGE);
    expect(await space.alloc(PAGE, { at })).not.toBe(at);
    await space.alloc(PAGE, { at: 2 ** 40 });
  });

  test('takes several regions, and frees all of them', async () => {
    const { space, rack } = openSpace(3);
    const at = await space.alloc(2 * GiB + 5 * MiB);
    const pieces = rack.nodes.flatMap((node) => [...node.allocations.values()]);
    expect(pieces.map(({ bytes }) => bytes).sort((a, b) => a - b)).toEqual([5 * MiB, GiB, GiB]);
    expect(pieces.every(({ flags }) => (flags & 4) === 0)).toBe(true);
    const border = at + GiB;
    await space.write(border - 3, bytesOf(6));
    expect(await space.read(border - 3, 6)).toEqual(bytesOf(6));
    await space.free(at);
    expect(rack.nodes.every((node) => node.allocations.size === 0)).toBe(true);
  });

  test('leaves nothing half done', async () => {
    const { space, rack } = openSpace(3);
    rack.node(1).order(ALLOC, Status.NoSpace);
    expect(await code(space.alloc(3 * GiB))).toBe('NoSpace');
    rack.node(2).order(ALLOC, Status.OutcomeUnknown, 'unknown');
    expect(await code(space.alloc(3 * GiB))).toBe('Unavailable');
    expect(rack.nodes.every((node) => node.allocations.size === 0)).toBe(true);
  });

  test('the confirmation of the first piece decides over all', async () => {
    const { space, rack } = openSpace(3);
    // Regions 1, 2, 3 are at the nodes 1, 2, 0.
    for (const tail of [0, 2]) rack.node(tail).order(CONFIRM, Status.Timeout);
    expect(await space.alloc(3 * GiB)).toBe(GiB);
    const sizes = () => rack.nodes.map((node) => node.allocations.size);
    expect(sizes()).toEqual([1, 1, 1]);
    // Regions 4, 5, 6: the first piece goes in time, and the others with it.
    rack.node(1).order(CONFIRM, Status.NotAllocated);
    expect(await code(space.alloc(3 * GiB))).toBe('Unavailable');
    expect(sizes()).toEqual([1, 2, 1]);
  });

  test('while it is not known whether the first piece is confirmed the others stay', async () => {
    const { space, rack } = openSpace(3);
    rack.node(1).order(CONFIRM, Status.Timeout, 'unknown');
    rack.node(1).order(FREE, Status.OutcomeUnknown, 'unknown');
    expect(await code(space.alloc(3 * GiB))).toBe('Unavailable');
    // The others ask the first one: they may not go before it.
    expect([0, 2].map((tail) => rack.node(tail).allocations.size)).toEqual([1, 1]);
    await rack.world.pass(1_000);
    expect(rack.node(1).allocations.size).toBe(0);
  });

  test('an address that was not confirmed in time is not given out', async () => {
    const { space, node } = openSpace();
    node.isPrompt = false;
    const seen = watch(space.alloc(PAGE));
    await settle();
    node.execute();
    await settle();
    // The client stands still here, and somebody else gets the place.
    node.expire();
    const other = { address: GiB, bytes: PAGE, nonce: 99, flags: AllocFlag.PROVISIONAL };
    node.allocations.set(GiB, other);
    node.isPrompt = true;
    node.execute();
    await settle();
    expect(seen.value).toBe(GiB + PAGE);
    expect(node.allocations.get(GiB)).toEqual(other);
    expect(node.allocations.get(GiB + PAGE)?.flags).toBe(0);
  });

  test('what may have been confirmed is given back, however long it takes', async () => {
    const { space, rack, node } = openSpace();
    node.order(CONFIRM, Status.Timeout, 'unknown');
    for (let i = 0; i < 5; i++) node.order(FREE, Status.Timeout, 'unknown');
    expect(await code(space.alloc(PAGE))).toBe('Unavailable');
    const [made] = node.allocations.values();
    // It was confirmed after all.
    if (made !== undefined) made.flags = 0;
    const other = await space.alloc(PAGE);
    await rack.world.pass(10_000);
    expect([...node.allocations.keys()]).toEqual([other]);
  });

  test('too much that waits to be given back is Busy', async () => {
    const { space, rack, node } = openSpace();
    for (let i = 0; i < 1024; i++) {
      node.order(CONFIRM, Status.Timeout, 'unknown');
      node.order(FREE, Status.Timeout, 'unknown');
      await space.alloc(PAGE).catch(() => {});
    }
    expect(await code(space.alloc(PAGE))).toBe('Busy');
    await rack.world.pass(5_000);
    await space.alloc(PAGE);
  });

  test('an allocation of unknown outcome is made elsewhere', async () => {
    const { space, rack } = openSpace(2);
    const first = await space.alloc(PAGE);
    const owner = rack.nodes.find((one) => one.allocations.has(first));
    owner?.order(ALLOC, Status.OutcomeUnknown, 'unknown');
    expect(await space.alloc(PAGE)).toBeGreaterThan(0);
  });

  test('large ones take regions that have become empty before new ones', async () => {
    const { space, rack } = openSpace(2);
    const small = await space.alloc(PAGE);
    const first = await space.alloc(3 * GiB);
    const second = await space.alloc(2 * GiB + PAGE);
    const regions = rack.owners.size;
    await space.free(first);
    expect(await space.alloc(2 * GiB + PAGE)).toBe(first);
    await space.free(second);
    expect(await space.alloc(3 * GiB)).toBe(second);
    await space.free(small);
    expect(rack.owners.size).toBe(regions);
    await space.alloc(2 * GiB);
    expect(rack.owners.size).toBe(regions + 2);
  });

  test('frees what is left of an allocation of which a part is lost', async () => {
    for (const lost of [0, 1, 2]) {
      const { space, rack } = openSpace(3);
      const at = await space.alloc(3 * GiB);
      const other = await space.alloc(2 * GiB);
      const region = at / GiB + lost;
      lose(rack, region);
      if (lost > 0) expect(await code(space.free(region * GiB))).toBe('NotAllocated');
      await space.free(at);
      const left = rack.nodes.flatMap((node) => [...node.allocations.keys()]);
      expect(left.filter((address) => address !== region * GiB).sort()).toEqual([
        other,
        other + GiB,
      ]);
      expect(await code(space.free(at))).toBe(lost === 0 ? 'DataLost' : 'NotAllocated');
    }
  });

  test('never takes the part of another allocation for one behind what is lost', async () => {
    const { space, rack } = openSpace(3);
    const at = await space.alloc(2 * GiB);
    const other = await space.alloc(2 * GiB);
    expect(other).toBe(at + 2 * GiB);
    lose(rack, at / GiB + 1);
    lose(rack, other / GiB);
    await space.free(at);
    const left = rack.nodes.flatMap((node) => [...node.allocations.keys()]);
    expect(left).toContain(other + GiB);
    await space.free(other);
    expect(await code(space.free(other))).toBe('DataLost');
  });

  test('waits for fresh news of the nodes before it says NoSpace', async () => {
    const { space, rack } = openSpace(2);
    rack.fullUntil = rack.world.now + 1500;
    const first = watch(space.alloc(PAGE));
    const large = watch(space.alloc(2 * GiB));
    await rack.world.pass(2000);
    expect(first.value).toBeGreaterThan(0);
    expect(large.value).toBeGreaterThan(0);
    rack.fullUntil = Infinity;
    const never = watch(space.alloc(2 * GiB));
    await rack.world.pass(3000);
    expect(never.error?.code).toBe('NoSpace');
  });

  test('refuses to free what is no start of an allocation', async () => {
    const { space } = openSpace(2);
    const at = await space.alloc(2 * GiB);
    expect(await code(space.free(at + GiB))).toBe('NotAllocated');
    expect(await code(space.free(2 ** 45))).toBe('NotAllocated');
    await space.free(at);
    expect(await code(space.free(at))).toBe('NotAllocated');
  });

  test('tries the next node where one is full, and says NoSpace when all are', async () => {
    const { space, rack } = openSpace(2);
    rack.node(0).order(ALLOC, Status.NoSpace);
    rack.node(1).order(ALLOC, Status.NoSpace);
    await space.alloc(PAGE);
    for (const node of rack.nodes) {
      for (let i = 0; i < 20; i++) node.order(ALLOC, Status.NoSpace);
    }
    expect(await code(space.alloc(PAGE))).toBe('NoSpace');
  });
});

describe('failures', () => {
  test('a write cut in the middle of the rack is told as unknown', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(4 * PAGE);
    node.order('write', Status.Ok);
    node.order('write', Status.NoSpace);
    const failure = watch(space.write(at, bytesOf(3 * PAGE)));
    await settle();
    expect(failure.error).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
    expect((failure.error?.cause as MemrackError).code).toBe('NoSpace');
    expect(node.reservations.size).toBe(0);
  });

  test('NoSpace of a reservation means that nothing was written', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(4 * PAGE);
    node.order('reserve', Status.NoSpace);
    const failure = watch(space.write(at, bytesOf(3 * PAGE)));
    await settle();
    expect(failure.error).toMatchObject({ code: 'NoSpace', outcome: 'notApplied' });
    expect(node.memory.size).toBe(0);
    await space.write(at, bytesOf(3 * PAGE));
  });

  test('a lost region is DataLost; one whose node is away Unavailable, in time', async () => {
    const { space, rack, node } = openSpace();
    const at = await space.alloc(PAGE);
    await space.read(at, 1);
    node.order('read', Status.Unavailable);
    expect(await code(space.read(at, 8))).toBe('Unavailable');
    for (const owner of rack.owners.values()) owner.lost = 1;
    node.order('read', Status.NotFound);
    expect(await code(space.read(at, 8))).toBe('DataLost');
    expect(await code(space.read(at, 8))).toBe('DataLost');
    expect(await code(space.write(at, bytesOf(3 * PAGE)))).toBe('DataLost');
  });

  test('what is asked of a space that was removed is NotFound at once', async () => {
    const { rack, space, node } = openSpace();
    const at = await space.alloc(PAGE);
    await space.read(at, 1);
    rack.isRemoved = true;
    lose(rack, at / GiB);
    node.order('read', Status.NotFound);
    expect(await code(space.read(at, 8))).toBe('NotFound');
    // Its window is dropped: now the node is asked for one, and says that it holds nothing.
    node.order('openWindow', Status.NotFound);
    const late = watch(space.write(at, bytesOf(8)));
    await rack.world.pass(100);
    expect(late.error).toMatchObject({ code: 'NotFound', outcome: 'notApplied' });
    expect(await code(space.read(2 ** 40, 8))).toBe('NotFound');
    expect(await code(space.free(at))).toBe('NotFound');
    node.order(ALLOC, Status.NotFound);
    expect(await code(space.alloc(PAGE))).toBe('NotFound');
  });

  test('without the controller known regions serve, others wait until the deadline', async () => {
    const { space, rack } = openSpace();
    const at = await space.alloc(PAGE);
    await space.read(at, 1);
    rack.isControllerAway = true;
    await space.write(at, bytesOf(8));
    const unknown = watch(space.read(at + 100 * GiB, 8));
    await rack.world.pass(9_000);
    expect(unknown.isSettled).toBe(false);
    await rack.world.pass(2_000);
    expect(unknown.error?.code).toBe('Unavailable');
  });

  test('who waits for memory that is gone learns it before the deadline', async () => {
    const { space, rack, node } = openSpace(2);
    const at = await space.alloc(PAGE);
    await space.read(at, 1);
    const owner = rack.nodes.find((each) => each.allocations.size > 0) ?? node;
    owner.isPrompt = false;
    const waiting = watch(space.read(at, 8));
    await rack.world.pass(1_500);
    expect(waiting.isSettled).toBe(false);
    for (const place of rack.owners.values()) place.lost = 1;
    for (let i = 0; i < 3; i++) await rack.world.pass(1_000);
    expect(waiting.error?.code).toBe('DataLost');
  });

  test('too many at once are Busy, and later ones work', async () => {
    const { space, node } = openSpace();
    const at = await space.alloc(PAGE);
    await space.read(at, 1);
    node.isPrompt = false;
    const codes = new Set<string | undefined>();
    for (let i = 0; i < 70_000; i++) {
      void space.fetchAndAdd(at, 1n).catch((error: MemrackError) => codes.add(error.code));
    }
    await settle();
    expect([...codes]).toEqual(['Busy']);
    node.isPrompt = true;
    node.execute();
    await space.release().catch(() => {});
    expect(await space.fetchAndAdd(at, 0n)).toBe(65_536n);
  });

  test('close ends everything that waits', async () => {
    const { space, rack, node } = openSpace();
    const at = await space.alloc(4 * PAGE);
    await space.read(at, 1);
    node.isPrompt = false;
    const all = [
      watch(space.write(at, bytesOf(3 * PAGE))),
      watch(space.read(at, 8)),
      watch(space.free(at)),
    ];
    space.close();
    rack.node(0).close();
    await settle();
    for (const each of all) expect(each.error?.code).toBe('Closed');
    expect(await code(space.read(at, 8))).toBe('Closed');
    expect(await code(space.alloc(8))).toBe('Closed');
  });

  test('what does not exist yet says so', async () => {
    const { space } = openSpace();
    expect(await code(space.flush(PAGE, 8))).toBe('Unsupported');
  });
});

describe('garbage', () => {
  test('is freed where it is all that was allocated, and of that no barrier hears', async () => {
    const { space, node } = openSpace();
    const large = await space.alloc(3 * PAGE);
    const small = await space.alloc(100);
    expect(await code(space.freeGarbage(large, 2 * PAGE, 1000))).toBe('NotAllocated');
    expect(node.allocations.size).toBe(2);
    expect(await code(space.freeGarbage(large + PAGE, PAGE, 1000))).toBe('NotAllocated');
    await space.freeGarbage(large, 2 * PAGE + 1, 1000);
    await space.freeGarbage(small, 8, 1000);
    expect(node.allocations.size).toBe(0);
    await space.release();
    space.close();
    expect(await code(space.freeGarbage(small, 8, 1000))).toBe('Closed');
  });
});
