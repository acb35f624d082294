import { expect, test } from 'vitest';
import { OWNER_RECORD_BYTES, putOwner, readOwner } from './slab-owner.js';

const OWNER = {
  device: 2 ** 52 + 3,
  slab: 2 ** 31 + 1,
  copy: 2 ** 45 + 9,
  lease: 2 ** 40 + 11,
  leaseEpoch: 7,
  generation: 2 ** 32 - 1,
};

test('an owner record is read as it was put, over whatever stood there', () => {
  const words = new Int32Array(OWNER_RECORD_BYTES / 4).fill(-1);
  putOwner(words, OWNER);
  expect(readOwner(words)).toEqual(OWNER);
});

test('a record with any bit changed is none, and zeros are none', () => {
  expect(readOwner(new Int32Array(OWNER_RECORD_BYTES / 4))).toBeUndefined();
  const words = new Int32Array(OWNER_RECORD_BYTES / 4);
  putOwner(words, OWNER);
  for (let bit = 0; bit < 8 * OWNER_RECORD_BYTES; bit++) {
    const changed = words.slice();
    changed[bit >> 5] = (changed[bit >> 5] as number) ^ (1 << (bit & 31));
    expect(readOwner(changed), `bit ${bit}`).toBeUndefined();
  }
});
