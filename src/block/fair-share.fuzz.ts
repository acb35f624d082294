/**
 * Devices with always something to ask for share one host whose network has a rate: what each of
 * them gets, how long one waits for another whose node says nothing, and that nothing is lost.
 */

import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { World } from '../replication/testing/slab-world.js';
import { FairShare, Share } from './fair-share.js';
import { sharingFaults } from './planted.js';
import { failsWith } from './testing/fails-with.js';

const BYTES_PER_MS = 50_000;

function rigOf(seed: number) {
  const world = new World(seed, () => new Promise((resolve) => setImmediate(resolve)));
  const all = new FairShare(world, world);
  let freeMs = 0;
  /** A device that has so many requests of a size with its host, always. */
  const device = (weight: number, depth: number, sizeOf: () => number, isStuck = false) => {
    const seen = { done: 0, bytes: 0, begun: [] as number[], longestMs: 0 };
    const sizes = new Map<number, { readonly bytes: number; readonly askedMs: number }>();
    let next = 0;
    const run = (row: number): void => {
      const { bytes, askedMs } = sizes.get(row) as { bytes: number; askedMs: number };
      const beganMs = world.nowMs;
      seen.begun.push(row);
      if (isStuck) return;
      freeMs = Math.max(freeMs, beganMs) + bytes / BYTES_PER_MS;
      world.at(freeMs + 0.1, () => {
        seen.done += 1;
        seen.bytes += bytes;
        seen.longestMs = Math.max(seen.longestMs, world.nowMs - askedMs);
        share.end(beganMs, bytes, world.nowMs);
        ask();
      });
    };
    const share: Share = new Share(all, run);
    share.weight = weight;
    const ask = (): void => {
      const row = next++;
      const bytes = sizeOf();
      sizes.set(row, { bytes, askedMs: world.nowMs });
      if (share.begin(row, bytes, world.nowMs)) run(row);
    };
    for (let i = 0; i < depth; i++) ask();
    return { seen, share, asked: () => next };
  };
  const pass = (ms: number): Promise<boolean> => world.run(() => false, world.nowMs + ms);
  return { world, device, pass };
}

test('devices get their parts by weight, whatever they ask for', byWeight, 30_000);

async function byWeight(): Promise<void> {
  for (let seed = 1; seed <= 6; seed++) {
    const prng = new Prng(seed);
    const { device, pass } = rigOf(seed);
    const weights = [1, prng.pick([1, 2, 4]), prng.pick([1, 3, 8])];
    const all = weights.map((weight) => {
      const bytes = prng.pick([4_096, 16_384, 65_536]);
      return device(weight, Math.ceil(4_000_000 / (bytes + 4_096)), () => bytes);
    });
    // One that was alone had more under way.
    await pass(250);
    const before = all.map(({ seen }) => seen.bytes + 4_096 * seen.done);
    await pass(600);
    const parts = all.map(({ seen }, i) => {
      return (seen.bytes + 4_096 * seen.done - (before[i] ?? 0)) / (weights[i] ?? 1);
    });
    const spread = Math.max(...parts) / Math.min(...parts);
    expect(spread, `seed ${seed}: ${parts.join(' ')}`).toBeLessThan(1.25);
    for (const { seen } of all) expect(seen.begun).toEqual(seen.begun.map((_, i) => i));
  }
}

test('a device alone waits for nobody', alone);

async function alone(): Promise<void> {
  const { device, pass } = rigOf(1);
  const { share } = device(1, 500, () => 65_536);
  expect(share.waiting).toBe(0);
  await pass(200);
  expect(share.waiting).toBe(0);
}

test('as long as little is under way nobody waits', async () => {
  const { device, pass } = rigOf(1);
  const one = device(1, 16, () => 4_096);
  const other = device(100, 16, () => 4_096);
  await pass(300);
  expect([one.share.waiting, other.share.waiting]).toEqual([0, 0]);
  expect(one.seen.done / other.seen.done).toBeCloseTo(1, 1);
});

test('who has a little to ask for goes between those who ask for much', littleAsked);

async function littleAsked(): Promise<void> {
  const { device, pass } = rigOf(1);
  device(1, 400, () => 65_536);
  const small = device(1, 4, () => 4_096);
  // One that was alone had more under way.
  await pass(2_000);
  Object.assign(small.seen, { done: 0, longestMs: 0 });
  await pass(500);
  // As long as what is under way, and a round.
  expect(small.seen.longestMs).toBeLessThan(30);
  expect(small.seen.done).toBeGreaterThan(50);
}

test('a device whose node says nothing holds up others for a moment', silentNode);

async function silentNode(): Promise<void> {
  const { device, pass } = rigOf(1);
  device(8, 1_000, () => 65_536, true);
  const other = device(1, 200, () => 65_536);
  await pass(120);
  const done = other.seen.done;
  await pass(500);
  expect((other.seen.done - done) * 65_536).toBeGreaterThan(0.8 * 500 * BYTES_PER_MS);
}

test('what is taken back is begun by nobody', takenBack);

async function takenBack(): Promise<void> {
  const { device, pass } = rigOf(1);
  const other = device(1, 100, () => 65_536);
  const one = device(1, 100, () => 65_536);
  const taken = one.share.takeAll();
  expect([taken.length > 0, taken.length + one.seen.begun.length]).toEqual([true, 100]);
  await pass(400);
  expect(one.seen.begun.filter((row) => taken.includes(row))).toEqual([]);
  expect(other.seen.done).toBeGreaterThan(100);
}

test.each([
  ['weightIgnored', byWeight],
  ['turnKept', littleAsked],
  ['waitingPassed', byWeight],
  ['neverForgotten', silentNode],
  ['othersUnseen', littleAsked],
  ['aloneWaits', alone],
  ['takenStays', takenBack],
] as const)(
  '%s is found',
  async (bug, check) => {
    expect(await failsWith(sharingFaults, bug, check)).toBe(true);
  },
  30_000,
);
