/**
 * The table file of a memory node: everything that a restarted node needs in order to go on with
 * the memory of the one before it. Its supervisor creates it; the node's main thread is the only
 * writer afterwards. Others map it and only read.
 *
 *   byte 0        static part: written once, under a checksum
 *   byte 256      moving part: incarnation and intent
 *   byte 4,096    region table: one entry of 16 bytes per region that the node may hold
 *   then, each at a multiple of 4,096:
 *                 owners of slots (slots.ts), windows (window-table.ts), leases (lease-table.ts)
 *   tableOffset   page table (page-table.ts)
 *
 * The static part stands first and tells the offsets of the rest, so that a reader can check it
 * before it believes anything else. The moving part is not under a checksum: it is made of single
 * words, each of which was stored or was not.
 */

import { assert } from '../base/assert.js';
import { crc32c } from '../base/crc32c.js';
import type { Mapping } from '../runtime/memory.js';
import { Intent } from './intent.js';
import { layout, readU32, readU53, type StoreWord, storeU53, storeWord } from './layout.js';
import { ENTRIES_PER_BUCKET, ENTRY_BYTES, ENTRY_WORDS, PageTable } from './page-table.js';
import { REGION_ENTRY_BYTES, RegionTable } from './region-table.js';
import { LEASE_TABLE_BYTES, LeaseTable } from './lease-table.js';
import { nextGeneration, OWNER_TABLE_BYTES, SlotOwners } from './slots.js';
import { WINDOW_RECORD_BYTES, WindowTable } from './window-table.js';

/** `MRKT` in little-endian order. */
const MAGIC = 0x544b524d;
/**
 * 3: marks of pages that were written, and what is kept of moves between nodes. 2: with what
 * clients need that map the file themselves. 1: the first.
 */
const VERSION = 3;
const NODE_ID_BYTES_MAX = 64;

const STATIC = layout('TableFileStatic', 64, {
  magic: 'u32',
  version: 'u32',
  staticBytes: 'u32',
  /** CRC-32C of the words from the next one to the end of the static part. */
  checksum: 'u32',
  /** Random, made with the files: a node that came back empty has another one. */
  memoryId: 'u53',
  pageBytes: 'u32',
  frames: 'u32',
  tableEntries: 'u32',
  regionEntries: 'u32',
  regionBytes: 'u32',
  windowEntries: 'u32',
  tableOffset: 'u32',
  nodeIdBytes: 'u32',
  /** ASCII. */
  nodeId: NODE_ID_BYTES_MAX / 4,
  padding: 64 - 14 - NODE_ID_BYTES_MAX / 4,
});

const MOVING = layout('TableFileMoving', 64, {
  /** Raised by every node process before it changes anything else; 0: never started. */
  incarnation: 'u32',
  padding: 1,
  /** See intent.ts. */
  intent: 16,
  padding2: 14,
  /** The incarnation of the process that serves; 0 while none does. */
  alive: 'u32',
  /** Raised after entries were emptied, paused or given fewer rights: see slots.ts. */
  generation: 'u32',
  /** Raised by every change that did not wait for all slots. */
  forced: 'u32',
  /** Not 0: whoever writes to a frame marks it (slots.ts). */
  tracking: 'u32',
  /** Moves to this memory up to this epoch are never completed any more. */
  floor: 'u32',
  /** The highest epoch under which a region was given to another memory. */
  givenAway: 'u32',
  rest: 2,
  /** The highest mark that a controller told: see docs/internals/restore.md. */
  markController: 'u53',
  markCommit: 'u53',
  markLife: 'u32',
  markSpace: 'u32',
  markEpoch: 'u32',
  markInstance: 'u32',
  /** Of a durable file: see `openings`. 0: none. */
  openings: 16,
});

const HEADER_BYTES = 4096;
const MOVING_FIRST = STATIC.words;
const TABLE_ALIGNMENT = 4096;
/** More than a node is opened between two times that the controller hears of it. */
const OPENINGS_MAX = 8;

/** Words of the file that clients look at in every step. */
export const ALIVE_WORD = MOVING_FIRST + MOVING.at.alive;
export const GENERATION_WORD = MOVING_FIRST + MOVING.at.generation;
export const FORCED_WORD = MOVING_FIRST + MOVING.at.forced;
const OPENINGS_FIRST = MOVING_FIRST + MOVING.at.openings;
export const TRACKING_WORD = MOVING_FIRST + MOVING.at.tracking;

export interface TableFacts {
  readonly nodeId: string;
  readonly memoryId: number;
  readonly pageBytes: number;
  readonly frames: number;
  /** A power of two, at least one bucket. */
  readonly tableEntries: number;
  readonly regionEntries: number;
  /** Bytes of address space per region: the unit in which spaces are granted. */
  readonly regionBytes: number;
  readonly windowEntries: number;
}

/** How far the database of a controller had come: all 0 where none was told. */
export interface ControllerMark {
  readonly controller: number;
  readonly commit: number;
  readonly life: number;
  readonly nextSpace: number;
  readonly nextEpoch: number;
  /** Random, of the process that told `commit`. */
  readonly instance: number;
}

interface Places {
  readonly owners: number;
  readonly windows: number;
  readonly leases: number;
  readonly pages: number;
}

/** In bytes. */
function placesOf(facts: TableFacts): Places {
  const owners = aligned(HEADER_BYTES + facts.regionEntries * REGION_ENTRY_BYTES);
  const windows = aligned(owners + OWNER_TABLE_BYTES);
  const leases = aligned(windows + facts.windowEntries * WINDOW_RECORD_BYTES);
  return { owners, windows, leases, pages: aligned(leases + LEASE_TABLE_BYTES) };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / TABLE_ALIGNMENT) * TABLE_ALIGNMENT;
}

function tableOffset(facts: TableFacts): number {
  return placesOf(facts).pages;
}

/** Length of the file; a multiple of 4,096. */
export function tableFileBytes(facts: TableFacts): number {
  const bytes = tableOffset(facts) + facts.tableEntries * ENTRY_BYTES;
  return Math.ceil(bytes / TABLE_ALIGNMENT) * TABLE_ALIGNMENT;
}

/** Four entries per frame, in whole buckets, a power of two of them. */
export function tableEntriesFor(frames: number): number {
  let entries = ENTRIES_PER_BUCKET;
  while (entries < 4 * frames) entries *= 2;
  return entries;
}

/** Writes the static part into a fresh file, which is all zeros. */
export function formatTableFile(mapping: Mapping, facts: TableFacts): void {
  const { words } = mapping;
  const at = STATIC.at;
  assert(/^[\x21-\x7e]{1,64}$/.test(facts.nodeId), 'node id is not 1 to 64 visible characters');
  assert(mapping.bytes.length >= tableFileBytes(facts), 'table file is too short');
  storeWord(words, at.version, VERSION);
  storeWord(words, at.staticBytes, STATIC.words * 4);
  storeU53(storeWord, words, at.memoryId, facts.memoryId);
  storeWord(words, at.pageBytes, facts.pageBytes);
  storeWord(words, at.frames, facts.frames);
  storeWord(words, at.tableEntries, facts.tableEntries);
  storeWord(words, at.regionEntries, facts.regionEntries);
  storeWord(words, at.regionBytes, facts.regionBytes);
  storeWord(words, at.windowEntries, facts.windowEntries);
  storeWord(words, at.tableOffset, tableOffset(facts));
  storeWord(words, at.nodeIdBytes, facts.nodeId.length);
  for (let i = 0; i < facts.nodeId.length; i++) {
    mapping.bytes[at.nodeId * 4 + i] = facts.nodeId.charCodeAt(i);
  }
  storeWord(words, at.checksum, staticChecksum(mapping));
  storeWord(words, at.magic, MAGIC);
}

function staticChecksum(mapping: Mapping): number {
  return crc32c(mapping.bytes, (STATIC.at.checksum + 1) * 4, STATIC.words * 4);
}

/** Words have 32 bits. */
const EPOCH_MAX = 2 ** 32 - 1;

export class TableFile {
  readonly facts: TableFacts;
  readonly pages: PageTable;
  readonly regions: RegionTable;
  readonly intent: Intent;
  readonly owners: SlotOwners;
  readonly windows: WindowTable;
  readonly leases: LeaseTable;
  readonly #words: Int32Array;
  readonly #store: StoreWord;
  readonly #passing: StoreWord;

  private constructor(mapping: Mapping, facts: TableFacts, store: StoreWord, passing: StoreWord) {
    const { words } = mapping;
    this.facts = facts;
    this.#passing = passing;
    const places = placesOf(facts);
    this.pages = new PageTable(words, places.pages / 4, facts.tableEntries, store, passing);
    this.owners = new SlotOwners(words, places.owners / 4, passing);
    this.windows = new WindowTable(words, places.windows / 4, facts.windowEntries, passing);
    this.leases = new LeaseTable(words, places.leases / 4, store);
    this.regions = new RegionTable(words, HEADER_BYTES / 4, facts.regionEntries, store);
    this.intent = new Intent(words, MOVING_FIRST + MOVING.at.intent, store);
    this.#words = words;
    this.#store = store;
  }

  /**
   * Checks what `formatTableFile` wrote. A string says what is wrong, for people. `passing` stores
   * what is good only as long as a supervisor holds the file.
   */
  static open(
    mapping: Mapping,
    store: StoreWord = storeWord,
    passing: StoreWord = store,
  ): TableFile | string {
    const reason = invalid(mapping);
    if (reason !== undefined) return reason;
    return new TableFile(mapping, readFacts(mapping), store, passing);
  }

  /**
   * Of a durable file the last openings, oldest first, the one of now included. The controller
   * knows which it has met last: a file that was copied before that one was made does not name it.
   */
  get openings(): number[] {
    const openings: number[] = [];
    for (let i = 0; i < OPENINGS_MAX; i++) {
      const opening = readU53(this.#words, OPENINGS_FIRST + 2 * i);
      if (opening !== 0) openings.push(opening);
    }
    return openings;
  }

  /** Before any process serves. */
  noteOpening(opening: number): void {
    const openings = [...this.openings, opening].slice(-OPENINGS_MAX);
    openings.forEach((one, i) => {
      storeU53(this.#store, this.#words, OPENINGS_FIRST + 2 * i, one);
    });
  }

  /** Of a supervisor that makes the file from a durable one: nobody has a slot or a window. */
  forgetPassing(): void {
    const { owners, leases } = placesOf(this.facts);
    this.#words.fill(0, owners / 4, leases / 4);
    this.alive = 0;
  }

  get incarnation(): number {
    return readU32(this.#words, MOVING_FIRST + MOVING.at.incarnation);
  }

  /** The first change of a new node process: from then on every epoch given before is old. */
  raiseIncarnation(by = 1): void {
    this.#store(this.#words, MOVING_FIRST + MOVING.at.incarnation, this.incarnation + by);
  }

  /** The incarnation of the process that serves; 0 while none does. */
  get alive(): number {
    return readU32(this.#words, ALIVE_WORD);
  }

  set alive(incarnation: number) {
    this.#passing(this.#words, ALIVE_WORD, incarnation);
  }

  get generation(): number {
    return Atomics.load(this.#words, GENERATION_WORD);
  }

  /** Returns the new one. */
  raiseGeneration(): number {
    const next = nextGeneration(this.generation);
    this.#passing(this.#words, GENERATION_WORD, next);
    return next;
  }

  raiseForced(): void {
    this.#passing(this.#words, FORCED_WORD, Atomics.load(this.#words, FORCED_WORD) + 1);
  }

  /** Epochs that came here without a mark were given out, too. */
  get mark(): ControllerMark {
    const words = this.#words;
    const epoch = readU32(words, MOVING_FIRST + MOVING.at.markEpoch);
    return {
      controller: readU53(words, MOVING_FIRST + MOVING.at.markController),
      commit: readU53(words, MOVING_FIRST + MOVING.at.markCommit),
      life: readU32(words, MOVING_FIRST + MOVING.at.markLife),
      nextSpace: readU32(words, MOVING_FIRST + MOVING.at.markSpace),
      nextEpoch: Math.min(Math.max(epoch, this.floor + 1, this.givenAway + 1), EPOCH_MAX),
      instance: readU32(words, MOVING_FIRST + MOVING.at.markInstance),
    };
  }

  /** Of the same controller a mark only rises; that of another one takes its place. */
  raiseMark(told: ControllerMark): void {
    const { at } = MOVING;
    if (told.controller === 0) return;
    const now = this.mark;
    const isSame = now.controller === told.controller;
    if (!isSame) this.#storeMark53(at.markController, 0);
    const most = (field: keyof ControllerMark): number =>
      isSame ? Math.max(now[field], told[field]) : told[field];
    if (!isSame || told.commit > now.commit) {
      this.#storeMark53(at.markCommit, told.commit);
      this.#storeMark(at.markInstance, now.instance, told.instance);
    }
    this.#storeMark(at.markLife, now.life, most('life'));
    this.#storeMark(at.markSpace, now.nextSpace, most('nextSpace'));
    this.#storeMark(at.markEpoch, now.nextEpoch, most('nextEpoch'));
    if (!isSame) this.#storeMark53(at.markController, told.controller);
  }

  /** An epoch that was given out: a controller that does not know that is to hear of it. */
  noteGivenOut(epoch: number): void {
    const now = this.mark.nextEpoch;
    this.#storeMark(MOVING.at.markEpoch, now, Math.max(now, Math.min(epoch + 1, EPOCH_MAX)));
  }

  #storeMark(at: number, before: number, now: number): void {
    if (now !== before) this.#store(this.#words, MOVING_FIRST + at, now);
  }

  #storeMark53(at: number, value: number): void {
    storeU53(this.#store, this.#words, MOVING_FIRST + at, value);
  }

  /** Whether writers mark the frames that they write to. */
  get isTracking(): boolean {
    return Atomics.load(this.#words, TRACKING_WORD) !== 0;
  }

  set isTracking(isOn: boolean) {
    this.#passing(this.#words, TRACKING_WORD, isOn ? 1 : 0);
  }

  /** Epochs up to this one are refused for regions that would come here. */
  get floor(): number {
    return readU32(this.#words, MOVING_FIRST + MOVING.at.floor);
  }

  /** Never lowers it. */
  raiseFloor(epoch: number): void {
    if (epoch > this.floor) this.#store(this.#words, MOVING_FIRST + MOVING.at.floor, epoch);
  }

  /** The highest epoch under which a region of this memory went to another one. */
  get givenAway(): number {
    return readU32(this.#words, MOVING_FIRST + MOVING.at.givenAway);
  }

  noteGivenAway(epoch: number): void {
    if (epoch <= this.givenAway) return;
    this.#store(this.#words, MOVING_FIRST + MOVING.at.givenAway, epoch);
  }

  get pagesPerRegion(): number {
    return this.facts.regionBytes / this.facts.pageBytes;
  }
}

function invalid(mapping: Mapping): string | undefined {
  const { words } = mapping;
  const at = STATIC.at;
  if (words.length * 4 < HEADER_BYTES) return 'the table file is shorter than its header';
  if (readU32(words, at.magic) !== MAGIC) return 'this is not a table file (no MRKT at its start)';
  const version = readU32(words, at.version);
  if (version !== VERSION) return `table file version ${version}; this program knows ${VERSION}`;
  if (readU32(words, at.staticBytes) !== STATIC.words * 4)
    return 'the table file has a head of a wrong length';
  if (readU32(words, at.checksum) !== staticChecksum(mapping)) {
    return 'the checksum of the table file does not match: its head was overwritten';
  }
  const facts = readFacts(mapping);
  const buckets = facts.tableEntries / ENTRIES_PER_BUCKET;
  if (
    !Number.isInteger(Math.log2(buckets)) ||
    tableOffset(facts) !== readU32(words, at.tableOffset)
  ) {
    return 'the table file describes a layout that cannot be';
  }
  const end = tableOffset(facts) / 4 + facts.tableEntries * ENTRY_WORDS;
  if (end > words.length) return 'the table file is shorter than its head says';
  return undefined;
}

function readFacts(mapping: Mapping): TableFacts {
  const { words } = mapping;
  const at = STATIC.at;
  const length = Math.min(readU32(words, at.nodeIdBytes), NODE_ID_BYTES_MAX);
  let nodeId = '';
  for (let i = 0; i < length; i++) {
    nodeId += String.fromCharCode(mapping.bytes[at.nodeId * 4 + i] as number);
  }
  return {
    nodeId,
    memoryId: readU53(words, at.memoryId),
    pageBytes: readU32(words, at.pageBytes),
    frames: readU32(words, at.frames),
    tableEntries: readU32(words, at.tableEntries),
    regionEntries: readU32(words, at.regionEntries),
    regionBytes: readU32(words, at.regionBytes),
    windowEntries: readU32(words, at.windowEntries),
  };
}
