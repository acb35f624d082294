/** A block device of the rack behind the door. */

import { Status } from '../base/status.js';
import type { ServedDevice } from '../block/served-device.js';
import type { Timers } from '../runtime/clock.js';
import { Change, Extent, extentOf, type BlockBackend, type BlockSink, NOT_NOW } from './backend.js';

/** Sectors: what is not whole blocks costs a read. */
const SECTOR_BYTES = 512;
const BLOCK_BYTES = 4096;
/** Zeros come in parts of this, and within pieces of it. */
const PART_BYTES = 65_536;
/** Parts of one request under way at a time. */
const PARTS_MAX = 8;
/** Of all requests of a device: beyond that each has one, so that others find room. */
const ALL_PARTS_MAX = 256;
const ZEROS = new Uint8Array(PART_BYTES);

export class DeviceBackend implements BlockBackend {
  readonly name: string;
  readonly description: string;
  readonly bytes: number;
  readonly blockMin = SECTOR_BYTES;
  readonly blockPreferred = BLOCK_BYTES;
  readonly isReadOnly = false;
  readonly isSparse = true;
  readonly #device: ServedDevice;
  readonly #timers: Timers;

  constructor(name: string, description: string, device: ServedDevice, timers: Timers) {
    this.name = name;
    this.description = description;
    this.bytes = device.bytes;
    this.#device = device;
    this.#timers = timers;
  }

  readNow(offset: number, into: Uint8Array, start: number, bytes: number): number {
    return this.#device.readNow(offset, into, start, bytes);
  }

  /** At all copies when it returns. */
  writeNow(offset: number, from: Uint8Array, start: number, bytes: number, change: number): number {
    if (this.#isToFlush(change)) return NOT_NOW;
    return this.#device.writeNow(offset, from, start, bytes);
  }

  #isToFlush(change: number): boolean {
    return this.#device.isBackedUp && (change & Change.DURABLE) !== 0;
  }

  /** Tells `sink` when what has ended so is as safe as a flush makes it. */
  #flushing(sink: BlockSink): BlockSink {
    const completed = (token: number, status: Status): void => {
      if (status === Status.Ok) this.flush(sink, token);
      else sink.completed(token, status);
    };
    return { completed };
  }

  read(
    offset: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: BlockSink,
    token: number,
  ): void {
    this.#device.read(offset, into, start, bytes, sink, token);
  }

  /** Told when all copies have it. */
  write(
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    change: number,
    sink: BlockSink,
    token: number,
  ): void {
    const told = this.#isToFlush(change) ? this.#flushing(sink) : sink;
    this.#device.write(offset, from, start, bytes, told, token);
  }

  /** Every write that was told is at all copies of its slab already; a file may be behind. */
  flush(sink: BlockSink, token: number): void {
    if (this.#device.isBackedUp) {
      void this.#device.flush().then((status) => sink.completed(token, status));
    } else this.#timers.soon(() => sink.completed(token, Status.Ok));
  }

  /** Of blocks that are covered as a whole; what is beside them stays as it is. */
  trim(offset: number, bytes: number, change: number, to: BlockSink, token: number): void {
    this.#zero(offset, bytes, change, Way.TRIM, to, token);
  }

  writeZeroes(offset: number, bytes: number, change: number, to: BlockSink, token: number): void {
    const keepsRoom = (change & Change.NO_HOLE) !== 0;
    // A file gets zeros written.
    const isAbsent = this.#device.device?.isAbsent(offset, bytes) === true;
    const isFast = !keepsRoom && (isAbsent || !this.#device.isBackedUp);
    if ((change & Change.FAST) !== 0 && !isFast) {
      this.#timers.soon(() => to.completed(token, Status.Unsupported));
      return;
    }
    this.#zero(offset, bytes, change, keepsRoom ? Way.WRITTEN : Way.ZEROES, to, token);
  }

  #zero(
    offset: number,
    bytes: number,
    change: number,
    way: number,
    to: BlockSink,
    token: number,
  ): void {
    const sink = this.#isToFlush(change) ? this.#flushing(to) : to;
    const range = { offset, end: offset + bytes };
    new Zeroing(this.#device, this.#timers, range, way, sink, token).begin();
  }

  cache(_offset: number, _bytes: number, sink: BlockSink, token: number): void {
    this.#timers.soon(() => sink.completed(token, Status.Ok));
  }

  whenOthersWrote(changed: () => void): () => void {
    const { strangers } = this.#device;
    strangers.add(changed);
    return () => strangers.delete(changed);
  }

  /** That they are zeros is never told: another host may have written there since. */
  extent(offset: number, bytes: number): number {
    const device = this.#device.device;
    if (device === undefined) return extentOf(bytes, 0);
    const part = Math.min(bytes, device.leftInSlab(offset));
    return extentOf(part, device.isAbsent(offset, part) ? Extent.HOLE : 0);
  }
}

/** How zeros come about. */
const Way = {
  /** Every byte takes its room. */
  WRITTEN: 0,
  /** What is whole blocks gives its memory back; the rest is written. */
  ZEROES: 1,
  /** The rest stays as it is. */
  TRIM: 2,
} as const;

interface Range {
  readonly offset: number;
  readonly end: number;
}

/** Makes zeros, some parts at a time. */
class Zeroing implements BlockSink {
  readonly #device: ServedDevice;
  readonly #timers: Timers;
  readonly #way: number;
  readonly #sink: BlockSink;
  readonly #token: number;
  readonly #end: number;
  #at: number;
  #underWay = 0;
  #status: Status = Status.Ok;

  constructor(
    device: ServedDevice,
    timers: Timers,
    { offset, end }: Range,
    way: number,
    sink: BlockSink,
    token: number,
  ) {
    this.#device = device;
    this.#timers = timers;
    this.#at = offset;
    this.#end = end;
    this.#way = way;
    this.#sink = sink;
    this.#token = token;
  }

  begin(): void {
    this.#goOn();
    // Nothing of it was whole blocks.
    if (this.#underWay === 0) this.#timers.soon(() => this.#tell());
  }

  #goOn(): void {
    while (this.#at < this.#end && this.#mayBegin()) this.#next();
  }

  #mayBegin(): boolean {
    if (this.#underWay === 0) return true;
    return this.#underWay < PARTS_MAX && this.#device.zeroing < ALL_PARTS_MAX;
  }

  #begun(parts: number): void {
    this.#underWay += parts;
    this.#device.zeroing += parts;
  }

  #next(): void {
    if (this.#way !== Way.WRITTEN && this.#skipAbsent()) return;
    const at = this.#at;
    const left = this.#end - at;
    const piece = Math.min(PART_BYTES - (at % PART_BYTES), left);
    const isEdge = at % BLOCK_BYTES !== 0 || left < BLOCK_BYTES;
    if (this.#way === Way.WRITTEN || isEdge) {
      const edge = Math.min(BLOCK_BYTES - (at % BLOCK_BYTES), left);
      this.#write(this.#way === Way.WRITTEN ? piece : edge);
      return;
    }
    const bytes = piece - (piece % BLOCK_BYTES);
    this.#at += bytes;
    this.#begun(1);
    this.#device.trim(at, bytes, this, 0);
  }

  #write(bytes: number): void {
    const at = this.#at;
    this.#at += bytes;
    if (this.#way === Way.TRIM) return;
    this.#begun(1);
    this.#device.write(at, ZEROS, 0, bytes, this, 0);
  }

  /**
   * What was never written is zeros when somebody says that nobody else has written: as for any
   * read. Under another lease it is not known any more what was written.
   */
  #skipAbsent(): boolean {
    const { device } = this.#device;
    const offset = this.#at;
    const bytes = Math.min(device?.leftInSlab(offset) ?? 0, this.#end - offset);
    if (device === undefined || !device.isAbsent(offset, bytes)) return false;
    this.#at += bytes;
    this.#begun(1);
    const range = { offset, end: offset + bytes };
    const completed = (_token: number, status: Status): void => {
      if (status !== Status.Ok || this.#device.device === device) this.completed(0, status);
      else new Zeroing(this.#device, this.#timers, range, this.#way, this, 0).begin();
    };
    this.#device.read(offset, new Uint8Array(SECTOR_BYTES), 0, SECTOR_BYTES, { completed }, 0);
    return true;
  }

  completed(_token: number, status: Status): void {
    this.#begun(-1);
    if (status !== Status.Ok) {
      this.#status = status;
      this.#at = this.#end;
    }
    this.#goOn();
    if (this.#underWay === 0) this.#tell();
  }

  #tell(): void {
    this.#sink.completed(this.#token, this.#status);
  }
}
