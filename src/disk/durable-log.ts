/**
 * The log of a durable memory file: batches of what was stored in the table file since the image
 * was written. Batches are written one after the other, each when the one before is durable; so
 * one that is whole proves that all before it were.
 *
 *   batch    16 words of header, then per unit its number and its 4 words; padded to 4,096 bytes
 *   unit     16 bytes of the table file: an entry of the page table, or of the region table
 */

import { assert } from '../base/assert.js';
import type { Checksum } from '../runtime/runtime.js';
import type { FileRange } from '../runtime/durable.js';
import type { Bytes } from '../runtime/network.js';
import { BLOCK_BYTES, wholeBlocks } from './durable-layout.js';
import { layout, readU32, readU53, storeU53, storeWord } from './layout.js';
import { diskFaults } from './planted.js';

export const UNIT_WORDS = 4;
export const UNIT_BYTES = 4 * UNIT_WORDS;
const RECORD_WORDS = 1 + UNIT_WORDS;

/** `MRKB` in little-endian order. */
const MAGIC = 0x424b524d;

const HEADER = layout('LogBatch', 16, {
  magic: 'u32',
  /** CRC-32C, from the salt, of everything behind this word. */
  checksum: 'u32',
  generation: 'u53',
  salt: 'u32',
  /** From 0 on in each generation. */
  sequence: 'u32',
  units: 'u32',
  padding: 9,
});

export function batchBytes(units: number): number {
  return wholeBlocks(4 * (HEADER.words + units * RECORD_WORDS));
}

export interface Generation {
  readonly generation: number;
  readonly salt: number;
}

/** A list of units with their words, as they are to be written. */
export interface UnitList {
  readonly count: number;
  /** For each its number and its words. */
  readonly records: Int32Array;
}

export class LogWriter {
  readonly #log: Bytes;
  readonly #fileOffset: number;
  readonly #checksum: Checksum;
  #of: Generation = { generation: 0, salt: 0 };
  #at = 0;
  #sequence = 0;

  /** `log` shows the log alone, which is at `fileOffset` of its file. */
  constructor(log: Bytes, fileOffset: number, checksum: Checksum) {
    this.#log = log;
    this.#fileOffset = fileOffset;
    this.#checksum = checksum;
  }

  /** Begins at the beginning: the image of this generation counts. */
  begin(of: Generation): void {
    this.#of = of;
    this.#at = 0;
    this.#sequence = 0;
  }

  get bytesUsed(): number {
    return this.#at;
  }

  hasRoom(units: number): boolean {
    return this.#at + batchBytes(units) <= this.#log.bytes.length;
  }

  /** Writes a batch, for which there is room; returns what is to be flushed. */
  append({ count, records }: UnitList): FileRange {
    assert(this.hasRoom(count), 'a batch is longer than what is left of the log');
    const { bytes, words } = this.#log;
    const { at } = HEADER;
    const start = this.#at;
    const length = batchBytes(count);
    const first = start / 4;
    const used = 4 * (HEADER.words + count * RECORD_WORDS);
    words.fill(0, first, first + HEADER.words);
    storeWord(words, first + at.magic, MAGIC);
    storeU53(storeWord, words, first + at.generation, this.#of.generation);
    storeWord(words, first + at.salt, this.#of.salt);
    storeWord(words, first + at.sequence, this.#sequence);
    storeWord(words, first + at.units, count);
    words.set(records.subarray(0, count * RECORD_WORDS), first + HEADER.words);
    bytes.fill(0, start + used, start + length);
    storeWord(
      words,
      first + at.checksum,
      checksumOf(this.#checksum, bytes, start, length, this.#of.salt),
    );
    this.#at += length;
    this.#sequence += 1;
    return { offset: this.#fileOffset + start, bytes: length };
  }
}

function checksumOf(
  { crc32c }: Checksum,
  bytes: Uint8Array,
  start: number,
  length: number,
  salt: number,
): number {
  return crc32c(bytes, start + 4 * (HEADER.at.checksum + 1), start + length, salt);
}

interface Batch {
  readonly generation: number;
  readonly sequence: number;
  readonly units: number;
  /** The first word of its records. */
  readonly records: number;
  readonly bytes: number;
}

/** Undefined: there is no whole batch. It is checked by the salt that it names itself. */
function batchAt({ bytes, words }: Bytes, start: number, checksum: Checksum): Batch | undefined {
  const { at } = HEADER;
  const first = start / 4;
  if (readU32(words, first + at.magic) !== MAGIC) return undefined;
  const units = readU32(words, first + at.units);
  const length = batchBytes(units);
  if (start + length > bytes.length) return undefined;
  const salt = readU32(words, first + at.salt);
  const told = readU32(words, first + at.checksum);
  const isWhole = checksumOf(checksum, bytes, start, length, salt) === told;
  if (!isWhole && !diskFaults.tornBatchTaken) return undefined;
  return {
    generation: readU53(words, first + at.generation),
    sequence: readU32(words, first + at.sequence),
    units,
    records: first + HEADER.words,
    bytes: length,
  };
}

export interface Replayed {
  readonly batches: number;
  readonly bytes: number;
}

/**
 * Applies all batches of the generation to the table, up to the first that is missing or was torn.
 * A string says that something that was durable is not there any more, for people.
 */
export function replayLog(
  log: Bytes,
  of: Generation,
  table: Int32Array,
  checksum: Checksum,
): Replayed | string {
  let at = 0;
  let batches = 0;
  for (;;) {
    const batch = at < log.bytes.length ? batchAt(log, at, checksum) : undefined;
    if (batch === undefined || !isOf(log, at, of) || batch.sequence !== batches) break;
    const reason = applyBatch(log.words, batch, table);
    if (reason !== undefined) return reason;
    batches += 1;
    at += batch.bytes;
  }
  return damageBehind(log, at, of, batches, checksum) ?? { batches, bytes: at };
}

function isOf({ words }: Bytes, start: number, { generation, salt }: Generation): boolean {
  const { at } = HEADER;
  const isGeneration = readU53(words, start / 4 + at.generation) === generation;
  return isGeneration && readU32(words, start / 4 + at.salt) === salt;
}

function applyBatch(words: Int32Array, batch: Batch, table: Int32Array): string | undefined {
  for (let i = 0; i < batch.units; i++) {
    const from = batch.records + i * RECORD_WORDS;
    const to = readU32(words, from) * UNIT_WORDS;
    if (to + UNIT_WORDS > table.length) return 'a batch of the log is of another table';
    table.set(words.subarray(from + 1, from + RECORD_WORDS), to);
  }
  return undefined;
}

/** Whole batches that can only have been written when what is missing here was durable. */
function damageBehind(
  log: Bytes,
  from: number,
  of: Generation,
  sequence: number,
  checksum: Checksum,
): string | undefined {
  for (let at = from; at < log.bytes.length; at += BLOCK_BYTES) {
    const batch = batchAt(log, at, checksum);
    if (batch === undefined) continue;
    if (batch.generation > of.generation) {
      return 'the last checkpoint is missing: the disk has lost a superblock that it had written';
    }
    if (isOf(log, at, of) && batch.sequence > sequence) {
      return `batch ${sequence} of the log is damaged, and batch ${batch.sequence} is there`;
    }
  }
  return undefined;
}
