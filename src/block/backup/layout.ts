/**
 * The file behind a device: where what is, and what its records look like.
 *
 *   head A | head B                           4 KiB each: of which device, and the file's number
 *   slab 0: map | data, slab 1: map | data, ...
 *
 * The map has two records for the generation of the slab, written by turns, and one for each area:
 * its state, with the checksums of its blocks. A record is as long as what a disk writes at once,
 * and has a checksum of its own. One that is all zeros was never written.
 */

import { layout, readU32, readU53, storeU53, storeWord } from '../../disk/layout.js';
import { AREA_BLOCKS, BLOCK_BYTES, type SlabLayout } from '../../replication/layout.js';
import type { Checksum } from '../../runtime/runtime.js';

export const HEAD_BYTES = 4096;
export const HEADS_BYTES = 2 * HEAD_BYTES;
export const RECORD_BYTES = 512;
const MARKS = 2;
/** `MRKF` in little-endian order. */
const MAGIC = 0x464b524d;
const VERSION = 1;

/** What a file knows of an area. */
export const Kept = { ABSENT: 0, CLEAN: 1, DIRTY: 2, LOST: 3 } as const;
export type Kept = (typeof Kept)[keyof typeof Kept];

const HEAD = layout('BackupHead', 16, {
  magic: 'u32',
  version: 'u32',
  /** CRC-32C of the words from the next one to the end. */
  checksum: 'u32',
  words: 'u32',
  device: 'u53',
  /** Random: rows name the file by it. */
  file: 'u53',
  /** Of memory, that a copy of a slab takes: what follows from it is how a slab lies here. */
  slabBytes: 'u53',
  padding: 6,
});

const RECORD = layout('BackupRecord', RECORD_BYTES / 4, {
  /** CRC-32C of the words from the next one to the end. */
  checksum: 'u32',
  /** `Kept` of an area; of a slab its generation. */
  state: 'u32',
  file: 'u53',
  slab: 'u32',
  /** From the beginning of the map. */
  place: 'u32',
  checksums: AREA_BLOCKS,
  padding: RECORD_BYTES / 4 - 6 - AREA_BLOCKS,
});

/** Of which device the file is, and how. */
export interface FileFacts {
  readonly device: number;
  readonly file: number;
  readonly slabBytes: number;
}

export interface FilePlan {
  readonly mapBytes: number;
  /** Of the map of a slab. */
  map(slab: number): number;
  /** Of the record of an area. */
  record(slab: number, area: number): number;
  /** Of a block of a slab. */
  block(slab: number, block: number): number;
}

export function filePlanOf({ areas, dataBytes }: SlabLayout): FilePlan {
  const mapBytes = Math.ceil(((MARKS + areas) * RECORD_BYTES) / BLOCK_BYTES) * BLOCK_BYTES;
  const map = (slab: number): number => HEADS_BYTES + slab * (mapBytes + dataBytes);
  return {
    mapBytes,
    map,
    record: (slab, area) => map(slab) + (MARKS + area) * RECORD_BYTES,
    block: (slab, block) => map(slab) + mapBytes + block * BLOCK_BYTES,
  };
}

function seal(words: Int32Array, checksumAt: number, { crc32c }: Checksum): Uint8Array {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  storeWord(words, checksumAt, crc32c(bytes, 4 * (checksumAt + 1), bytes.length));
  return bytes;
}

function isSealed(words: Int32Array, checksumAt: number, { crc32c }: Checksum): boolean {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return readU32(words, checksumAt) === crc32c(bytes, 4 * (checksumAt + 1), bytes.length);
}

export function headOf({ device, file, slabBytes }: FileFacts, checksum: Checksum): Uint8Array {
  const { at } = HEAD;
  const words = new Int32Array(HEAD_BYTES / 4);
  storeWord(words, at.magic, MAGIC);
  storeWord(words, at.version, VERSION);
  storeWord(words, at.words, HEAD.words);
  storeU53(storeWord, words, at.device, device);
  storeU53(storeWord, words, at.file, file);
  storeU53(storeWord, words, at.slabBytes, slabBytes);
  return seal(words, at.checksum, checksum);
}

/** By either head, whatever else is wrong with it. */
export function isBackupHead(heads: Uint8Array): boolean {
  const words = new Int32Array(new Uint8Array(heads).buffer);
  return [0, HEAD_BYTES / 4].some((from) => readU32(words, from + HEAD.at.magic) === MAGIC);
}

/** Of either head; a text says what is wrong, for people. */
export function factsIn(heads: Uint8Array, checksum: Checksum): FileFacts | string {
  const { at } = HEAD;
  let wrong = 'it is no backup of a device (no MRKF at its beginning)';
  for (let from = 0; from + HEAD_BYTES <= heads.length; from += HEAD_BYTES) {
    const words = new Int32Array(heads.slice(from, from + HEAD_BYTES).buffer);
    if (readU32(words, at.magic) !== MAGIC) continue;
    const version = readU32(words, at.version);
    if (version !== VERSION) wrong = `it is of version ${version}; this program knows ${VERSION}`;
    else if (!isSealed(words, at.checksum, checksum)) wrong = 'its beginning was overwritten';
    else {
      const [device, file] = [readU53(words, at.device), readU53(words, at.file)];
      return { device, file, slabBytes: readU53(words, at.slabBytes) };
    }
  }
  return wrong;
}

/** Where a record belongs: one from another place is none. */
export interface RecordPlace {
  readonly file: number;
  readonly slab: number;
}

function recordOf(
  { file, slab }: RecordPlace,
  place: number,
  state: number,
  checksum: Checksum,
  checksums: Uint32Array | undefined,
): Uint8Array {
  const { at } = RECORD;
  const words = new Int32Array(RECORD.words);
  storeWord(words, at.state, state);
  storeU53(storeWord, words, at.file, file);
  storeWord(words, at.slab, slab);
  storeWord(words, at.place, place);
  if (checksums !== undefined) words.set(checksums, at.checksums);
  return seal(words, at.checksum, checksum);
}

export function areaRecord(
  of: RecordPlace,
  area: number,
  state: Kept,
  checksum: Checksum,
  checksums?: Uint32Array,
): Uint8Array {
  return recordOf(of, MARKS + area, state, checksum, checksums);
}

/** Of a generation, at one of two places. */
export function markRecord(
  of: RecordPlace,
  place: number,
  generation: number,
  checksum: Checksum,
): Uint8Array {
  return recordOf(of, place, generation, checksum, undefined);
}

const isZeros = (record: Int32Array): boolean => record.every((word) => word === 0);

/** A map as it was read, or some of it: what is missing at its end is zeros. */
export class SlabMap {
  readonly #of: RecordPlace;
  readonly #words: Int32Array;
  readonly #checksum: Checksum;
  readonly #first: number;

  /** `area`: the record that it begins with; undefined: it is the whole map. */
  constructor(of: RecordPlace, bytes: Uint8Array, checksum: Checksum, area?: number) {
    this.#of = of;
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    this.#checksum = checksum;
    this.#first = area === undefined ? 0 : MARKS + area;
  }

  /** Of a whole map the generations that were marked; 0: none. */
  marks(): number[] {
    return Array.from({ length: MARKS }, (_, place) => {
      const record = this.#record(place);
      return this.#isWhole(record, place) ? readU32(record, RECORD.at.state) : 0;
    });
  }

  /** Of a whole map: one of these was written, and is not as it was. */
  get areMarksDamaged(): boolean {
    return Array.from({ length: MARKS }, (_, place) => place).some((place) => {
      const record = this.#record(place);
      return !isZeros(record) && !this.#isWhole(record, place);
    });
  }

  /** It was written, and is not as it was. */
  isDamaged(area: number): boolean {
    const record = this.#record(MARKS + area);
    return !isZeros(record) && !this.#isWhole(record, MARKS + area);
  }

  /** One that was torn, or damaged, may be behind. */
  state(area: number): Kept {
    const record = this.#record(MARKS + area);
    if (isZeros(record)) return Kept.ABSENT;
    if (!this.#isWhole(record, MARKS + area)) return Kept.DIRTY;
    const state = readU32(record, RECORD.at.state);
    return state === Kept.CLEAN || state === Kept.LOST ? state : Kept.DIRTY;
  }

  /** Of a clean area; those of zeros for any other. */
  checksums(area: number): Uint32Array {
    const of = new Uint32Array(AREA_BLOCKS);
    if (this.state(area) !== Kept.CLEAN) return of;
    const { checksums } = RECORD.at;
    of.set(this.#record(MARKS + area).subarray(checksums, checksums + AREA_BLOCKS));
    return of;
  }

  #record(place: number): Int32Array {
    const at = (place - this.#first) * RECORD.words;
    return this.#words.subarray(at, at + RECORD.words);
  }

  #isWhole(record: Int32Array, place: number): boolean {
    const { at } = RECORD;
    return (
      isSealed(record, at.checksum, this.#checksum) &&
      readU53(record, at.file) === this.#of.file &&
      readU32(record, at.slab) === this.#of.slab &&
      readU32(record, at.place) === place
    );
  }
}
