import { expect, test } from 'vitest';
import { HEAT_MARKS } from '../policies/activity/heat.js';
import { Activity, HOTTEST } from './activity.js';

const BLOCKS = 16_384;

let at = 0;

/** Blocks are read and written each second, for so many seconds. */
function use(activity: Activity, row: number, read: number, written: number, seconds: number) {
  for (let i = 1; i <= seconds; i++) {
    activity.read(row, read);
    activity.written(row, written);
    activity.look((at += 1000));
  }
}

test('a rate is for each block and second, reads and writes together', () => {
  at = 0;
  const activity = new Activity(BLOCKS, 0);
  const row = activity.add();
  use(activity, row, 320, 160, 200);
  expect(activity.rateOf(row)).toBeCloseTo(480 / BLOCKS, 6);
  const larger = new Activity(4 * BLOCKS, at);
  const same = larger.add();
  use(larger, same, 4 * 320, 4 * 160, 200);
  expect(larger.rateOf(same)).toBeCloseTo(activity.rateOf(row), 6);
});

test('what is not used any more is forgotten, and told as nothing in the end', () => {
  at = 0;
  const activity = new Activity(BLOCKS, 0);
  const row = activity.add();
  use(activity, row, 64, 0, 50);
  const before = activity.rateOf(row);
  use(activity, row, 0, 0, 7);
  expect(activity.rateOf(row)).toBeLessThan(before / 2 + 1e-6);
  use(activity, row, 0, 0, 1_000);
  expect(activity.toldOf(row)).toBe(0);
});

test('hot stays hot between the marks', () => {
  at = 0;
  const activity = new Activity(BLOCKS, 0);
  const row = activity.add();
  const between = ((HEAT_MARKS.hot + HEAT_MARKS.cold) / 2) * BLOCKS;
  use(activity, row, between, 0, 100);
  expect(activity.isHot(row)).toBe(false);
  use(activity, row, 2 * HEAT_MARKS.hot * BLOCKS, 0, 100);
  expect(activity.isHot(row)).toBe(true);
  use(activity, row, between, 0, 100);
  expect(activity.isHot(row)).toBe(true);
  use(activity, row, 0, 0, 100);
  expect(activity.isHot(row)).toBe(false);
});

test('more slabs than at first keep what they have', () => {
  at = 0;
  const activity = new Activity(BLOCKS, 0);
  const rows = Array.from({ length: 1_000 }, () => {
    const row = activity.add();
    activity.read(row, row);
    return row;
  });
  activity.look(1_000);
  for (const row of rows.slice(1)) {
    expect(activity.rateOf(row)).toBeGreaterThan(activity.rateOf(row - 1));
    expect(activity.toldOf(row)).toBeGreaterThan(activity.toldOf(row - 1));
  }
  expect(activity.toldOf(999)).toBeLessThan(HOTTEST);
});

test('a clock that goes back counts nothing, and loses nothing', () => {
  const activity = new Activity(BLOCKS, 5_000);
  const row = activity.add();
  activity.read(row, 64);
  activity.look(4_000);
  expect(activity.rateOf(row)).toBe(0);
  activity.look(6_000);
  expect(activity.rateOf(row)).toBeGreaterThan(0);
});
