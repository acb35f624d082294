import { expect, test } from 'vitest';
import { REGION_STRIDE, regionKey } from './region-key.js';

test('no two regions have one key', () => {
  expect(regionKey(2, 0)).not.toBe(regionKey(1, REGION_STRIDE - 1));
  expect(() => regionKey(1, REGION_STRIDE)).toThrow('another space');
});
