import { expect, test } from 'vitest';
import { KiB, MiB } from '../base/units.js';
import { OWNER_BLOCK_BYTES } from '../disk/slab-owner.js';
import { PAGE_BYTES_MIN } from '../wire/limits.js';
import {
  AREA_BYTES,
  CHECKSUMS_BYTES,
  INTENT_BYTES,
  layoutOf,
  PIECE_BYTES,
  SLAB_BYTES_LEAST,
} from './layout.js';

const pageOf = (at: number): number => Math.floor(at / PAGE_BYTES_MIN);

test.each([64, 128, 256, 512, 1024])('what is read of a slab of %i MiB lies in a page', (size) => {
  const bytes = size * MiB - OWNER_BLOCK_BYTES;
  const { areas, dataBytes, intentAt, checksumsAt } = layoutOf(bytes);
  for (let area = 0; area < areas; area++) {
    const at = checksumsAt + area * CHECKSUMS_BYTES;
    expect(pageOf(at + CHECKSUMS_BYTES - 1), `checksums of ${area}`).toBe(pageOf(at));
  }
  for (let at = 0; at < areas * INTENT_BYTES; at += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES, areas * INTENT_BYTES - at);
    expect(pageOf(intentAt + at + length - 1)).toBe(pageOf(intentAt + at));
  }
  expect(dataBytes).toBe(areas * AREA_BYTES);
  expect(intentAt).toBeGreaterThanOrEqual(dataBytes);
  expect(checksumsAt).toBeGreaterThanOrEqual(intentAt + areas * INTENT_BYTES);
  const end = checksumsAt + areas * CHECKSUMS_BYTES;
  expect(end).toBeLessThanOrEqual(bytes);
  expect(bytes - end).toBeLessThan(AREA_BYTES + KiB);
});

test('the least slab has one area', () => {
  const { areas, checksumsAt } = layoutOf(SLAB_BYTES_LEAST);
  expect([areas, checksumsAt + CHECKSUMS_BYTES]).toEqual([1, SLAB_BYTES_LEAST]);
});
