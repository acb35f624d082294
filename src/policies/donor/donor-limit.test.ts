import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { GiB, MiB } from '../../base/units.js';
import {
  AHEAD_MS,
  defaultMarks,
  type DonorMarks,
  type DonorReading,
  type DonorState,
  firstDonorState,
  nextDonorState,
  RAISE_AFTER_MS,
  STALLED_SHARE,
} from './donor-limit.js';

const MARKS: DonorMarks = { low: 100 * MiB, high: 200 * MiB };
const CAPACITY = 700 * MiB;
const TICK_MS = 100;

interface World {
  /** Of everything that is not lent. */
  readonly othersBytes: number;
  readonly heldBytes?: number;
  readonly stalledShare?: number;
}

const TOTAL = 1024 * MiB;

function readingAt(nowMs: number, world: World): DonorReading {
  const { othersBytes, heldBytes = 0, stalledShare = 0 } = world;
  const availableBytes = Math.max(0, TOTAL - othersBytes - heldBytes);
  return { nowMs, availableBytes, heldBytes, stalledShare };
}

/** Steps through readings; `worldAt` gets the state so far. */
function play(
  ms: number,
  worldAt: (atMs: number, state: DonorState) => World,
  start?: DonorState,
): DonorState[] {
  const fromMs = start?.atMs ?? 0;
  const first = readingAt(0, { othersBytes: 0 });
  let state =
    start ??
    firstDonorState(readingAt(0, worldAt(0, firstDonorState(first, MARKS, 1))), MARKS, CAPACITY);
  const states = [state];
  for (let at = fromMs + TICK_MS; at <= fromMs + ms; at += TICK_MS) {
    state = nextDonorState(state, readingAt(at, worldAt(at, state)), MARKS, CAPACITY);
    states.push(state);
  }
  return states;
}

const last = (states: readonly DonorState[]): DonorState => states[states.length - 1] as DonorState;
const limits = (states: readonly DonorState[]) => states.map(({ limitBytes }) => limitBytes);
const changes = (states: readonly DonorState[]): number =>
  limits(states).filter((limit, i, all) => i > 0 && limit !== all[i - 1]).length;

test('with room all is lent, with little only what leaves the high mark', () => {
  expect(last(play(0, () => ({ othersBytes: 100 * MiB }))).limitBytes).toBe(CAPACITY);
  expect(last(play(0, () => ({ othersBytes: 324 * MiB }))).limitBytes).toBe(500 * MiB);
  expect(last(play(0, () => ({ othersBytes: 1000 * MiB }))).limitBytes).toBe(0);
});

test('others take slowly: given back until the middle of the marks is left', () => {
  const states = play(60_000, (at) => ({ othersBytes: 100 * MiB + Math.min(300, at / 100) * MiB }));
  const end = last(states);
  // 1,024 - 400 are left without us; low is left when 524 are lent, the middle with 474.
  expect(end.limitBytes).toBeLessThanOrEqual(524 * MiB);
  expect(end.limitBytes).toBeGreaterThanOrEqual(474 * MiB - 1);
  expect(end.isPanic).toBe(false);
});

test('raised again only after a while, in steps, to no more than leaves the high mark', () => {
  const low = last(play(20_000, () => ({ othersBytes: 700 * MiB })));
  expect(low.limitBytes).toBeLessThanOrEqual(224 * MiB);
  const states = play(30_000, () => ({ othersBytes: 200 * MiB }), low);
  const firstRise = states.findIndex(({ limitBytes }) => limitBytes > low.limitBytes);
  expect(firstRise * TICK_MS).toBeGreaterThanOrEqual(RAISE_AFTER_MS);
  for (const [i, limit] of limits(states).entries()) {
    const before = limits(states)[i - 1] ?? limit;
    expect(limit - before).toBeLessThanOrEqual(CAPACITY / 8);
  }
  expect(last(states).limitBytes).toBeLessThanOrEqual(624 * MiB + 1);
  expect(last(states).limitBytes).toBeGreaterThan(590 * MiB);
});

test('what is given back late, or in parts, makes no difference to the limit', () => {
  const worlds = [0, 300, 3_000].map((lateMs) => {
    const history: number[] = [];
    return play(30_000, (at, state) => {
      history.push(state.limitBytes);
      const heldBytes = history[history.length - 1 - lateMs / TICK_MS] ?? CAPACITY;
      return { othersBytes: (100 + Math.min(150, at / 100)) * MiB, heldBytes };
    });
  });
  const [a = [], b = [], c = []] = worlds.map((states) => limits(states).slice(-1));
  expect(b).toEqual(a);
  expect(c).toEqual(a);
  for (const states of worlds) expect(changes(states)).toBe(1);
});

test('no flapping: noise below half the distance of the marks changes the limit once', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const prng = new Prng(seed);
    const base = prng.between(100, 850) * MiB;
    const noise = 45 * MiB;
    const states = play(120_000, () => ({
      othersBytes: base + (prng.fraction() * 2 - 1) * noise,
    }));
    // What the first reading made of a noisy value may be put right once.
    expect(changes(states), `seed ${seed}`).toBeLessThanOrEqual(1);
  }
});

test('without the distance of the marks it would flap', () => {
  const narrow: DonorMarks = { low: 150 * MiB, high: 150 * MiB };
  const prng = new Prng(3);
  let state = firstDonorState(readingAt(0, { othersBytes: 400 * MiB }), narrow, CAPACITY);
  let changed = 0;
  for (let at = TICK_MS; at < 120_000; at += TICK_MS) {
    const swing = Math.floor(at / 10_000) % 2 === 0 ? 30 : -30;
    const othersBytes = (400 + swing + prng.below(10)) * MiB;
    const next = nextDonorState(state, readingAt(at, { othersBytes }), narrow, CAPACITY);
    if (next.limitBytes !== state.limitBytes) changed += 1;
    state = next;
  }
  expect(changed).toBeGreaterThan(10);
});

test('bounded: never below zero, above the capacity or a number that is none', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const prng = new Prng(seed);
    let othersBytes = prng.below(TOTAL);
    let nowMs = 0;
    let state = firstDonorState(readingAt(0, { othersBytes }), MARKS, CAPACITY);
    for (let step = 0; step < 200; step++) {
      nowMs += prng.pick([0, 1, 100, 100, 100, 30_000, -50]);
      const jump = prng.pick([0, 1, 10, 300, -300, 1_000, -1_000]) * MiB;
      othersBytes = Math.min(TOTAL, Math.max(0, othersBytes + jump));
      const stalledShare = prng.pick([0, 0, 0.05, 0.5, 1]);
      const heldBytes = prng.below(Math.max(1, TOTAL - othersBytes));
      const world = { othersBytes, heldBytes, stalledShare };
      state = nextDonorState(state, readingAt(nowMs, world), MARKS, CAPACITY);
      const { limitBytes, fallRate, meanBytes } = state;
      const isBounded = limitBytes >= 0 && limitBytes <= CAPACITY && fallRate >= 0;
      const isGood = isBounded && Number.isFinite(fallRate) && Number.isFinite(meanBytes);
      if (!isGood) expect.fail(`seed ${seed}, step ${step}: ${JSON.stringify(state)}`);
    }
  }
});

test('monotone: with less available, or more stalls, never more may be lent', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const prng = new Prng(seed);
    let world = prng.between(100, 800);
    const history = play(prng.between(1, 100) * TICK_MS, () => {
      world = Math.min(1_000, Math.max(0, world + prng.between(-30, 30)));
      return { othersBytes: world * MiB };
    });
    const before = last(history);
    const nowMs = before.atMs + prng.pick([0, 100, 5_000]);
    const others = Array.from({ length: 12 }, () => prng.below(TOTAL)).sort((a, b) => a - b);
    let least = Infinity;
    for (const othersBytes of others) {
      const calm = nextDonorState(before, readingAt(nowMs, { othersBytes }), MARKS, CAPACITY);
      const stalled = nextDonorState(
        before,
        readingAt(nowMs, { othersBytes, stalledShare: STALLED_SHARE }),
        MARKS,
        CAPACITY,
      );
      expect(stalled.limitBytes).toBeLessThanOrEqual(calm.limitBytes);
      expect(calm.limitBytes, `seed ${seed}`).toBeLessThanOrEqual(least);
      least = calm.limitBytes;
    }
  }
});

test('a fast fall is answered before the room is gone, and for what will fall yet', () => {
  const perMs = (150 * MiB) / 1000;
  const worldAt = (at: number): World => ({
    othersBytes: 120 * MiB + Math.max(0, at - 1_000) * perMs,
    heldBytes: CAPACITY,
  });
  const states = play(2_000, worldAt);
  const panicAt = states.findIndex(({ isPanic }) => isPanic) * TICK_MS;
  expect(panicAt).toBeGreaterThan(1_000);
  expect(panicAt).toBeLessThanOrEqual(1_700);
  const end = last(states);
  const without = TOTAL - 120 * MiB - 1_000 * perMs;
  const ahead = without - 150 * MiB - perMs * AHEAD_MS;
  expect(end.limitBytes).toBeLessThan(without - 150 * MiB);
  expect(end.limitBytes).toBeGreaterThanOrEqual(ahead);
});

test('one gulp is no fast fall, and a machine that is nearly empty needs no fall', () => {
  const gulp = play(1_000, (at) => ({ othersBytes: (at >= 500 ? 300 : 200) * MiB }));
  expect(gulp.some(({ isPanic }) => isPanic)).toBe(false);
  const empty = play(100, (at) => ({ othersBytes: at > 0 ? 1_000 * MiB : 0, heldBytes: 0 }));
  expect(last(empty).isPanic).toBe(true);
});

test('while something stalls, the high mark is kept free, and nothing is raised', () => {
  const world = { othersBytes: 200 * MiB };
  const calm = play(10_000, () => world);
  expect(last(calm).limitBytes).toBe(624 * MiB);
  const closer = play(10_000, () => ({ othersBytes: 250 * MiB }), last(calm));
  expect(last(closer).limitBytes).toBe(624 * MiB);
  const stalled = play(20_000, () => ({ othersBytes: 250 * MiB, stalledShare: 0.2 }), last(calm));
  expect(last(stalled).limitBytes).toBeLessThan(580 * MiB);
  expect(last(stalled).limitBytes).toBeGreaterThanOrEqual(574 * MiB - 1);
  const freed = play(20_000, () => ({ othersBytes: 0, stalledShare: 0.2 }), last(stalled));
  expect(last(freed).limitBytes).toBe(last(stalled).limitBytes);
});

test('a pause of the node counts as the time that it was', () => {
  const before = last(play(5_000, () => ({ othersBytes: 100 * MiB })));
  const reading = readingAt(before.atMs + 60_000, { othersBytes: 700 * MiB });
  const after = nextDonorState(before, reading, MARKS, CAPACITY);
  expect(after.limitBytes).toBeLessThan(224 * MiB);
});

test('marks by default: shares within bounds, low below high', () => {
  expect(defaultMarks(GiB)).toEqual({ low: Math.floor(GiB * 0.05), high: Math.floor(GiB * 0.1) });
  expect(defaultMarks(128 * MiB)).toEqual({ low: 32 * MiB, high: 64 * MiB });
  expect(defaultMarks(1024 * GiB)).toEqual({ low: 8 * GiB, high: 16 * GiB });
});
