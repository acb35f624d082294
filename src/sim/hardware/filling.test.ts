import { expect, test } from 'vitest';
import { type Filling, fillClio, fillOurs } from './filling.js';

/** The most retries of any allocation that began with between so much and so much in use. */
function most({ percent, most: retries }: Filling, from: number, to: number): number {
  return Math.max(...retries.filter((_, i) => (percent[i] ?? 0) > from && (percent[i] ?? 0) < to));
}

test.each([1, 16, 256])("Clio's retries: none below half, at most 60, %i pages", (count) => {
  for (const seed of [1, 2, 3]) {
    const filling = fillClio(seed, count);
    expect(most(filling, 0, 50)).toBe(0);
    expect(most(filling, 50, 100)).toBeGreaterThan(0);
    expect(most(filling, 50, 100)).toBeLessThanOrEqual(60);
  }
});

test.each([1, 16, 256])('ours: next to none until all frames are allocated, %i pages', (count) => {
  const filling = fillOurs({ seed: 1, count, entriesPerPage: 4, overcommit: 2 });
  expect(most(filling, 0, 80)).toBe(0);
  expect(most(filling, 80, 100)).toBeLessThanOrEqual(1);
  expect(most(filling, 100, 200)).toBeGreaterThan(0);
});
