import { afterEach, expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { Status } from '../base/status.js';
import { Eviction, GOING_MAX, GOING_MS, GOING_MS_MAX, ROUND_MS, SPARED_MS } from './eviction.js';
import { memoryNodeFaults } from './planted.js';
import type { Slab } from './slabs.js';

const LEASE = 11;
const CLIENT = 1;
const BYTES = 100;

/** A node that is short of memory, and whose holders are the test. */
class Node {
  nowMs = 0;
  bytesToGive = 0;
  epoch = 1;
  readonly slabs = new Map<number, Slab>();
  readonly eviction: Eviction;
  /** How much each copy is used. */
  readonly activity = new Map<number, number>();

  constructor(copies: number, seed = 1) {
    const prng = new Prng(seed);
    for (let copy = 1; copy <= copies; copy++) this.add(copy);
    this.eviction = new Eviction({
      slabs: {
        all: () => [...this.slabs.values()],
        find: (copy) => this.slabs.get(copy),
        bytesUsed: ({ bytes }) => bytes,
      },
      leases: {
        refuseWindow: (_lease, epoch, client) => {
          const isHeld = epoch === this.epoch && client === CLIENT;
          return isHeld ? undefined : { status: Status.Stale, reason: 'not held' };
        },
      },
      clock: { now: () => this.nowMs },
      timers: { soon: (run) => queueMicrotask(run), after: () => ({ cancel: () => undefined }) },
      entropy: {
        u32: () => prng.u32(),
        u53: () => 1 + prng.u32(),
        fraction: () => prng.fraction(),
      },
      bytesToGive: () => this.bytesToGive,
    });
  }

  add(copy: number, lease = LEASE): void {
    const facts = { device: 5, slab: copy, leaseEpoch: 1, generation: 1, space: 1, address: 0 };
    this.slabs.set(copy, { ...facts, copy, lease, bytes: BYTES });
    this.activity.set(copy, copy);
  }

  /** What the node does by itself in so long. */
  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms; i += 100) {
      this.nowMs += 100;
      this.eviction.look();
      for (let turn = 0; turn < 40; turn++) await Promise.resolve();
    }
  }

  call(round: number, copies: readonly number[], lease = LEASE, going: readonly number[] = []) {
    const slabs = copies.map((copy) => {
      const isGoing = going.includes(copy) ? 1 : 0;
      return { copy, activity: this.activity.get(copy) ?? 0, isGoing };
    });
    const reply = this.eviction.told({ round, lease, leaseEpoch: this.epoch, slabs }, CLIENT);
    if ('status' in reply) throw new Error(reply.reason);
    const names = (of: readonly { copy: number }[]): number[] => of.map(({ copy }) => copy);
    return { ...reply, asked: names(reply.asked), going: names(reply.going) };
  }

  /** A holder that answers all that it is asked. */
  answer(lease = LEASE) {
    const { round, asked } = this.call(0, [], lease);
    return this.call(round, asked, lease);
  }

  give(copy: number): void {
    this.slabs.delete(copy);
    this.bytesToGive = Math.max(0, this.bytesToGive - BYTES);
  }
}

afterEach(() => {
  memoryNodeFaults.slabToldLate = false;
});

test('with enough memory nothing is asked, and nothing goes', async () => {
  const node = new Node(20);
  await node.pass(1_000);
  expect(node.call(0, [])).toEqual({ round: 0, isShort: 0, asked: [], going: [] });
});

test('the coldest of a sample go, as many as are needed', async () => {
  const node = new Node(6);
  node.bytesToGive = 2 * BYTES - 1;
  await node.pass(200);
  const { round, asked, isShort } = node.call(0, []);
  expect([...asked].sort()).toEqual([1, 2, 3, 4, 5, 6]);
  expect(isShort).toBe(1);
  expect(node.call(round, asked).going).toEqual([1, 2]);
  expect(node.eviction.bytesGoing).toBe(2 * BYTES);
  // Those that are on their way are enough.
  await node.pass(2_000);
  expect(node.call(0, [])).toMatchObject({ asked: [], going: [1, 2] });
  node.give(1);
  node.give(2);
  await node.pass(200);
  expect(node.call(0, [])).toEqual({ round: 0, isShort: 0, asked: [], going: [] });
  expect(node.eviction.gone).toBe(2);
});

test('no more go at a time than may, and then the next', async () => {
  const node = new Node(40);
  node.bytesToGive = 30 * BYTES;
  await node.pass(200);
  const first = node.answer().going;
  expect(first).toHaveLength(GOING_MAX);
  await node.pass(500);
  expect(node.call(0, []).asked).toEqual([]);
  for (const copy of first) node.give(copy);
  await node.pass(200);
  expect(node.answer().going).toHaveLength(GOING_MAX);
});

/** A copy that was cold in a round that is over is hot in the next one. */
async function lateAnswer(): Promise<readonly number[]> {
  const node = new Node(2);
  node.bytesToGive = BYTES;
  await node.pass(200);
  const late = node.call(0, []).round;
  node.bytesToGive = 0;
  await node.pass(200);
  node.bytesToGive = BYTES;
  await node.pass(200);
  const { round } = node.call(0, []);
  expect(round).not.toBe(late);
  node.call(late, [1]);
  node.activity.set(1, 99);
  return node.call(round, node.call(0, []).asked).going;
}

test('what is told for a round that is over does not count', async () => {
  expect(await lateAnswer()).toEqual([2]);
});

test('that it counts is seen', async () => {
  memoryNodeFaults.slabToldLate = true;
  expect(await lateAnswer()).toEqual([1]);
});

test('copies of a holder that does not answer stay, and others are asked about', async () => {
  const node = new Node(3);
  for (let copy = 50; copy < 53; copy++) node.add(copy, LEASE + 1);
  node.bytesToGive = 4 * BYTES;
  await node.pass(200);
  node.answer();
  expect(node.eviction.going).toBe(0);
  await node.pass(ROUND_MS);
  expect(node.call(0, []).going).toEqual([1, 2, 3]);
  // The other one is there again; a while later it is asked.
  for (let ms = 0; ms < SPARED_MS; ms += 1_000) {
    await node.pass(1_000);
    node.call(0, [1, 2, 3], LEASE, [1, 2, 3]);
  }
  expect(node.answer(LEASE + 1).going).toEqual([50]);
});

test('what nobody is at work on goes no more; what somebody is, goes on', async () => {
  const node = new Node(3);
  node.bytesToGive = 2 * BYTES;
  await node.pass(200);
  expect(node.answer().going).toEqual([1, 2]);
  for (let ms = 0; ms < 1.5 * GOING_MS; ms += 1_000) {
    await node.pass(1_000);
    const { round, asked } = node.call(0, [2], LEASE, [2]);
    node.call(round, asked);
  }
  // The third one instead of the first.
  expect(node.answer().going).toEqual([2, 3]);
  expect(node.slabs.size).toBe(3);
});

test('what comes to no end is not waited for for ever', async () => {
  const node = new Node(2);
  node.bytesToGive = BYTES;
  await node.pass(200);
  expect(node.answer().going).toEqual([1]);
  for (let ms = 0; ms < GOING_MS_MAX + 1_000; ms += 1_000) {
    await node.pass(1_000);
    const { round, asked } = node.call(0, [1], LEASE, [1]);
    node.call(round, asked);
  }
  expect(node.call(0, [])).toMatchObject({ going: [2] });
});

test('somebody else is told nothing, and tells nothing', async () => {
  const node = new Node(2);
  node.bytesToGive = BYTES;
  await node.pass(200);
  const { round, asked } = node.call(0, []);
  const slabs = asked.map((copy) => ({ copy, activity: 0, isGoing: 0 }));
  const request = { round, lease: LEASE, leaseEpoch: 1, slabs };
  expect(node.eviction.told(request, CLIENT + 1)).toMatchObject({ status: Status.Stale });
  const old = { ...request, leaseEpoch: 0 };
  expect(node.eviction.told(old, CLIENT)).toMatchObject({ status: Status.Stale });
  // Of another lease than the copies'.
  expect(node.call(round, asked, LEASE + 1).going).toEqual([]);
  expect(node.call(0, []).asked).toEqual(asked);
});

test('when the limit rises again nothing goes any more', async () => {
  const node = new Node(4);
  node.bytesToGive = BYTES;
  await node.pass(200);
  expect(node.answer().going).toEqual([1]);
  node.bytesToGive = 0;
  await node.pass(100);
  expect(node.call(0, [])).toEqual({ round: 0, isShort: 0, asked: [], going: [] });
  expect(node.eviction.bytesGoing).toBe(0);
});
