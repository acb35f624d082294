/**
 * A durable memory file: the frames of a memory node and, behind them, what tells to which pages
 * they belong. See docs/internals/persistence.md.
 *
 *   frames       frame 0 | frame 1 | ...                     at 0, so that frames are aligned
 *   image 0, 1   checksums of blocks | the table file as it was at a checkpoint
 *   log          batches of what was stored in the table since, each at a multiple of 4,096
 *   superblock   A | B                                       the last two blocks of the file
 *
 * A checkpoint writes the image that does not count, then the superblock that does not count: from
 * then on both count, and the log begins anew. Everything of one generation is checksummed from its
 * *salt*, a random number in the superblock, so that nothing of another one passes for it.
 */

import { assert } from '../base/assert.js';
import { crc32c } from '../base/crc32c.js';
import type { FileRange } from '../runtime/durable.js';
import type { Bytes } from '../runtime/network.js';
import { layout, readU32, readU53, storeU53, storeWord } from './layout.js';

export const BLOCK_BYTES = 4096;
/** Locks of the file: who serves it, alone; and all that have its frames mapped, together. */
export const SERVED_PART = 0;
export const MAPPED_PART = 1;
/** `MRKD` in little-endian order. */
const MAGIC = 0x444b524d;
/** 2: regions that have come from other files, with openings of these. 1: without them. */
const VERSION = 2;
const VERSION_MIN = 1;
const SUPERBLOCKS = 2;

const SUPERBLOCK = layout('DurableSuperblock', 64, {
  magic: 'u32',
  version: 'u32',
  words: 'u32',
  /** CRC-32C of the words from the next one to the end. */
  checksum: 'u32',
  /** Raised by every checkpoint; superblock and image are those of its lowest bit. */
  generation: 'u53',
  frameBytes: 'u53',
  tableBytes: 'u53',
  logBytes: 'u53',
  /** Random, of this generation. */
  salt: 'u32',
  /** CRC-32C of the image's list of checksums. */
  image: 'u32',
  /** Random, of this opening of the file: whoever wrote without a flush asks if it is the same. */
  opening: 'u53',
  /** Of the file that this was written to: a copy has another one. */
  device: 'u53',
  inode: 'u53',
  /** 1: nobody has the file open, and nothing was stored since. */
  isClosed: 'u32',
  padding: 64 - 21,
});

export interface DurableSizes {
  /** Bytes of all frames, of the table file, of the log: multiples of 4,096. */
  readonly frameBytes: number;
  readonly tableBytes: number;
  readonly logBytes: number;
}

/** What a superblock says beside sizes. */
export interface Checkpoint {
  readonly generation: number;
  readonly salt: number;
  /** CRC-32C of the image's list of checksums. */
  readonly image: number;
  readonly opening: number;
  readonly device: number;
  readonly inode: number;
  readonly isClosed: boolean;
}

/** Where everything is, in bytes of the file. */
export interface DurablePlaces {
  readonly images: readonly [number, number];
  /** Of the list of checksums at the beginning of an image. */
  readonly checksumBytes: number;
  readonly log: number;
  readonly superblocks: readonly [number, number];
  readonly end: number;
}

export function durablePlaces({ frameBytes, tableBytes, logBytes }: DurableSizes): DurablePlaces {
  for (const bytes of [frameBytes, tableBytes, logBytes]) {
    assert(bytes > 0 && bytes % BLOCK_BYTES === 0, 'parts of a durable file are whole blocks');
  }
  const checksumBytes = wholeBlocks((tableBytes / BLOCK_BYTES) * 4);
  const imageBytes = checksumBytes + tableBytes;
  const log = frameBytes + 2 * imageBytes;
  const first = log + logBytes;
  return {
    images: [frameBytes, frameBytes + imageBytes],
    checksumBytes,
    log,
    superblocks: [first, first + BLOCK_BYTES],
    end: first + SUPERBLOCKS * BLOCK_BYTES,
  };
}

export function wholeBlocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** `bytes` shows the file from `start` on; returns what is to be flushed. */
export function writeSuperblock(
  { bytes, words }: Bytes,
  start: number,
  sizes: DurableSizes,
  checkpoint: Checkpoint,
): FileRange {
  const { at } = SUPERBLOCK;
  const offset = durablePlaces(sizes).superblocks[checkpoint.generation % 2] as number;
  const first = (offset - start) / 4;
  words.fill(0, first, first + BLOCK_BYTES / 4);
  const put = (place: number, value: number): void => storeWord(words, first + place, value);
  const putLong = (place: number, value: number): void => {
    storeU53(storeWord, words, first + place, value);
  };
  put(at.magic, MAGIC);
  put(at.version, VERSION);
  put(at.words, SUPERBLOCK.words);
  putLong(at.generation, checkpoint.generation);
  putLong(at.frameBytes, sizes.frameBytes);
  putLong(at.tableBytes, sizes.tableBytes);
  putLong(at.logBytes, sizes.logBytes);
  put(at.salt, checkpoint.salt);
  put(at.image, checkpoint.image);
  putLong(at.opening, checkpoint.opening);
  putLong(at.device, checkpoint.device);
  putLong(at.inode, checkpoint.inode);
  put(at.isClosed, checkpoint.isClosed ? 1 : 0);
  put(at.checksum, superblockChecksum(bytes, offset - start));
  return { offset, bytes: BLOCK_BYTES };
}

function superblockChecksum(bytes: Uint8Array, from: number): number {
  return crc32c(bytes, from + 4 * (SUPERBLOCK.at.checksum + 1), from + 4 * SUPERBLOCK.words);
}

export interface Superblock {
  readonly sizes: DurableSizes;
  readonly checkpoint: Checkpoint;
}

/**
 * The one that counts, from the last two blocks of a file; a string says what is wrong, for people.
 * One that makes no sense was torn while it was written, and the other one counts.
 */
export function readSuperblocks(blocks: Bytes, fileBytes: number): Superblock | string {
  const found = [0, 1].map((index) => readSuperblock(blocks, index * BLOCK_BYTES, fileBytes));
  const good = found.filter((one): one is Superblock => typeof one !== 'string');
  good.sort((a, b) => b.checkpoint.generation - a.checkpoint.generation);
  return good[0] ?? (found.find((one) => one !== NO_MAGIC) as string | undefined) ?? NO_MAGIC;
}

const NO_MAGIC = 'this is no memory file of a memory node (no MRKD near its end)';

function readSuperblock({ bytes, words }: Bytes, from: number, end: number): Superblock | string {
  const { at } = SUPERBLOCK;
  const first = from / 4;
  const u32 = (place: number): number => readU32(words, first + place);
  const u53 = (place: number): number => readU53(words, first + place);
  if (u32(at.magic) !== MAGIC) return NO_MAGIC;
  const version = u32(at.version);
  if (version < VERSION_MIN || version > VERSION) {
    return `the file is of version ${version}; this program knows ${VERSION_MIN} to ${VERSION}`;
  }
  if (u32(at.checksum) !== superblockChecksum(bytes, from)) {
    return 'the checksums of both superblocks are wrong: the end of the file was overwritten';
  }
  const sizes = {
    frameBytes: u53(at.frameBytes),
    tableBytes: u53(at.tableBytes),
    logBytes: u53(at.logBytes),
  };
  if (durablePlaces(sizes).end !== end) {
    return `the file is ${end} bytes long, and was made with ${durablePlaces(sizes).end}`;
  }
  const checkpoint = {
    generation: u53(at.generation),
    salt: u32(at.salt),
    image: u32(at.image),
    opening: u53(at.opening),
    device: u53(at.device),
    inode: u53(at.inode),
    isClosed: u32(at.isClosed) === 1,
  };
  return { sizes, checkpoint };
}
