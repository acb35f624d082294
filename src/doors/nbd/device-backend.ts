/** A block device of the rack behind the door. */

import { Status } from '../../base/status.js';
import type { ServedDevice } from '../../block/served-device.js';
import type { CompletionSink } from '../../fabric/link.js';
import type { Timers } from '../../runtime/clock.js';
import { Change, Extent, extentOf, type NbdBackend, type NbdSink, NOT_NOW } from './backend.js';

/** Sectors: what is not whole blocks costs a read. */
const SECTOR_BYTES = 512;
const BLOCK_BYTES = 4096;
/** Zeros are written in parts of this, and within pieces of it. */
const PART_BYTES = 65_536;
/** Parts of one request under way at a time. */
const PARTS_MAX = 8;
const ZEROS = new Uint8Array(PART_BYTES);

export class DeviceBackend implements NbdBackend {
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
  #flushing(sink: NbdSink): NbdSink {
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
    sink: NbdSink,
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
    sink: NbdSink,
    token: number,
  ): void {
    const told = this.#isToFlush(change) ? this.#flushing(sink) : sink;
    this.#device.write(offset, from, start, bytes, told, token);
  }

  /** Every write that was told is at all copies of its slab already; a file may be behind. */
  flush(sink: NbdSink, token: number): void {
    if (this.#device.isBackedUp) {
      void this.#device.flush().then((status) => sink.completed(token, status));
    } else this.#timers.soon(() => sink.completed(token, Status.Ok));
  }

  /** What is there stays there. */
  trim(_offset: number, _bytes: number, _change: number, sink: NbdSink, token: number): void {
    this.#timers.soon(() => sink.completed(token, Status.Ok));
  }

  writeZeroes(offset: number, bytes: number, change: number, to: NbdSink, token: number): void {
    const sink = this.#isToFlush(change) ? this.#flushing(to) : to;
    const device = this.#device.device;
    const keepsRoom = (change & Change.NO_HOLE) !== 0;
    if (!keepsRoom && device?.isAbsent(offset, bytes) === true) {
      // Zeros are there when somebody says that nobody else has written: as for any read. Under
      // another lease it is not known any more what was written.
      const confirmed = (_token: number, status: Status): void => {
        const isSame = this.#device.device === device;
        if (status !== Status.Ok || isSame) sink.completed(token, status);
        else new Zeroing(this.#device, offset, bytes, sink, token).begin();
      };
      const sector = new Uint8Array(SECTOR_BYTES);
      this.#device.read(offset, sector, 0, SECTOR_BYTES, { completed: confirmed }, 0);
      return;
    }
    if ((change & Change.FAST) !== 0) {
      this.#timers.soon(() => sink.completed(token, Status.Unsupported));
      return;
    }
    new Zeroing(this.#device, offset, bytes, sink, token).begin();
  }

  cache(_offset: number, _bytes: number, sink: NbdSink, token: number): void {
    this.#timers.soon(() => sink.completed(token, Status.Ok));
  }

  /** That they are zeros is never told: another host may have written there since. */
  extent(offset: number, bytes: number): number {
    const device = this.#device.device;
    if (device === undefined) return extentOf(bytes, 0);
    const part = Math.min(bytes, device.leftInSlab(offset));
    return extentOf(part, device.isAbsent(offset, part) ? Extent.HOLE : 0);
  }
}

/** Writes zeros, some parts at a time. */
class Zeroing implements CompletionSink {
  readonly #device: ServedDevice;
  readonly #sink: NbdSink;
  readonly #token: number;
  readonly #end: number;
  #at: number;
  #underWay = 0;
  #status: Status = Status.Ok;

  constructor(device: ServedDevice, offset: number, bytes: number, sink: NbdSink, token: number) {
    this.#device = device;
    this.#at = offset;
    this.#end = offset + bytes;
    this.#sink = sink;
    this.#token = token;
  }

  begin(): void {
    while (this.#underWay < PARTS_MAX && this.#at < this.#end) this.#next();
  }

  #next(): void {
    const at = this.#at;
    const bytes = Math.min(PART_BYTES - (at % PART_BYTES), this.#end - at);
    this.#at += bytes;
    this.#underWay += 1;
    this.#device.write(at, ZEROS, 0, bytes, this, 0);
  }

  completed(_token: number, status: Status): void {
    this.#underWay -= 1;
    if (status !== Status.Ok) {
      this.#status = status;
      this.#at = this.#end;
    }
    if (this.#at < this.#end) this.#next();
    else if (this.#underWay === 0) this.#sink.completed(this.#token, this.#status);
  }
}
