import { expect, test } from 'vitest';
import type { Result } from './harness.js';
import { merged, type Recorded, resultsPage } from './report.js';

const result = (bench: string, what: string): Result => {
  return { bench, what, unit: 'us', rows: [], comparisons: [], notes: [] };
};
const of = (processor: string, bench: string, what: string): Recorded => {
  const machine = { processor, cores: 2, memoryGiB: 24, kernel: '6.1', node: 'v20' };
  return { ...result(bench, what), machine, rounds: 5, commit: 'abc' };
};
const ORDER = ['a', 'b', 'c'];

test('what was not measured again stays as it was, with its machine', () => {
  const before = [of('P', 'a', 'old'), of('P', 'c', 'old')];
  const all = merged(before, [of('Q', 'b', 'new'), of('Q', 'c', 'new')], ORDER);
  const told = all.map(({ bench, what, machine }) => `${bench} ${what} ${machine['processor']}`);
  expect(told).toEqual(['a old P', 'b new Q', 'c new Q']);
});

test('each says what it was measured on, and the rest of the page stays', () => {
  const page = 'before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n';
  const now = resultsPage(page, [of('P', 'a', 'Reads'), of('Q', 'b', 'Writes')]);
  expect(now).toMatch(/^before\n<!-- measured: begin -->\n\n### a\n\nReads\.\n/);
  expect(now).toContain('Q, 2 cores, 24 GiB, Linux 6.1, Node v20; 5 rounds, at abc.');
  expect(now).toMatch(/<!-- measured: end -->\nafter\n$/);
  expect(now).not.toContain('old');
});
