// Leases against a whole rack in the simulator: controller, nodes and clients are the real ones.
import { setImmediate } from 'node:timers';
import { afterEach, expect, it } from 'vitest';
import { leaseFaults } from '../leases/planted.js';
import { type SimulatedProcess, SimulatedWorld } from '../runtime/simulated/world.js';
import { Journal } from '../sim/journal.js';
import { SimulatedRack } from '../sim/rack.js';
import { ROLES, THREADS } from '../sim/roles.js';
import type { MemrackError } from './error.js';
import type { Lease } from './lease.js';
import { connectRack, type Rack } from './rack.js';

const PAGE = 64 * 1024;
const SHAPE = {
  nodes: 2,
  clients: 0,
  frames: 16,
  pageBytes: PAGE,
  heartbeatMs: 100,
  isOneSided: false,
};

class Rig {
  readonly world: SimulatedWorld;
  rack!: SimulatedRack;

  constructor(seed: number) {
    this.world = new SimulatedWorld({
      seed,
      immediate: setImmediate,
      roles: ROLES,
      threads: THREADS,
    });
    this.world.faults.enabled = false;
  }

  async start(): Promise<this> {
    this.rack = new SimulatedRack(this.world, SHAPE, new Journal());
    await this.until(() => this.rack.isComplete);
    // Every node has joined.
    await this.pass(1_000);
    return this;
  }

  async until(isSo: () => boolean, forMs = 30_000): Promise<void> {
    const end = await this.world.run({ until: isSo, forMs });
    if (end !== 'condition') throw new Error(`it did not come to that: ${end}`);
  }

  /** What the promise gives, or the error it rejects with, while time passes. */
  async of<T>(promise: Promise<T>): Promise<T> {
    let end: { value: T } | { error: unknown } | undefined;
    promise.then(
      (value) => (end = { value }),
      (error: unknown) => (end = { error }),
    );
    await this.until(() => end !== undefined);
    const known = end as unknown as { value: T } | { error: unknown };
    if ('error' in known) throw known.error;
    return known.value;
  }

  async failure(promise: Promise<unknown>): Promise<MemrackError> {
    try {
      await this.of(promise);
    } catch (error) {
      return error as MemrackError;
    }
    throw new Error('it did not fail');
  }

  async pass(ms: number): Promise<void> {
    await this.world.run({ forMs: ms });
  }

  async client(name: string): Promise<{ rack: Rack; process: SimulatedProcess }> {
    const process = this.world.program(this.world.machine(name), name);
    const rack = await this.of(
      connectRack(process.runtime, this.rack.url, { timeoutMs: 2_000, link: 'tcp' }),
    );
    return { rack, process };
  }
}

const word = (value: number): Uint8Array => Uint8Array.of(value, 0, 0, 0, 0, 0, 0, 0);

/** A lease with a window over one page, and the words of that page as they are. */
async function held(rig: Rig, rack: Rack, at = 0) {
  const space = await rig.of(rack.space('s', { create: true }));
  const page = at === 0 ? await rig.of(space.alloc(PAGE)) : at;
  const lease = await rig.of(rack.lease('l', { durationMs: 400 }));
  const window = await rig.of(lease.window(space, page, PAGE));
  return { space, page, lease, window };
}

const codeOf = (lease: Lease): string | undefined =>
  (lease.lost as { reason?: MemrackError }).reason?.code;

afterEach(() => {
  leaseFaults.leaseRenewedByController = false;
});

it('is held by one client, and by another when it was given up', async () => {
  const rig = await new Rig(1).start();
  const a = (await rig.client('a')).rack;
  const b = (await rig.client('b')).rack;
  const { lease, window, page, space } = await held(rig, a);
  await rig.of(window.write(page, word(1)));
  await rig.pass(3_000);
  expect((await rig.failure(b.lease('l', { durationMs: 400 }))).code).toBe('Conflict');
  // Once in a client as well: the two would not know of each other.
  expect((await rig.failure(a.lease('l'))).code).toBe('Conflict');
  const waiting = b.lease('l', { durationMs: 400, waitMs: 5_000 });
  await rig.pass(100);
  await rig.of(lease.release());
  const second = await rig.of(waiting);
  expect(second.epoch).toBeGreaterThan(lease.epoch);
  expect(lease.lost.aborted).toBe(false);
  expect((await rig.failure(window.write(page, word(2)))).code).toBe('Closed');
  expect((await rig.of(space.read(page, 1)))[0]).toBe(1);
  const again = await held(rig, (await rig.client('c')).rack, page).catch((error) => error.code);
  expect(again).toBe('Conflict');
});

it('takes away what a stopped holder had under way', async () => {
  const rig = await new Rig(2).start();
  const a = await rig.client('a');
  const b = (await rig.client('b')).rack;
  const { lease, window, page } = await held(rig, a.rack);
  await rig.of(window.write(page, word(1)));
  rig.world.pause(a.process);
  const writing = window.write(page, word(9));
  writing.catch(() => undefined);
  const next = await rig.of(b.lease('l', { durationMs: 400, waitMs: 5_000 }));
  const space = await rig.of(b.space('s'));
  const own = await rig.of(next.window(space, page, PAGE));
  await rig.of(own.write(page, word(2)));
  rig.world.resume(a.process);
  expect((await rig.failure(writing)).code).toBe('Stale');
  await rig.until(() => lease.lost.aborted);
  expect(codeOf(lease)).toBe('Stale');
  expect((await rig.of(own.read(page, 1)))[0]).toBe(2);
  expect((await rig.failure(lease.release())).code).toBe('Stale');
});

async function withoutController(rig: Rig): Promise<boolean> {
  const { rack } = await rig.client('a');
  const { lease, window, page } = await held(rig, rack);
  rig.world.crash(rig.rack.controller.machine);
  rig.rack.controller.isVacant = true;
  for (let i = 1; i <= 20 && !lease.lost.aborted; i++) {
    await rig.pass(200);
    await rig.of(window.write(page, word(i)));
  }
  return lease.lost.aborted;
}

it('goes on without the controller', async () => {
  expect(await withoutController(await new Rig(3).start())).toBe(false);
});

it('with the planted bug is lost without the controller', async () => {
  leaseFaults.leaseRenewedByController = true;
  expect(await withoutController(await new Rig(3).start())).toBe(true);
});

it('outlives the process of a node, whose window it opens anew', async () => {
  const rig = await new Rig(4).start();
  const { rack } = await rig.client('a');
  const { lease, window, page } = await held(rig, rack);
  await rig.of(window.write(page, word(1)));
  for (const index of [0, 1]) {
    const process = rig.rack.nodeProcess(index);
    if (process !== undefined) rig.world.kill(process);
  }
  const codes: string[] = [];
  for (let i = 0; i < 20; i++) {
    const ended = await rig.of(window.write(page, word(7))).then(
      () => 'Ok',
      (e) => e.code,
    );
    codes.push(ended as string);
    if (ended === 'Ok') break;
  }
  expect(codes.at(-1)).toBe('Ok');
  await rig.pass(2_000);
  expect(lease.lost.aborted).toBe(false);
  await rig.of(lease.release());
});

it('is over the nodes that were named, and windows are only there', async () => {
  const rig = await new Rig(5).start();
  const { rack } = await rig.client('a');
  const space = await rig.of(rack.space('s', { create: true }));
  const page = await rig.of(space.alloc(PAGE));
  const lease = await rig.of(rack.lease('of-space', { space, durationMs: 400 }));
  await rig.of(lease.window(space, page, PAGE));
  const nodes = (await rig.of(rack.nodes())).map(({ id }) => id);
  const others: string[] = [];
  for (const id of nodes) {
    const one = await rig.of(rack.lease(`of-${id}`, { nodes: [id], durationMs: 400 }));
    const outcome = await rig.of(one.window(space, page, PAGE)).then(
      () => 'Ok',
      (e) => e.code,
    );
    others.push(outcome as string);
    expect(one.lost.aborted).toBe(false);
  }
  expect(others.sort()).toEqual(['Invalid', 'Ok']);
  expect((await rig.failure(rack.lease('x', { nodes: ['nobody'] }))).code).toBe('NotFound');
  const read = await rig.of(lease.window(space, page, PAGE, 'r'));
  expect((await rig.failure(read.write(page, word(1)))).code).toBe('Denied');
  expect((await rig.failure(read.read(page + PAGE, 8))).code).toBe('Invalid');
});

it('is extended to a node, which is renewed and fenced from then on', async () => {
  const rig = await new Rig(8).start();
  const a = (await rig.client('a')).rack;
  const b = (await rig.client('b')).rack;
  const space = await rig.of(a.space('s', { create: true }));
  const page = await rig.of(space.alloc(PAGE));
  const nodes = (await rig.of(a.nodes())).map(({ id }) => id);
  const probe = await rig.of(a.lease('p', { nodes: nodes.slice(0, 1), durationMs: 400 }));
  const [there, here] = (await rig.of(probe.window(space, page, PAGE)).then(
    () => nodes,
    () => [...nodes].reverse(),
  )) as [string, string];
  const taking = { nodes: [here], durationMs: 400 };
  const lease = await rig.of(a.lease('l', taking));
  expect((await rig.failure(lease.window(space, page, PAGE))).code).toBe('Invalid');
  expect((await rig.failure(lease.extend('a b'))).code).toBe('Invalid');
  expect((await rig.failure(lease.extend('none'))).code).toBe('NotFound');
  await rig.of(lease.extend(there));
  await rig.of(lease.extend(there));
  const window = await rig.of(lease.window(space, page, PAGE));
  await rig.of(window.write(page, word(1)));
  await rig.pass(3_000);
  expect(lease.lost.aborted).toBe(false);
  // Of a lease that is no device's nobody knows what lies there.
  expect((await rig.failure(lease.shrink(there))).code).toBe('Unsupported');
  expect((await rig.failure(b.lease(lease.name, taking))).code).toBe('Conflict');
  await rig.pass(3_000);
  await rig.of(window.write(page, word(2)));
  await rig.of(lease.release());
  expect((await rig.failure(lease.extend(there))).code).toBe('Closed');
  const next = await rig.of(b.lease(lease.name, taking));
  expect(next.epoch).toBeGreaterThan(lease.epoch);
  await rig.of(a.close());
  await rig.of(b.close());
});

it('is not waited for when that was aborted, and given up by a rack that closes', async () => {
  const rig = await new Rig(6).start();
  const a = (await rig.client('a')).rack;
  const b = (await rig.client('b')).rack;
  const lease = await rig.of(a.lease('l', { durationMs: 60_000 }));
  const abort = new AbortController();
  const waiting = b.lease('l', { waitMs: 60_000, signal: abort.signal });
  await rig.pass(300);
  abort.abort(new Error('enough'));
  expect((await rig.failure(waiting)).code).toBe('Timeout');
  expect((await rig.failure(b.lease('l', { signal: abort.signal }))).code).toBe('Timeout');
  for (const wrong of [{ durationMs: 1 }, { waitMs: -1 }, { nodes: [] }]) {
    expect((await rig.failure(b.lease('l', wrong))).code).toBe('Invalid');
  }
  // A client that ends gives up what it holds.
  await rig.of(a.close());
  expect(lease.lost.aborted).toBe(true);
  await rig.of(lease.release());
  expect((await rig.failure(a.lease('l'))).code).toBe('Closed');
  const taken = await rig.of(b.lease('l', { durationMs: 400, waitMs: 2_000 }));
  expect(taken.epoch).toBeGreaterThan(0);
});

it('stays with whoever has it when the signal of its acquiring is aborted later', async () => {
  const rig = await new Rig(9).start();
  const a = (await rig.client('a')).rack;
  const b = (await rig.client('b')).rack;
  const controller = new AbortController();
  const taking = async (): Promise<Lease> => {
    const lease = await a.lease('l', { durationMs: 400, signal: controller.signal });
    controller.abort();
    return lease;
  };
  const lease = await rig.of(taking());
  await rig.pass(1_000);
  expect((await rig.failure(b.lease('l', { durationMs: 400 }))).code).toBe('Conflict');
  const waiting = new AbortController();
  const other = b.lease('l', { durationMs: 400, waitMs: 60_000, signal: waiting.signal });
  await rig.pass(100);
  waiting.abort();
  expect((await rig.failure(other)).code).toBe('Timeout');
  await rig.of(lease.release());
});

it('is not told to who closes the rack while acquiring it', async () => {
  const rig = await new Rig(10).start();
  const codes: string[] = [];
  for (const ms of [0.2, 0.8, 1.2, 1.5]) {
    const { rack } = await rig.client(`client-${ms}`);
    // What is held already is given up first, which takes a while.
    await rig.of(rack.lease(`held-${ms}`, { durationMs: 400 }));
    let isTold = false;
    const taking = rack.lease(`l-${ms}`, { durationMs: 400 }).finally(() => (isTold = true));
    taking.catch(() => undefined);
    await rig.pass(ms);
    if (isTold) continue;
    const closing = rack.close();
    codes.push((await rig.failure(taking)).code);
    await rig.of(closing);
  }
  expect(codes.length).toBeGreaterThan(2);
  expect(new Set(codes)).toEqual(new Set(['Closed']));
});

it('refuses what it cannot use before it asks anybody', async () => {
  const rig = await new Rig(11).start();
  const { rack } = await rig.client('a');
  await rig.of((await rig.of(rack.lease('other', null as never))).release());
  const wrong = [
    { durationMs: Object.create(null) },
    { signal: {} },
    { signal: null },
    { waitMs: '5' },
    { durationMs: '1000' },
    { nodes: [] },
  ];
  for (const options of wrong) {
    expect((await rig.failure(rack.lease('l', options as never))).code).toBe('Invalid');
  }
});

it('has windows that refuse what makes no sense, and is given up once', async () => {
  const rig = await new Rig(12).start();
  const { rack } = await rig.client('a');
  const { lease, window, page } = await held(rig, rack);
  const wrong = [
    () => window.read(page, undefined as never),
    () => window.read(BigInt(page) as never, 8),
    () => window.read(page - 1, 1),
    () => window.write(page, null as never),
    () => window.readMany(undefined as never),
    () => window.readMany([undefined as never]),
    () => window.writeMany([{ at: page, from: undefined as never }]),
    () => window.writeMany([{ at: page + PAGE, from: word(1) }]),
  ];
  for (const call of wrong) expect((await rig.failure(call())).code).toBe('Invalid');
  const first = lease.release();
  expect(lease.release()).toBe(first);
  await rig.of(first);
});
