import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { CommonDrain } from './common-drain.js';

const TURN_MS = 1024;
const LATER_TURN_MS = 4096;

/** With a clock of its own, that goes as the node's does. */
function drainAt(now: number, nodeClock: number, fraction = 0): CommonDrain {
  const drain = new CommonDrain(() => fraction);
  drain.heard(nodeClock, 0, now);
  drain.waitMs(0, 1, now);
  return drain;
}

test('all hold still at the same time of the node, whatever their own clocks say', () => {
  for (const own of [0, 1234.5, 5e8]) {
    const drain = drainAt(own, 7 * TURN_MS + 1000);
    expect(drain.waitMs(10, 1, own + 23)).toBe(0);
    expect(drain.waitMs(10, 1, own + 24)).toBeCloseTo(10);
    expect(drain.waitMs(10, 1, own + 30)).toBeCloseTo(4);
    expect(drain.waitMs(10, 1, own + 34)).toBeCloseTo(0);
  }
});

test('then each sends one, at a time of its own, and waits until all have', () => {
  const firsts = [0, 0.5, 0.99].map((fraction) => {
    const drain = drainAt(1000, 1000, fraction);
    const firstMs = drain.waitMs(10, 1, 1024);
    drain.sent(1024 + firstMs);
    expect(drain.waitMs(10, 1, 1024 + firstMs)).toBeCloseTo(50 - firstMs);
    expect(drain.waitMs(10, 1, 1075)).toBe(0);
    drain.sent(1075);
    expect(drain.waitMs(10, 1, 1075)).toBe(0);
    return firstMs;
  });
  expect(firsts[0]).toBeCloseTo(10);
  expect(firsts[1]).toBeCloseTo(30);
  expect(firsts[2]).toBeCloseTo(49.6);
});

test('a small window begins within the time that lies between two of its datagrams', () => {
  const begin = (datagrams: number): number => drainAt(0, 1000, 1).waitMs(10, datagrams, 24);
  expect(begin(1 / 10)).toBeCloseTo(110);
  expect(begin(1 / 256)).toBeCloseTo(510);
});

test('not for less than is allowed anyway, nor with a large window over a long path', () => {
  const holds = (delayMs: number, datagrams: number): boolean =>
    drainAt(0, 1000).waitMs(delayMs, datagrams, 24) > 0;
  expect([holds(0.9, 1), holds(1.1, 1)]).toEqual([false, true]);
  expect([holds(4, 9), holds(6, 9), holds(6, 7)]).toEqual([true, false, true]);
});

test('seldom, after the first few times, and never before the clock is known', () => {
  const drain = drainAt(0, 0);
  const began: number[] = [];
  let wasHeld = false;
  for (let now = 0; now < 20_000; now += 1) {
    const isHeld = drain.waitMs(10, 1, now) > 0;
    if (isHeld && !wasHeld) began.push(now);
    wasHeld = isHeld;
  }
  const often = [1, 2, 3, 4, 5].map((turn) => turn * TURN_MS);
  expect(began).toEqual([...often, ...[2, 3, 4].map((turn) => turn * LATER_TURN_MS)]);
  const without = new CommonDrain(() => 0);
  for (let now = 0; now < 20_000; now += 1) expect(without.waitMs(10, 1, now)).toBe(0);
});

test('who sent nothing for a while does not hold still afterwards', () => {
  const drain = drainAt(0, 0);
  expect(drain.waitMs(10, 1, 1500)).toBe(0);
  expect(drain.waitMs(10, 1, 3 * TURN_MS - 1)).toBe(0);
  expect(drain.waitMs(10, 1, 3 * TURN_MS)).toBeCloseTo(10);
});

test('a better idea of the clock does not begin a turn twice', () => {
  const drain = drainAt(0, 1000);
  expect(drain.waitMs(10, 1, 24)).toBeCloseTo(10);
  drain.heard(1019, 0, 24);
  expect(drain.waitMs(10, 1, 24)).toBeCloseTo(10);
  expect(drain.waitMs(10, 1, 34)).toBe(0);
});

test('goes on when the clock of 32 bits begins anew', () => {
  const drain = drainAt(0, 2 ** 32 - 100);
  drain.heard(24, 0, 124);
  expect(drain.waitMs(10, 1, 124)).toBe(0);
  expect(drain.waitMs(10, 1, 100 + TURN_MS)).toBeCloseTo(10);
});

test('whatever the clock says, nobody holds still for longer than a second', () => {
  const prng = new Prng(3);
  const drain = new CommonDrain(() => prng.fraction());
  for (let now = 0; now < 100_000; now += prng.fraction() * 50) {
    drain.heard(prng.below(2 ** 32), prng.fraction() * 500, now);
    const ms = drain.waitMs(prng.fraction() * 5000, prng.fraction() * 10, now);
    expect(ms).toBeLessThanOrEqual(1000);
    if (ms === 0) drain.sent(now);
  }
});
