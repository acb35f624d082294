import { afterEach, expect, test } from 'vitest';
import { coldest, type Sampled } from './coldest.js';
import { evictionFaults } from './planted.js';

const of = (...activities: number[]): Sampled[] =>
  activities.map((activity) => ({ activity, bytes: 10 }));

afterEach(() => {
  evictionFaults.hottestGoes = false;
});

const coldFirst = (): number[] => coldest(of(5, 1, 4, 0, 2), 25, 8);

test('the coldest go until it is enough', () => {
  expect(coldFirst()).toEqual([3, 1, 4]);
  expect(coldest(of(5, 1, 4), 0, 8)).toEqual([]);
  expect(coldest(of(5, 1, 4), 10, 8)).toEqual([1]);
});

test('no more go than may, nor than there are', () => {
  expect(coldest(of(5, 1, 4, 0, 2), 1_000, 2)).toEqual([3, 1]);
  expect(coldest(of(5, 1), 1_000, 8)).toEqual([1, 0]);
  expect(coldest([], 1_000, 8)).toEqual([]);
  expect(coldest(of(5, 1), 1_000, 0)).toEqual([]);
});

test('what is used alike goes by its size', () => {
  const sampled = [
    { activity: 0, bytes: 10 },
    { activity: 0, bytes: 30 },
    { activity: 1, bytes: 90 },
  ];
  expect(coldest(sampled, 20, 8)).toEqual([1]);
  expect(coldest(sampled, 40, 8)).toEqual([1, 0]);
});

test('that the hottest goes is seen', () => {
  evictionFaults.hottestGoes = true;
  expect(coldFirst()).not.toEqual([3, 1, 4]);
});
