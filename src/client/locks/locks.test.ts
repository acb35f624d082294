import { describe, expect, test } from 'vitest';
import { KiB } from '../../base/units.js';
import { Connections } from '../connections.js';
import { Control } from '../control.js';
import type { MemrackError } from '../error.js';
import { RemoteSpace } from '../space.js';
import { FakeRack, settle } from '../testing/fake-rack.js';
import { type Due, Agenda } from './agenda.js';
import { Grant } from './grant.js';
import type { HeldLock } from './lock.js';
import { LockWorld, NO_FAULTS, Owner } from './testing/lock-world.js';
import {
  codeOfMs,
  epochOf,
  freed,
  heldWord,
  isHeld,
  isLockWord,
  LEASE_MS_MAX,
  LEASE_MS_MIN,
  leaseMsOf,
  msOfCode,
  nextBeat,
  nextEpoch,
  STARVING,
  withoutFlag,
} from './word.js';

const PAGE = 64 * KiB;

async function openSpace() {
  const rack = new FakeRack(1);
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
  const at = await space.alloc(PAGE);
  const node = rack.node(0);
  const word = async () => new DataView((await space.read(at, 8)).buffer).getBigUint64(0, true);
  return { rack, world: rack.world, space, at, node, word };
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: MemrackError) => error.code,
  );

describe('the word', () => {
  test('holds what it is given, and tells itself from other data', () => {
    const held = heldWord(2 ** 32 - 1, 2 ** 14 - 1, 255, 511);
    expect([epochOf(held), isHeld(held), isLockWord(held)]).toEqual([2 ** 32 - 1, true, true]);
    expect(epochOf(freed(held | STARVING))).toBe(2 ** 32 - 1);
    expect(isHeld(freed(held))).toBe(false);
    expect(nextBeat(held)).toBe(heldWord(2 ** 32 - 1, 2 ** 14 - 1, 255, 0));
    expect(withoutFlag(held | STARVING)).toBe(held);
    expect(nextEpoch(2 ** 32 - 1)).toBe(1);
    for (const data of [1n, 42n, 2n ** 32n - 1n, (5n << 32n) | 2n, (5n << 32n) | (1n << 8n)]) {
      expect(isLockWord(data)).toBe(false);
    }
    expect([0n, 1n << 32n, (1n << 32n) | STARVING].every(isLockWord)).toBe(true);
  });

  test('says every duration rounded up, by 6 percent at most', () => {
    for (let ms = LEASE_MS_MIN; ms <= LEASE_MS_MAX; ms = ms * 1.013 + 0.1) {
      const said = msOfCode(codeOfMs(ms));
      expect(said).toBeGreaterThanOrEqual(ms);
      expect(said).toBeLessThanOrEqual(ms * 1.0625);
      expect(leaseMsOf(heldWord(1, 1, codeOfMs(ms), 0))).toBe(said);
    }
  });
});

describe('the agenda', () => {
  test('tells everybody in order, with one timer', () => {
    const world = new LockWorld(1, NO_FAULTS);
    const { clock, timers } = new Owner(world, 1).parts;
    let armed = 0;
    const counting = {
      ...timers,
      after: (ms: number, run: () => void) => (armed++, timers.after(ms, run)),
    };
    const agenda = new Agenda(clock, counting);
    const told: number[] = [];
    const entries: Due[] = Array.from({ length: 200 }, (_, i) => ({
      dueAt: Infinity,
      place: -1,
      due: () => void told.push(i),
      close: () => void told.push(-i),
    }));
    const now = clock.now();
    for (const [i, entry] of entries.entries()) agenda.put(entry, now + ((i * 37) % 200) + 1);
    for (const [i, entry] of entries.entries()) if (i % 2 === 0) agenda.remove(entry);
    expect(agenda.size).toBe(100);
    expect(armed).toBeLessThan(3);
    for (let again = 0; again < 1000; again++) {
      agenda.put(entries[0] as Due, now + 10_000);
      agenda.remove(entries[0] as Due);
    }
    expect(armed).toBeLessThan(3);
    return world
      .run(() => agenda.size === 0, 1000)
      .then(() => {
        const due = told.map((i) => (i * 37) % 200);
        expect(due).toEqual([...due].sort((a, b) => a - b));
        expect(told.length).toBe(100);
      });
  });
});

describe('a lock', () => {
  test('is taken and given back by one atomic each, under rising epochs', async () => {
    const { space, at, node, word } = await openSpace();
    const first = await space.lock(at).acquire();
    expect(first.epoch).toBe(1);
    expect(isHeld(await word())).toBe(true);
    await first.release();
    expect(await word()).toBe(1n << 32n);
    node.log.length = 0;
    const second = await space.lock(at).acquire({ waitMs: 0 });
    await second.release();
    expect(second.epoch).toBe(2);
    expect(second.lost.aborted).toBe(false);
    expect(node.log.length).toBe(2);
  });

  test('is nobody else’s meanwhile, not the same client’s either', async () => {
    const { space, at, world } = await openSpace();
    const held = await space.lock(at).acquire();
    expect(await code(space.lock(at).acquire({ waitMs: 0 }))).toBe('Busy');
    const late = code(space.lock(at).acquire({ waitMs: 500 }));
    await world.pass(600);
    expect(await late).toBe('Timeout');
    let next: HeldLock | undefined;
    void space
      .lock(at)
      .acquire()
      .then((one) => (next = one));
    await world.pass(200);
    expect(next).toBeUndefined();
    await held.release();
    await world.pass(100);
    expect(next?.epoch).toBe(2);
  });

  test('is renewed as long as it is held, and not afterwards', async () => {
    const { space, at, world, node } = await openSpace();
    const held = await space.lock(at).acquire({ leaseMs: 300 });
    await world.pass(5_000);
    expect(held.lost.aborted).toBe(false);
    await held.release();
    node.log.length = 0;
    await world.pass(5_000);
    expect(node.log).toEqual([]);
  });

  test('passes on after its lease, and the former holder is told before', async () => {
    const { space, at, world } = await openSpace();
    const held = await space.lock(at).acquire({ leaseMs: 200 });
    const word = heldWord(2, 77, codeOfMs(200), 0);
    // As if somebody else had it: this holder learns it when it renews.
    const now = new DataView((await space.read(at, 8)).buffer).getBigUint64(0, true);
    await space.compareAndSwap(at, now, word);
    let reason: unknown;
    held.lost.addEventListener('abort', () => (reason = 'told'));
    await world.pass(80);
    expect(held.lost.aborted).toBe(true);
    expect(reason).toBe('told');
    expect(await code(held.release())).toBe('Stale');
    // And that one never renews: after its lease the next one has it.
    const next = space.lock(at).acquire({ waitMs: 1_000 });
    await world.pass(400);
    expect((await next).epoch).toBe(3);
  });

  test('nobody need wait for one that fails', async () => {
    const { world, space, at } = await openSpace();
    const unheard: unknown[] = [];
    const listen = (reason: unknown): void => void unheard.push(reason);
    process.on('unhandledRejection', listen);
    const held = await space.lock(at).acquire({ leaseMs: 100 });
    void space.lock(at).acquire({ waitMs: 0 });
    void space.lock(at).acquire({ signal: AbortSignal.abort() });
    await world.pass(1);
    await space.write(at, new Uint8Array(8));
    void held.release();
    await world.pass(200);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', listen);
    expect(held.lost.aborted).toBe(true);
    expect(unheard).toEqual([]);
  });

  test('refuses what is no lock, and leaves it as it is', async () => {
    const { space, at, word } = await openSpace();
    await space.compareAndSwap(at, 0n, 4711n);
    expect(await code(space.lock(at).acquire())).toBe('Corrupt');
    expect(await word()).toBe(4711n);
    for (const wrong of [at + 4, 0, -8, 1.5, '8']) {
      expect(() => space.lock(wrong as number)).toThrow(/multiple of 8|not an address/);
    }
    for (const leaseMs of [9, 600_001, NaN, '10', null]) {
      expect(await code(space.lock(at).acquire({ leaseMs: leaseMs as number }))).toBe('Invalid');
    }
    for (const waitMs of [-1, NaN, '10']) {
      expect(await code(space.lock(at).acquire({ waitMs: waitMs as number }))).toBe('Invalid');
    }
    const signal = {} as AbortSignal;
    expect(await code(space.lock(at).acquire({ signal }))).toBe('Invalid');
  });

  test('holds nothing after it was aborted, also when its answer comes later', async () => {
    const { space, at, word, node, world } = await openSpace();
    node.isPrompt = false;
    const abort = new AbortController();
    const acquired = space.lock(at).acquire({ signal: abort.signal });
    await settle();
    abort.abort(new Error('enough'));
    await expect(acquired).rejects.toMatchObject({ code: 'Timeout', cause: { message: 'enough' } });
    node.isPrompt = true;
    node.execute(100);
    await world.pass(100);
    expect(isHeld(await word())).toBe(false);
    expect(await code(space.lock(at).acquire({ signal: AbortSignal.abort() }))).toBe('Timeout');
  });

  test('is released after the operations that were started before', async () => {
    const { space, at, node, world } = await openSpace();
    const held = await space.lock(at).acquire();
    node.isPrompt = false;
    const writing = space.write(at + 4096, new Uint8Array(8));
    const released = held.release();
    let isReleased = false;
    void released.then(() => (isReleased = true));
    await world.pass(50);
    expect(isReleased).toBe(false);
    node.isPrompt = true;
    node.execute(100);
    await writing;
    await world.pass(50);
    expect(isReleased).toBe(true);
    // Its failures are told by the next fence, and by nothing before.
    await space.fence();
  });

  test('ends with its client', async () => {
    const { space, at } = await openSpace();
    const held = await space.lock(at).acquire();
    const waiting = code(space.lock(at).acquire());
    await settle();
    space.close();
    expect(await waiting).toBe('Closed');
    expect(held.lost.aborted).toBe(true);
    expect(await code(held.release())).toBe('Closed');
  });
});

describe('a grant', () => {
  test('counts its lease from before the change, not from its answer', async () => {
    const world = new LockWorld(1, NO_FAULTS);
    const owner = new Owner(world, 1);
    const word = heldWord(1, 5, codeOfMs(100), 0);
    world.words.set(64, word);
    const startedAt = owner.parts.clock.now();
    const grant = new Grant(owner.parts, 64, word, startedAt, () => undefined);
    // The renewal is made at once; its answer takes 60 ms, and then nothing goes through.
    const { memory } = owner.parts;
    const { swap } = memory;
    let renewals = 0;
    memory.swap = async (...args) => {
      if (renewals++ > 0) return new Promise(() => undefined);
      const old = await swap(...args);
      await owner.sleep(60);
      return old;
    };
    await world.run(() => false, 120);
    expect(grant.lost.aborted).toBe(false);
    await world.run(() => false, 16);
    expect(grant.lost.aborted).toBe(true);
  });

  test('whose holder may still have something executed is left to its lease', async () => {
    const world = new LockWorld(1, NO_FAULTS);
    const owner = new Owner(world, 1);
    const word = heldWord(1, 5, codeOfMs(100), 0);
    const { memory } = owner.parts as { memory: { unknowns: number; settle: unknown } };
    for (const isSettled of [true, false]) {
      world.words.set(64, word);
      const grant = new Grant(owner.parts, 64, word, owner.parts.clock.now(), () => undefined);
      memory.unknowns += 1;
      memory.settle = () => Promise.resolve(isSettled);
      let ended: string | undefined;
      grant.release().then(
        () => (ended = 'released'),
        (error: MemrackError) => (ended = error.code),
      );
      await world.run(() => ended !== undefined, 1000);
      expect(ended).toBe(isSettled ? 'released' : 'OutcomeUnknown');
      expect(isHeld(world.words.get(64) ?? 0n)).toBe(!isSettled);
      expect(grant.lost.aborted).toBe(!isSettled);
    }
  });
});
