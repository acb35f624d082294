import { expect, test } from 'vitest';
import type { Result } from './harness.js';
import { merged, type Report } from './report.js';

const result = (bench: string, what: string): Result => {
  return { bench, what, unit: 'us', rows: [], comparisons: [], notes: [] };
};
const machine = { processor: 'P', node: 'v20' };
const report = (...results: Result[]): Report => ({ machine, rounds: 5, results });
const ORDER = ['a', 'b', 'c'];

test('what was not measured again stays where it was', () => {
  const before = report(result('a', 'old'), result('c', 'old'));
  const { results } = merged(before, report(result('b', 'new'), result('c', 'new')), ORDER);
  expect(results.map(({ bench, what }) => `${bench} ${what}`)).toEqual(['a old', 'b new', 'c new']);
});

test('results of another machine, or of fewer rounds, are not mixed', () => {
  const before = report(result('a', 'old'));
  const now = report(result('b', 'new'));
  for (const other of [
    { ...before, machine: { ...machine, node: 'v24' } },
    { ...before, rounds: 3 },
  ]) {
    expect(merged(other, now, ORDER).results).toEqual(now.results);
  }
});
