/**
 * Reads and writes of the bytes of files. The kernel asks for any range of bytes, and devices have
 * sectors: what is not whole sectors is read around, and written back with them.
 *
 *   write -> wait for writes that share sectors -> [read first and last sector] -> pieces -> told
 *
 * Writes of whole sectors need not wait for each other. One that has to read first shares no sector
 * with any other one that is under way: else it would put back what was there before that.
 */

import { Status } from '../../base/status.js';
import { NOT_NOW, type BlockBackend, type BlockSink, PIECE_BYTES } from '../backend.js';

const NOTHING = new Uint8Array(0);

/** What is under way, or waits, in each slot: no object for each, as there are many. */
class Rows {
  /** Undefined: none. */
  readonly file: (BlockBackend | undefined)[];
  readonly isWrite: Uint8Array;
  readonly offset: Float64Array;
  readonly bytes: Uint32Array;
  readonly buffer: Uint8Array[];
  readonly start: Uint32Array;
  readonly change: Uint8Array;
  /** Whole sectors around it. */
  readonly first: Float64Array;
  readonly end: Float64Array;
  /** Those sectors; undefined: they are in the buffer itself. */
  readonly whole: (Uint8Array | undefined)[];
  /** The sectors at both ends are being read for it. */
  readonly isReadingAround: Uint8Array;
  readonly pending: Uint32Array;
  readonly status: Uint8Array;

  constructor(slots: number) {
    this.file = Array.from({ length: slots }, () => undefined);
    this.isWrite = new Uint8Array(slots);
    this.offset = new Float64Array(slots);
    this.bytes = new Uint32Array(slots);
    this.buffer = Array.from({ length: slots }, () => NOTHING);
    this.start = new Uint32Array(slots);
    this.change = new Uint8Array(slots);
    this.first = new Float64Array(slots);
    this.end = new Float64Array(slots);
    this.whole = Array.from({ length: slots }, () => undefined);
    this.isReadingAround = new Uint8Array(slots);
    this.pending = new Uint32Array(slots);
    this.status = new Uint8Array(slots);
  }

  isRagged(slot: number): boolean {
    return this.whole[slot] !== undefined;
  }

  statusOf(slot: number): Status {
    return this.status[slot] as Status;
  }

  /** One part of it ended so. */
  met(slot: number, status: Status): void {
    this.status[slot] = worse(this.statusOf(slot), status);
  }
}

export class Transfers implements BlockSink {
  readonly #rows: Rows;
  readonly #slots: number;
  readonly #ended: (slot: number, status: Status) => void;
  /** Slots whose writes wait for others, in the order in which they came. */
  #waiting: number[] = [];
  /** Writes under way that had to read first. */
  #ragged = 0;

  constructor(slots: number, ended: (slot: number, status: Status) => void) {
    this.#rows = new Rows(slots);
    this.#slots = slots;
    this.#ended = ended;
  }

  /** Into the buffer from `start` on. The range is within the file, and not empty. */
  read(
    slot: number,
    file: BlockBackend,
    offset: number,
    bytes: number,
    buffer: Uint8Array,
    start: number,
  ): void {
    this.#put(slot, file, offset, bytes, buffer, start);
    this.#rows.isWrite[slot] = 0;
    this.#start(slot);
  }

  /** As `read`; `change` is `Change.DURABLE` or 0. */
  write(
    slot: number,
    file: BlockBackend,
    offset: number,
    bytes: number,
    buffer: Uint8Array,
    start: number,
    change: number,
  ): void {
    this.#put(slot, file, offset, bytes, buffer, start);
    this.#rows.isWrite[slot] = 1;
    this.#rows.change[slot] = change;
    if (this.#mayStart(slot, this.#waiting.length)) this.#start(slot);
    else this.#waiting.push(slot);
  }

  #put(
    slot: number,
    file: BlockBackend,
    offset: number,
    bytes: number,
    buffer: Uint8Array,
    start: number,
  ): void {
    const rows = this.#rows;
    const sector = file.blockMin;
    const first = offset - (offset % sector);
    const end = Math.ceil((offset + bytes) / sector) * sector;
    const isRagged = first !== offset || end !== offset + bytes;
    rows.file[slot] = file;
    rows.offset[slot] = offset;
    rows.bytes[slot] = bytes;
    rows.buffer[slot] = buffer;
    rows.start[slot] = start;
    rows.first[slot] = first;
    rows.end[slot] = end;
    rows.whole[slot] = isRagged ? new Uint8Array(end - first) : undefined;
    rows.isReadingAround[slot] = 0;
    rows.status[slot] = Status.Ok;
  }

  /** Whether no write under way, and none of the first `before` that wait, stands in its way. */
  #mayStart(slot: number, before: number): boolean {
    const rows = this.#rows;
    if (this.#ragged === 0 && !rows.isRagged(slot) && before === 0) return true;
    for (let other = 0; other < this.#slots; other++) {
      if (other === slot || !this.#isInWay(other, slot)) continue;
      const place = this.#waiting.indexOf(other);
      if (place < 0 || place < before) return false;
    }
    return true;
  }

  #isInWay(other: number, slot: number): boolean {
    const { file, isWrite, first, end } = this.#rows;
    if (file[other] !== file[slot] || isWrite[other] === 0) return false;
    const isApart =
      (end[other] as number) <= (first[slot] as number) ||
      (end[slot] as number) <= (first[other] as number);
    return !isApart && (this.#rows.isRagged(other) || this.#rows.isRagged(slot));
  }

  #start(slot: number): void {
    const rows = this.#rows;
    const whole = rows.whole[slot];
    const isWrite = rows.isWrite[slot] !== 0;
    if (whole === undefined) {
      this.#pieces(slot, rows.buffer[slot] as Uint8Array, rows.start[slot] as number);
      return;
    }
    if (!isWrite) {
      this.#pieces(slot, whole, 0);
      return;
    }
    this.#ragged += 1;
    rows.isReadingAround[slot] = 1;
    const file = rows.file[slot] as BlockBackend;
    const first = rows.first[slot] as number;
    const sector = file.blockMin;
    const last = (rows.end[slot] as number) - sector;
    rows.pending[slot] = last > first ? 2 : 1;
    file.read(first, whole, 0, sector, this, slot);
    if (last > first) file.read(last, whole, last - first, sector, this, slot);
  }

  /** What can be done at once is done; one piece more is pending until all have begun. */
  #pieces(slot: number, buffer: Uint8Array, start: number): void {
    const rows = this.#rows;
    const file = rows.file[slot] as BlockBackend;
    const first = rows.first[slot] as number;
    const end = rows.end[slot] as number;
    const change = rows.change[slot] as number;
    const isWrite = rows.isWrite[slot] !== 0;
    rows.pending[slot] = 1;
    for (let at = first; at < end && rows.status[slot] === Status.Ok; ) {
      const bytes = Math.min(end - at, PIECE_BYTES - (at % PIECE_BYTES));
      const place = start + at - first;
      const now = isWrite
        ? file.writeNow(at, buffer, place, bytes, change)
        : file.readNow(at, buffer, place, bytes);
      if (now === NOT_NOW) {
        rows.pending[slot] = (rows.pending[slot] as number) + 1;
        if (isWrite) file.write(at, buffer, place, bytes, change, this, slot);
        else file.read(at, buffer, place, bytes, this, slot);
      } else rows.met(slot, now as Status);
      at += bytes;
    }
    this.#left(slot);
  }

  completed(slot: number, status: Status): void {
    this.#rows.met(slot, status);
    this.#left(slot);
  }

  #left(slot: number): void {
    const rows = this.#rows;
    const pending = (rows.pending[slot] as number) - 1;
    rows.pending[slot] = pending;
    if (pending > 0) return;
    const whole = rows.whole[slot];
    const isOk = rows.status[slot] === Status.Ok;
    if (whole === undefined || !isOk) this.#end(slot);
    else if (rows.isWrite[slot] === 0) {
      this.#copyOut(slot, whole);
      this.#end(slot);
    } else if (rows.isReadingAround[slot] !== 0) {
      rows.isReadingAround[slot] = 0;
      this.#copyIn(slot, whole);
      this.#pieces(slot, whole, 0);
    } else this.#end(slot);
  }

  #copyOut(slot: number, whole: Uint8Array): void {
    const { offset, first, bytes, buffer, start } = this.#rows;
    const from = (offset[slot] as number) - (first[slot] as number);
    const wanted = whole.subarray(from, from + (bytes[slot] as number));
    buffer[slot]?.set(wanted, start[slot]);
  }

  #copyIn(slot: number, whole: Uint8Array): void {
    const { offset, first, bytes, buffer, start } = this.#rows;
    const from = start[slot] as number;
    const written = (buffer[slot] as Uint8Array).subarray(from, from + (bytes[slot] as number));
    whole.set(written, (offset[slot] as number) - (first[slot] as number));
  }

  #end(slot: number): void {
    const rows = this.#rows;
    const isWrite = rows.isWrite[slot] !== 0;
    const isRagged = rows.isRagged(slot);
    rows.file[slot] = undefined;
    rows.whole[slot] = undefined;
    rows.buffer[slot] = NOTHING;
    if (isWrite && isRagged) this.#ragged -= 1;
    this.#ended(slot, rows.statusOf(slot));
    if (isWrite && this.#waiting.length > 0) this.#startWaiting();
  }

  #startWaiting(): void {
    const waiting = this.#waiting;
    const free = waiting.filter((slot, i) => this.#mayStart(slot, i));
    this.#waiting = waiting.filter((slot) => !free.includes(slot));
    for (const slot of free) this.#start(slot);
  }
}

/** Of two parts: what was only refused for now may be tried again, what failed may not. */
function worse(one: Status, other: Status): Status {
  if (one === Status.Ok || (one === Status.Busy && other !== Status.Ok)) return other;
  return one;
}
