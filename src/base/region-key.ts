import { assert } from './assert.js';

/** More than a space can have. */
export const REGION_STRIDE = 2 ** 24;

/** One number for a region of a space; below 2^53, as numbers of spaces are below 2^27. */
export function regionKey(space: number, region: number): number {
  assert(region < REGION_STRIDE, 'it would be the key of another space');
  return space * REGION_STRIDE + region;
}
