import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { orderToGive, type RegionLoad } from './who-goes.js';

const region = (bytes: number, rate = 0): RegionLoad => ({ bytes, rate });

test('the coldest goes first, however large; what uses nothing never goes', () => {
  const regions = [region(10, 500), region(90, 0.5), region(50, 20), region(0)];
  for (const isUrgent of [false, true])
    expect(orderToGive(regions, 10, isUrgent)).toEqual([1, 2, 0]);
});

test('of regions that are used alike the smallest that is enough, then the largest', () => {
  const regions = [region(40), region(100), region(60), region(80)];
  expect(orderToGive(regions, 70, true)).toEqual([3, 1, 2, 0]);
  expect(orderToGive(regions, 70, false)).toEqual([3, 1, 2, 0]);
  expect(orderToGive(regions, 500, true)).toEqual([1, 3, 2, 0]);
  expect(orderToGive(regions, 1, true)).toEqual([0, 2, 3, 1]);
});

test('in a hurry rates that are alike do not matter, with time they do', () => {
  const regions = [region(40, 30), region(80, 20)];
  expect(orderToGive(regions, 30, true)).toEqual([0, 1]);
  expect(orderToGive(regions, 30, false)).toEqual([1, 0]);
});

test('a whole order, the same one whenever it is asked', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const prng = new Prng(seed);
    const rate = () => prng.pick([0, 0.1, 3, 3, 1e6, Infinity]);
    const regions = Array.from({ length: 12 }, () => region(prng.below(5), rate()));
    const order = orderToGive(regions, prng.below(8), prng.below(2) === 1);
    expect(order).toHaveLength(regions.filter(({ bytes }) => bytes > 0).length);
    expect(new Set(order).size).toBe(order.length);
  }
});
