import { expect, test } from 'vitest';
import { regionKey } from './region-table.js';

test('no two regions have one key', () => {
  expect(regionKey(2, 5)).not.toBe(regionKey(1, 2 ** 24 - 1));
  expect(() => regionKey(1, 2 ** 24 + 5)).toThrow('another space');
});
