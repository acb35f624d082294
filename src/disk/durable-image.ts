/**
 * The image of a durable memory file: the table file as it was at a checkpoint, with a checksum for
 * each of its blocks, and a checksum of these in the superblock.
 */

import type { FileRange } from '../runtime/durable.js';
import type { Bytes } from '../runtime/network.js';
import type { Checksum } from '../runtime/runtime.js';
import { BLOCK_BYTES, durablePlaces, type DurableSizes } from './durable-layout.js';
import type { Generation } from './durable-log.js';

const BLOCK_WORDS = BLOCK_BYTES / 4;

/** From the salt and its place: so a block of another image, or another place, does not pass. */
function seedOf({ salt }: Generation, block: number): number {
  return (salt ^ Math.imul(block + 1, 0x9e3779b1)) >>> 0;
}

interface Place {
  /** In bytes of the file, */
  readonly offset: number;
  /** and in words of what is shown. */
  readonly checksums: number;
  readonly table: number;
}

/** `start` is where in the file what is shown begins. */
function placeOf(sizes: DurableSizes, { generation }: Generation, start: number): Place {
  const { images, checksumBytes } = durablePlaces(sizes);
  const offset = images[generation % 2] as number;
  const checksums = (offset - start) / 4;
  return { offset, checksums, table: checksums + checksumBytes / 4 };
}

export interface WrittenImage {
  /** What is to be flushed. */
  readonly range: FileRange;
  /** CRC-32C of the list of checksums, for the superblock. */
  readonly checksum: number;
}

/** Copies the table to the image of this generation, which must not be the one that counts. */
export function writeImage(
  shown: Bytes,
  start: number,
  sizes: DurableSizes,
  of: Generation,
  table: Int32Array,
  checksum: Checksum,
): WrittenImage {
  const { bytes, words } = shown;
  const place = placeOf(sizes, of, start);
  const { checksumBytes } = durablePlaces(sizes);
  words.fill(0, place.checksums, place.table);
  words.set(table, place.table);
  for (let block = 0; block * BLOCK_BYTES < sizes.tableBytes; block++) {
    const from = place.table * 4 + block * BLOCK_BYTES;
    const crc = checksum.crc32c(bytes, from, from + BLOCK_BYTES, seedOf(of, block));
    words[place.checksums + block] = crc;
  }
  return {
    range: { offset: place.offset, bytes: checksumBytes + sizes.tableBytes },
    checksum: listChecksum(bytes, place, of, checksum),
  };
}

function listChecksum(
  bytes: Uint8Array,
  { checksums, table }: Place,
  of: Generation,
  { crc32c }: Checksum,
): number {
  return crc32c(bytes, checksums * 4, table * 4, seedOf(of, -1));
}

/** A copy of the table of this generation; a string says what is wrong with it, for people. */
export function readImage(
  { bytes, words }: Bytes,
  start: number,
  sizes: DurableSizes,
  of: Generation & { readonly image: number },
  checksum: Checksum,
): Int32Array | string {
  const place = placeOf(sizes, of, start);
  if (listChecksum(bytes, place, of, checksum) !== of.image) {
    return 'the list of checksums of the image is damaged';
  }
  for (let block = 0; block * BLOCK_BYTES < sizes.tableBytes; block++) {
    const from = place.table * 4 + block * BLOCK_BYTES;
    const crc = checksum.crc32c(bytes, from, from + BLOCK_BYTES, seedOf(of, block));
    if (words[place.checksums + block] !== (crc | 0)) {
      return `block ${block} of the image is damaged, at byte ${from + start} of the file`;
    }
  }
  return words.slice(place.table, place.table + (sizes.tableBytes / BLOCK_BYTES) * BLOCK_WORDS);
}
