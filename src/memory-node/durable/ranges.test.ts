import { expect, test } from 'vitest';
import { merged } from './ranges.js';

test('neighbours are one range, in whatever order they come', () => {
  const pages = [7, 3, 4, 9, 8, 1].map((page) => ({ offset: page * 4096, bytes: 4096 }));
  expect(merged(pages)).toEqual([
    { offset: 4096, bytes: 4096 },
    { offset: 3 * 4096, bytes: 2 * 4096 },
    { offset: 7 * 4096, bytes: 3 * 4096 },
  ]);
  expect(merged([])).toEqual([]);
});
