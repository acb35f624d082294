/**
 * A slab of the backup, as one more copy of it: the same places as in memory, of which blocks are
 * in the file, and intent words and checksums in its map.
 */

import { assert } from '../../base/assert.js';
import { type Outcome, Status } from '../../base/status.js';
import { type CompletionSink, NOT_NOW } from '../../fabric/link.js';
import { outcomeOf } from '../../fabric/verbs.js';
import type { Copy } from '../../replication/copy.js';
import {
  AREA_BLOCKS,
  BLOCK_BYTES,
  CHECKSUMS_BYTES,
  INTENT_BYTES,
  Intent,
} from '../../replication/layout.js';
import { DiskError } from '../../runtime/disk.js';
import { areaRecord, Kept, markRecord, RECORD_BYTES, SlabMap } from './layout.js';
import { backupFaults } from './planted.js';
import type { SlabFile } from './slab-file.js';

/** Of all other failures nothing was taken. */
function outcomeOfWrite(status: Status): Outcome {
  if (status === Status.Ok) return 'applied';
  return status === Status.OutcomeUnknown ? 'unknown' : 'notApplied';
}

export class BackupSlab implements Copy {
  /** The file is the only one that has the slab: a write is told when it was written there. */
  isSole = false;
  readonly isBackup = true;
  readonly #file: SlabFile;
  readonly #slab: number;
  /** `Kept` of each area, as the disk has it; while a record is on its way: as it may have it. */
  #states: Uint8Array | undefined;
  /** Generations that named the file; the lower one is written over. */
  #marks: number[] = [];
  #loading: Promise<Status> | undefined;
  /** Areas that were lost since it was opened: what is still on its way to them does nothing. */
  readonly #lost = new Set<number>();
  /** What the writer before left counts no more. */
  #isWiped = false;

  constructor(file: SlabFile, slab: number) {
    this.#file = file;
    this.#slab = slab;
  }

  get id(): number {
    return this.#file.id;
  }

  failed(): void {
    // There is no other way to the file.
  }

  // ------------------------------------------------------------------------------------ the map

  /** Reads the map. Everything else does so by itself. */
  async load(): Promise<Status> {
    if (this.#states !== undefined) return Status.Ok;
    this.#loading ??= this.#load();
    const status = await this.#loading;
    this.#loading = undefined;
    return status;
  }

  async #load(): Promise<Status> {
    const { layout, plan, checksum, id } = this.#file;
    const bytes = new Uint8Array(plan.mapBytes);
    try {
      await this.#file.read(plan.map(this.#slab), bytes);
    } catch (error) {
      return statusOf(error);
    }
    const map = new SlabMap({ file: id, slab: this.#slab }, bytes, checksum);
    this.#marks = map.marks();
    this.#states = Uint8Array.from({ length: layout.areas }, (_, area) => map.state(area));
    return Status.Ok;
  }

  /** After `load`: the highest generation that named the file. */
  get generation(): number {
    return Math.max(...this.#marks);
  }

  /** After `load`. */
  state(area: number): Kept {
    return (this.#states as Uint8Array)[area] as Kept;
  }

  /** After `load`: nothing was ever kept here. */
  get isNew(): boolean {
    return this.generation === 0 && this.#states?.every((state) => state === Kept.ABSENT) === true;
  }

  /** Whether something was ever written to the area here: then it need not be zeros. */
  mayHold(area: number): boolean {
    return this.#states === undefined || this.#states[area] !== Kept.ABSENT;
  }

  /** Durable, after `load`, one at a time: an older row is of an older database. */
  async mark(generation: number): Promise<Status> {
    if (generation <= this.generation) return Status.Ok;
    assert(this.#marks.length > 0, 'the map of a slab is marked after it was read');
    return this.#mark(this.#marks.indexOf(Math.min(...this.#marks)), generation);
  }

  async #mark(place: number, generation: number): Promise<Status> {
    const { records, plan, checksum, id } = this.#file;
    const of = { file: id, slab: this.#slab };
    const record = markRecord(of, place, generation, checksum);
    const at = plan.map(this.#slab) + place * RECORD_BYTES;
    if (!(await records.write(at, record, noop, noop))) return this.#failure;
    this.#marks[place] = generation;
    return Status.Ok;
  }

  /** What the writer before knew; undefined: nobody can say. */
  get behindBefore(): ReadonlySet<number> | undefined {
    return this.#isWiped ? undefined : this.#file.known?.get(this.#slab);
  }

  /** It has all that was acknowledged of the area, though that is not clean. */
  isComplete(area: number): boolean {
    return this.behindBefore?.has(area) === false;
  }

  /** Nothing that it has counts any more, durably, nor which rows named it. */
  async wipe(): Promise<Status> {
    this.#lost.clear();
    this.#isWiped = true;
    const status = await this.#makeAll((state) => state !== Kept.ABSENT, Kept.DIRTY);
    if (status !== Status.Ok) return status;
    const ends = await Promise.all(this.#marks.map((_, place) => this.#mark(place, 0)));
    return ends.find((end) => end !== Status.Ok) ?? Status.Ok;
  }

  /**
   * These areas are lost, durably; undefined: all that may be behind, before any is written. But
   * for those that are complete. Says which, or why not.
   */
  async lose(areas: readonly number[] | undefined): Promise<readonly number[] | Status> {
    const loaded = await this.load();
    if (loaded !== Status.Ok) return loaded;
    const all = [...(this.#states as Uint8Array).keys()];
    const behind = areas ?? all.filter((area) => this.state(area) === Kept.DIRTY);
    const lost = behind.filter((area) => !this.isComplete(area));
    for (const area of lost) this.#lost.add(area);
    const status = await this.#makeAll((_state, area) => lost.includes(area), Kept.LOST);
    return status === Status.Ok ? lost : status;
  }

  async #makeAll(isMeant: (state: Kept, area: number) => boolean, state: Kept): Promise<Status> {
    const status = await this.load();
    if (status !== Status.Ok) return status;
    const areas = [...(this.#states as Uint8Array).keys()];
    const meant = areas.filter((area) => isMeant(this.state(area), area));
    const done = await Promise.all(meant.map((area) => this.#make(area, state)));
    return done.every(Boolean) ? Status.Ok : this.#failure;
  }

  #recordAt(area: number): number {
    return this.#file.plan.record(this.#slab, area);
  }

  #areaOfFile(area: number): number {
    return this.#slab * this.#file.layout.areas + area;
  }

  /** Resolves when the disk says so; false: it has failed. */
  #make(area: number, state: Kept, checksums?: Uint32Array): Promise<boolean> {
    const { records, checksum, id } = this.#file;
    const states = this.#states as Uint8Array;
    const of = { file: id, slab: this.#slab };
    const record = areaRecord(of, area, state, checksum, checksums);
    // Of two that are possible the one counts that has to be changed before the area is written to.
    const begun = (): void => {
      if (state !== Kept.DIRTY) states[area] = state;
    };
    const written = (): void => {
      states[area] = state;
    };
    return records.write(this.#recordAt(area), record, begun, written);
  }

  /** Before something is written to the area. */
  async #open(area: number): Promise<boolean> {
    const { records } = this.#file;
    const at = this.#recordAt(area);
    this.#file.keepOpen(this.#areaOfFile(area));
    if (this.state(area) === Kept.DIRTY) {
      // What would say something else has not gone yet.
      records.forget(at);
      return true;
    }
    const isMade = this.#make(area, Kept.DIRTY);
    return backupFaults.markedLate || isMade;
  }

  /** It is clean as soon as all that was written to it is on the disk. */
  #close(area: number, checksums: Uint32Array): void {
    if (this.state(area) !== Kept.DIRTY) return;
    const clean = (): void => void this.#make(area, Kept.CLEAN, checksums);
    if (backupFaults.checksumApart) clean();
    else this.#file.close(this.#areaOfFile(area), clean);
  }

  get #failure(): Status {
    return this.#file.failure === Status.Ok ? Status.Closed : this.#file.failure;
  }

  // ---------------------------------------------------------------------------------- as a copy

  read(
    at: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    void this.#read(at, into.subarray(start, start + bytes)).then((status) => {
      sink.completed(token, status, outcomeOf(status), 0, 0);
    });
  }

  async #read(at: number, into: Uint8Array): Promise<Status> {
    const status = await this.load();
    if (status !== Status.Ok) return status;
    const { intentAt, checksumsAt } = this.#file.layout;
    try {
      if (at >= checksumsAt) await this.#readChecksums(at - checksumsAt, into);
      else if (at >= intentAt) return this.#readIntents(at - intentAt, into);
      else await this.#readBlocks(at / BLOCK_BYTES, into);
      return Status.Ok;
    } catch (error) {
      return statusOf(error);
    }
  }

  /** Runs of blocks that are not pending come from the file; nobody writes to these meanwhile. */
  async #readBlocks(first: number, into: Uint8Array): Promise<void> {
    const { layout, plan, pending } = this.#file;
    const count = into.length / BLOCK_BYTES;
    const runs: { block: number; end: number }[] = [];
    for (let i = 0; i < count; i++) {
      const block = first + i;
      const isZeros = this.state(Math.floor(block / AREA_BLOCKS)) === Kept.ABSENT;
      if (pending.get(this.#slab * layout.blocks + block, into, i * BLOCK_BYTES)) continue;
      const last = runs.at(-1);
      if (isZeros) into.fill(0, i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      else if (last?.end === block) last.end += 1;
      else runs.push({ block, end: block + 1 });
    }
    for (const { block, end } of runs) {
      const part = into.subarray((block - first) * BLOCK_BYTES, (end - first) * BLOCK_BYTES);
      const done = await this.#file.read(plan.block(this.#slab, block), part);
      // The file ends where nothing was written yet.
      part.fill(0, done);
    }
  }

  /** Who asks for these wants to rely on the file. */
  #readIntents(at: number, into: Uint8Array): Status {
    into.fill(0);
    for (let i = 0; i < into.length; i += INTENT_BYTES) {
      const state = this.state((at + i) / INTENT_BYTES);
      into[i] = INTENTS[state];
    }
    return this.#file.failure;
  }

  async #readChecksums(at: number, into: Uint8Array): Promise<void> {
    const { checksum, id } = this.#file;
    const area = at / CHECKSUMS_BYTES;
    const bytes = new Uint8Array(RECORD_BYTES);
    await this.#file.read(this.#recordAt(area), bytes);
    const map = new SlabMap({ file: id, slab: this.#slab }, bytes, checksum, area);
    into.set(new Uint8Array(map.checksums(area).buffer).subarray(0, into.length));
  }

  write(
    at: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    void this.#write(at, from, start, bytes, deadline).then((status) => {
      sink.completed(token, status, outcomeOfWrite(status), 0, 0);
    });
  }

  async #write(
    at: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    deadline: number,
  ): Promise<Status> {
    const loaded = await this.load();
    if (loaded !== Status.Ok) return loaded;
    if (this.#file.failure !== Status.Ok) return this.#file.failure;
    const { intentAt, checksumsAt } = this.#file.layout;
    if (this.#lost.has(this.#areaAt(at))) return Status.Ok;
    if (at >= checksumsAt) {
      const words = new Uint8Array(from.subarray(start, start + bytes));
      this.#close((at - checksumsAt) / CHECKSUMS_BYTES, new Uint32Array(words.buffer));
      return Status.Ok;
    }
    if (at >= intentAt) {
      // What says that the area is closed are its checksums.
      if (from[start] === Intent.CLEARED) return Status.Ok;
      const area = (at - intentAt) / INTENT_BYTES;
      const isLost = from[start] === Intent.LOST;
      const isDone = await (isLost ? this.#make(area, Kept.LOST) : this.#open(area));
      return isDone ? Status.Ok : this.#failure;
    }
    return this.#writeBlocks(at / BLOCK_BYTES, from, start, bytes / BLOCK_BYTES, deadline);
  }

  async #writeBlocks(
    first: number,
    from: Uint8Array,
    start: number,
    count: number,
    deadline: number,
  ): Promise<Status> {
    if (!(await this.#open(Math.floor(first / AREA_BLOCKS)))) return this.#failure;
    // Others may take what there was while this waited for its turn.
    const area = Math.floor(first / AREA_BLOCKS);
    while (!this.#file.pending.hasRoom(count)) {
      const status = await this.#file.room(count, deadline);
      if (status !== Status.Ok) return status;
    }
    if (this.#file.failure !== Status.Ok) return this.#file.failure;
    if (this.#lost.has(area)) return Status.Ok;
    this.#put(first, from, start, count);
    // From now on it is what is read here, whatever the disk does with it.
    const isWritten = !this.isSole || (await this.#file.written()) === Status.Ok;
    return isWritten ? Status.Ok : Status.OutcomeUnknown;
  }

  #areaAt(at: number): number {
    const { intentAt, checksumsAt } = this.#file.layout;
    if (at >= checksumsAt) return (at - checksumsAt) / CHECKSUMS_BYTES;
    if (at >= intentAt) return (at - intentAt) / INTENT_BYTES;
    return Math.floor(at / BLOCK_BYTES / AREA_BLOCKS);
  }

  #put(first: number, from: Uint8Array, start: number, count: number): void {
    const { layout, pending } = this.#file;
    for (let i = 0; i < count; i++) {
      pending.put(this.#slab * layout.blocks + first + i, from, start + i * BLOCK_BYTES);
    }
    this.#file.wake();
  }

  readNow(): number {
    return NOT_NOW;
  }

  /** Into an area that is open, where there is room. */
  writeNow(at: number, from: Uint8Array, start: number, bytes: number): number {
    if (!this.mayWriteNow(at, bytes)) return NOT_NOW;
    this.#put(at / BLOCK_BYTES, from, start, bytes / BLOCK_BYTES);
    return Status.Ok;
  }

  mayWriteNow(at: number, bytes: number): boolean {
    const area = Math.floor(at / BLOCK_BYTES / AREA_BLOCKS);
    const isOpen = this.#states?.[area] === Kept.DIRTY && !this.#isClosing(area);
    const isLost = this.#lost.has(area);
    const { failure, pending } = this.#file;
    const isRoom = failure === Status.Ok && pending.hasRoom(bytes / BLOCK_BYTES);
    return isOpen && isRoom && !isLost && !this.isSole;
  }

  /** A record is asked for, or will be, that says that it is clean. */
  #isClosing(area: number): boolean {
    const { records } = this.#file;
    const at = this.#recordAt(area);
    return this.#file.isClosing(this.#areaOfFile(area)) || records.isWanted(at);
  }
}

const INTENTS = {
  [Kept.ABSENT]: Intent.CLEARED,
  [Kept.CLEAN]: Intent.CLEARED,
  [Kept.DIRTY]: Intent.SET,
  [Kept.LOST]: Intent.LOST,
};
const noop = (): void => undefined;

function statusOf(error: unknown): Status {
  if (error instanceof DiskError) return Status.Unavailable;
  throw error;
}
