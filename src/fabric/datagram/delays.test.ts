import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { Delays } from './delays.js';

const MAX_MS = 500;

/** Feeds `count` delays; gives the part that the time-out of their moment would have cut. */
function run(delays: Delays, count: number, next: () => number): number {
  let cut = 0;
  for (let i = 0; i < count; i++) {
    const ms = next();
    if (ms > delays.timeoutMs) cut++;
    delays.sample(ms);
  }
  return cut / count;
}

function exponential(prng: Prng, mean: number): () => number {
  return () => -mean * Math.log(1 - prng.fraction());
}

test('starts at 20 ms, and is not below that before there are some samples', () => {
  const delays = new Delays(MAX_MS);
  expect([delays.timeoutMs, delays.smoothed, delays.least]).toEqual([20, 0, 0]);
  run(delays, 10, () => 0.1);
  expect(delays.timeoutMs).toBe(20);
  delays.sample(80);
  expect(delays.timeoutMs).toBe(120);
  expect(new Delays(10).timeoutMs).toBe(10);
});

test('constant delays: a time-out of half as much again, between 5 ms and the bound', () => {
  for (const ms of [0, 0.05, 1, 10, 40, 100, 300, 1e9]) {
    const delays = new Delays(MAX_MS);
    expect(run(delays, 2000, () => ms)).toBeLessThan(ms > MAX_MS ? 1.1 : 0.001);
    const low = Math.min(Math.max(5, ms * 1.5), MAX_MS);
    expect(delays.timeoutMs).toBeGreaterThanOrEqual(low);
    expect(delays.timeoutMs).toBeLessThanOrEqual(low * 1.11);
    expect(delays.smoothed).toBeCloseTo(ms);
    expect(delays.least).toBe(ms);
  }
});

test('exponential delays: fewer than 1 of 200 are cut, and a loss costs 5 to 9 means', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const delays = new Delays(MAX_MS);
    const next = exponential(new Prng(seed), 4);
    run(delays, 500, next);
    expect(run(delays, 20_000, next)).toBeLessThan(0.005);
    expect(delays.timeoutMs).toBeGreaterThan(5 * 4);
    expect(delays.timeoutMs).toBeLessThan(9 * 4);
    expect(delays.smoothed).toBeGreaterThan(1);
    expect(delays.smoothed).toBeLessThan(12);
  }
});

test('a tail of 200 ms in a twentieth of the answers does not look like loss', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const delays = new Delays(MAX_MS);
    const prng = new Prng(seed);
    const next = () => (prng.below(20) === 0 ? 200 + prng.below(10) : 0.5 + prng.fraction());
    run(delays, 100, next);
    expect(run(delays, 20_000, next)).toBe(0);
    expect(delays.timeoutMs).toBeLessThan(360);
  }
});

test('a tail of 1 in 1,000 does not hold up everything', () => {
  const delays = new Delays(MAX_MS);
  const prng = new Prng(1);
  const next = () => (prng.below(1000) === 0 ? 200 : 1 + prng.fraction());
  run(delays, 100, next);
  let high = 0;
  for (let i = 0; i < 20_000; i++) {
    delays.sample(next());
    if (delays.timeoutMs > 6) high++;
  }
  expect(high / 20_000).toBeLessThan(0.02);
});

test('follows when delays rise, and when they fall', () => {
  const delays = new Delays(MAX_MS);
  for (let i = 0; i < 20_000; i++) {
    delays.sample(1);
    if (delays.least !== 1) expect.fail(`least is ${delays.least} after ${i} delays of 1 ms`);
  }
  expect(delays.timeoutMs).toBe(5);
  run(delays, 40, () => 50);
  expect(delays.timeoutMs).toBeGreaterThan(75);
  run(delays, 3000, () => 1);
  expect(delays.timeoutMs).toBe(5);
  expect(delays.least).toBe(1);
  run(delays, 3000, () => 3);
  expect(delays.least).toBe(3);
});

test('silence doubles it up to the bound, and anything that is heard ends that', () => {
  const delays = new Delays(MAX_MS);
  run(delays, 100, () => 10);
  const before = delays.timeoutMs;
  delays.silent();
  expect(delays.timeoutMs).toBe(2 * before);
  delays.silent();
  expect(delays.timeoutMs).toBe(4 * before);
  for (let i = 0; i < 2000; i++) delays.silent();
  expect(delays.timeoutMs).toBe(MAX_MS);
  delays.heard();
  expect(delays.timeoutMs).toBe(before);
  delays.silent();
  delays.sample(10);
  expect(delays.timeoutMs).toBeLessThan(1.2 * before);
  expect(() => delays.sample(-1)).toThrow('question');
  expect(() => delays.sample(Number.NaN)).toThrow('question');
});
