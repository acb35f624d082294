/**
 * How a copy is laid out: the blocks, then one intent word for each area, then one checksum for
 * each block. All of it is inside the memory that the copy was given.
 */

import { assert } from '../base/assert.js';

/** What is said of copies holds for each block by itself. */
export const BLOCK_BYTES = 4096;
/** Blocks that share an intent word. */
export const AREA_BLOCKS = 64;
export const AREA_BYTES = AREA_BLOCKS * BLOCK_BYTES;
/** The most that one operation moves: it lies within one area, and within one page of a node. */
export const PIECE_BLOCKS = 16;
export const PIECE_BYTES = PIECE_BLOCKS * BLOCK_BYTES;
export const INTENT_BYTES = 8;
/** What an intent word says in its first byte. */
export const Intent = { CLEARED: 0, SET: 1, LOST: 2 } as const;
export const CHECKSUM_BYTES = 4;
/** Of one area. */
export const CHECKSUMS_BYTES = AREA_BLOCKS * CHECKSUM_BYTES;
/** Of memory, for a copy of one area. */
export const SLAB_BYTES_LEAST = AREA_BYTES + 2 * CHECKSUMS_BYTES;

export interface SlabLayout {
  readonly areas: number;
  readonly blocks: number;
  /** Bytes of the blocks: what can be used. */
  readonly dataBytes: number;
  readonly intentAt: number;
  readonly checksumsAt: number;
}

/**
 * Of a copy that takes at most `bytes` of memory. The checksums of an area lie within one page of a
 * node, as whatever is read or written at once does: behind the words, at a multiple of their size.
 */
export function layoutOf(bytes: number): SlabLayout {
  const each = AREA_BYTES + INTENT_BYTES + CHECKSUMS_BYTES;
  const areas = Math.floor((bytes - CHECKSUMS_BYTES + INTENT_BYTES) / each);
  assert(areas > 0, 'a slab has room for an area');
  const dataBytes = areas * AREA_BYTES;
  const words = Math.ceil((areas * INTENT_BYTES) / CHECKSUMS_BYTES) * CHECKSUMS_BYTES;
  const checksumsAt = dataBytes + words;
  return { areas, blocks: areas * AREA_BLOCKS, dataBytes, intentAt: dataBytes, checksumsAt };
}

export const areaOf = (block: number): number => Math.floor(block / AREA_BLOCKS);
