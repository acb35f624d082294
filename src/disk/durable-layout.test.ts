import { expect, test } from 'vitest';
import { crc32c } from '../base/crc32c.js';
import { BLOCK_BYTES, durablePlaces, readSuperblocks, writeSuperblock } from './durable-layout.js';
import { mappingOf } from './testing/mapping.js';

const SIZES = { frameBytes: 4096, tableBytes: 4096, logBytes: 4096 };
const CHECKPOINT = {
  ...{ generation: 6, salt: 7, image: 8, opening: 9, device: 10, inode: 11 },
  isClosed: false,
};
const VERSION_WORD = 1;
const CHECKSUM_WORD = 3;
const WORDS = 64;

/** The last two blocks of a file whose superblock says that it is of this version. */
function superblocksOf(version: number) {
  const { end } = durablePlaces(SIZES);
  const mapping = mappingOf(new ArrayBuffer(2 * BLOCK_BYTES));
  writeSuperblock(mapping, end - 2 * BLOCK_BYTES, SIZES, CHECKPOINT);
  mapping.words[VERSION_WORD] = version;
  const from = 4 * (CHECKSUM_WORD + 1);
  mapping.words[CHECKSUM_WORD] = crc32c(mapping.bytes, from, 4 * WORDS);
  return readSuperblocks(mapping, end);
}

test('a file of the version before is read, and others are refused by name', () => {
  for (const version of [1, 2]) {
    expect(superblocksOf(version)).toMatchObject({ sizes: SIZES, checkpoint: CHECKPOINT });
  }
  expect(superblocksOf(3)).toBe('the file is of version 3; this program knows 1 to 2');
});
