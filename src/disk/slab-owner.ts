/**
 * The owner record of a copy of a slab: whose it is, in the copy itself, so that it is there as
 * long as the copy. It stands in the copy's last block; the blocks before that are the writer's.
 * There are two places for it there: what is said anew goes into the other one, so that a process
 * that is killed leaves the one or the other. That of the higher generation counts.
 *
 * Behind the records, from `TORN_AT` on, stand the numbers of pages of the copy, plus 1, which may
 * have half of a write; each is one store.
 *
 * The allocation of a copy has the nonce `SLAB_NONCE`, which no client can give: what stands in the
 * memory of others is never taken for such a record. The record is written before the allocation is
 * confirmed, so every copy that is confirmed has one.
 */

import { crc32c } from '../base/crc32c.js';
import { layout, readU32, readU53, storeU53, storeWord } from './layout.js';

/** What the node keeps for itself of each copy. */
export const OWNER_BLOCK_BYTES = 4096;

/** `MRKO` in little-endian order. */
const MAGIC = 0x4f4b524d;
const VERSION = 1;

const RECORD = layout('SlabOwner', 16, {
  magic: 'u32',
  version: 'u32',
  /** CRC-32C of the words from the next one on. */
  checksum: 'u32',
  slab: 'u32',
  device: 'u53',
  copy: 'u53',
  lease: 'u53',
  leaseEpoch: 'u32',
  generation: 'u32',
  padding: 4,
});
export const OWNER_RECORD_BYTES = 4 * RECORD.words;
export const OWNER_PLACES = 2;
/** In the block; one number of a page takes 8 bytes, and 0 is none. */
export const TORN_AT = 128;
export const TORN_BYTES = 8;
const CHECKED_FROM = 4 * RECORD.at.slab;

export interface SlabOwner {
  readonly device: number;
  /** Which slab of the device. */
  readonly slab: number;
  /** Random, of this copy alone. */
  readonly copy: number;
  /** Of the device; `leaseEpoch`: under which the copy was taken. */
  readonly lease: number;
  readonly leaseEpoch: number;
  /** Of the last set in which it is known to be; 0: of none. */
  readonly generation: number;
}

/** `words` are those of the record alone. */
export function putOwner(words: Int32Array, owner: SlabOwner): void {
  const { at } = RECORD;
  words.fill(0);
  storeWord(words, at.slab, owner.slab);
  storeU53(storeWord, words, at.device, owner.device);
  storeU53(storeWord, words, at.copy, owner.copy);
  storeU53(storeWord, words, at.lease, owner.lease);
  storeWord(words, at.leaseEpoch, owner.leaseEpoch);
  storeWord(words, at.generation, owner.generation);
  storeWord(words, at.version, VERSION);
  storeWord(words, at.checksum, checksumOf(words));
  storeWord(words, at.magic, MAGIC);
}

/** Undefined: what stands there is no record, or damaged. */
export function readOwner(words: Int32Array): SlabOwner | undefined {
  const { at } = RECORD;
  if (readU32(words, at.magic) !== MAGIC || readU32(words, at.version) !== VERSION) {
    return undefined;
  }
  if (readU32(words, at.checksum) !== checksumOf(words)) return undefined;
  return {
    device: readU53(words, at.device),
    slab: readU32(words, at.slab),
    copy: readU53(words, at.copy),
    lease: readU53(words, at.lease),
    leaseEpoch: readU32(words, at.leaseEpoch),
    generation: readU32(words, at.generation),
  };
}

function checksumOf(words: Int32Array): number {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, OWNER_RECORD_BYTES);
  return crc32c(bytes, CHECKED_FROM, OWNER_RECORD_BYTES);
}
