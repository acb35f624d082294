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

/** A read or a write of one slot. */
export interface Transfer {
  readonly file: BlockBackend;
  readonly isWrite: boolean;
  /** Within the file, and not empty. */
  readonly offset: number;
  readonly bytes: number;
  readonly buffer: Uint8Array;
  readonly start: number;
  /** Of a write: `Change.DURABLE` or 0. */
  readonly change: number;
}

interface Running extends Transfer {
  /** Whole sectors around it. */
  readonly first: number;
  readonly end: number;
  readonly isRagged: boolean;
  /** Those sectors; undefined: they are in the buffer itself. */
  whole: Uint8Array | undefined;
  /** The sectors at both ends are being read for it. */
  isReadingAround: boolean;
  pending: number;
  status: Status;
}

export class Transfers implements BlockSink {
  readonly #running: (Running | undefined)[];
  readonly #ended: (slot: number, status: Status) => void;
  /** Slots whose writes wait for others, in the order in which they came. */
  #waiting: number[] = [];
  /** Writes under way that had to read first. */
  #ragged = 0;

  constructor(slots: number, ended: (slot: number, status: Status) => void) {
    this.#running = Array.from({ length: slots }, () => undefined);
    this.#ended = ended;
  }

  begin(slot: number, transfer: Transfer): void {
    const { file, offset, bytes, isWrite } = transfer;
    const sector = file.blockMin;
    const first = offset - (offset % sector);
    const end = Math.ceil((offset + bytes) / sector) * sector;
    const isRagged = first !== offset || end !== offset + bytes;
    const whole = isRagged ? new Uint8Array(end - first) : undefined;
    const state = { isReadingAround: false, pending: 0, status: Status.Ok };
    const running: Running = { ...transfer, first, end, isRagged, whole, ...state };
    if (isWrite && !this.#mayStart(running, this.#waiting.length)) {
      this.#running[slot] = running;
      this.#waiting.push(slot);
      return;
    }
    this.#running[slot] = running;
    this.#start(slot, running);
  }

  /** Whether no write under way, and none of the first `before` that wait, stands in its way. */
  #mayStart(one: Running, before: number): boolean {
    if (this.#ragged === 0 && !one.isRagged && before === 0) return true;
    const queue = this.#waiting;
    for (let slot = 0; slot < this.#running.length; slot++) {
      const other = this.#running[slot];
      if (other === undefined || other === one || !other.isWrite || other.file !== one.file)
        continue;
      if (other.end <= one.first || one.end <= other.first) continue;
      if (!other.isRagged && !one.isRagged) continue;
      const place = queue.indexOf(slot);
      if (place < 0 || place < before) return false;
    }
    return true;
  }

  #start(slot: number, one: Running): void {
    if (one.isWrite && one.isRagged) this.#ragged += 1;
    const { file, first, end, whole, buffer, start } = one;
    if (!one.isWrite || whole === undefined) {
      this.#pieces(slot, one, first, end, whole ?? buffer, whole === undefined ? start : 0);
      return;
    }
    one.isReadingAround = true;
    const sector = file.blockMin;
    const last = end - sector;
    one.pending = last > first ? 2 : 1;
    file.read(first, whole, 0, sector, this, slot);
    if (last > first) file.read(last, whole, last - first, sector, this, slot);
  }

  /** What can be done at once is done; one piece more is pending until all have begun. */
  #pieces(
    slot: number,
    one: Running,
    first: number,
    end: number,
    buffer: Uint8Array,
    start: number,
  ): void {
    const { file, change, isWrite } = one;
    one.pending = 1;
    for (let at = first; at < end && one.status === Status.Ok; ) {
      const bytes = Math.min(end - at, PIECE_BYTES - (at % PIECE_BYTES));
      const place = start + at - first;
      const now = isWrite
        ? file.writeNow(at, buffer, place, bytes, change)
        : file.readNow(at, buffer, place, bytes);
      if (now === NOT_NOW) {
        one.pending += 1;
        if (isWrite) file.write(at, buffer, place, bytes, change, this, slot);
        else file.read(at, buffer, place, bytes, this, slot);
      } else one.status = worse(one.status, now as Status);
      at += bytes;
    }
    this.#left(slot, one);
  }

  completed(slot: number, status: Status): void {
    const one = this.#running[slot] as Running;
    one.status = worse(one.status, status);
    this.#left(slot, one);
  }

  #left(slot: number, one: Running): void {
    one.pending -= 1;
    if (one.pending > 0) return;
    const { whole, offset, first, buffer, start, bytes, end } = one;
    if (whole !== undefined && one.status === Status.Ok) {
      if (!one.isWrite) buffer.set(whole.subarray(offset - first, offset - first + bytes), start);
      else if (one.isReadingAround) {
        one.isReadingAround = false;
        whole.set(buffer.subarray(start, start + bytes), offset - first);
        this.#pieces(slot, one, first, end, whole, 0);
        return;
      }
    }
    this.#end(slot, one);
  }

  #end(slot: number, one: Running): void {
    this.#running[slot] = undefined;
    if (one.isWrite && one.isRagged) this.#ragged -= 1;
    this.#ended(slot, one.status);
    if (one.isWrite && this.#waiting.length > 0) this.#startWaiting();
  }

  #startWaiting(): void {
    const waiting = this.#waiting;
    const free = waiting.filter((slot, i) => this.#mayStart(this.#running[slot] as Running, i));
    this.#waiting = waiting.filter((slot) => !free.includes(slot));
    for (const slot of free) this.#start(slot, this.#running[slot] as Running);
  }
}

/** Of two parts: what was only refused for now may be tried again, what failed may not. */
function worse(one: Status, other: Status): Status {
  if (one === Status.Ok || (one === Status.Busy && other !== Status.Ok)) return other;
  return one;
}
