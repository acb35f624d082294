/**
 * Measures on the slow path what the machine has left, and puts it into a record for the main
 * thread: one at a time, so that a main thread that stands still is not told old news for long.
 */

import type { Clock } from '../../runtime/clock.js';
import type { Memory } from '../../runtime/memory.js';
import { isPlausible, type Room } from '../../runtime/room.js';
import type { Frames } from '../store/frames.js';
import { pageOfRecord, putPage, ROOM } from './records.js';

/** How often: where little is left, and where much is. */
const MEASURE_MS = 100;
const MEASURE_AT_EASE_MS = 500;
const EASE_SHARE = 0.25;
const STALLS = 1_000_000;
const PROBLEM = 2 ** 24;

export interface MeasuredRoom {
  readonly room: Omit<Room, 'problem'>;
  /** The control group that was named is not there. */
  readonly isGroupMissing: boolean;
  /** Physical memory of the frames, at the same moment. */
  readonly heldBytes: number;
}

export class RoomGauge {
  readonly #group: string;
  readonly #frames: Frames;
  readonly #memory: Memory;
  readonly #clock: Clock;
  #isTaken = true;
  #nextMs = -Infinity;

  constructor(group: string, frames: Frames, memory: Memory, clock: Clock) {
    this.#group = group;
    this.#frames = frames;
    this.#memory = memory;
    this.#clock = clock;
  }

  /** At least 1; infinite while the last one is not taken, because the taking wakes the thread. */
  untilNextMs(): number {
    return this.#isTaken ? Math.max(1, this.#nextMs - this.#clock.now()) : Infinity;
  }

  /** True when it was time, and the record holds it now. */
  measure(record: Int32Array): boolean {
    if (!this.#isTaken || this.#clock.now() < this.#nextMs) return false;
    const room = this.#memory.room(this.#group);
    putRoom(record, room, this.#frames.heldBytes);
    const { availableBytes = 0, totalBytes = 0 } = room;
    const isAtEase = isPlausible(room) && availableBytes > totalBytes * EASE_SHARE;
    this.#nextMs = this.#clock.now() + (isAtEase ? MEASURE_AT_EASE_MS : MEASURE_MS);
    this.#isTaken = false;
    return true;
  }

  /** The main thread has decided upon the last one. */
  taken(): void {
    this.#isTaken = true;
  }
}

function putRoom(record: Int32Array, room: Room, heldBytes: number): void {
  const { stalledShare, problem } = room;
  const stalled = stalledShare === undefined ? STALLS + 1 : Math.round(stalledShare * STALLS);
  record[ROOM.stalled] = stalled + (problem === '' ? 0 : PROBLEM);
  putBytes(record, ROOM.available, room.availableBytes);
  putBytes(record, ROOM.total, room.totalBytes);
  putBytes(record, ROOM.held, heldBytes);
}

function putBytes(record: Int32Array, low: number, bytes: number | undefined): void {
  const isNumber = bytes !== undefined && bytes >= 0 && bytes <= Number.MAX_SAFE_INTEGER;
  if (isNumber) putPage(record, low, Math.floor(bytes));
  else record.fill(-1, low, low + 2);
}

export function measuredRoom(record: Int32Array): MeasuredRoom {
  const word = record[ROOM.stalled] as number;
  const stalled = word % PROBLEM;
  return {
    room: {
      availableBytes: bytesAt(record, ROOM.available),
      totalBytes: bytesAt(record, ROOM.total),
      stalledShare: stalled > STALLS ? undefined : stalled / STALLS,
    },
    isGroupMissing: word >= PROBLEM,
    heldBytes: bytesAt(record, ROOM.held) ?? 0,
  };
}

function bytesAt(record: Int32Array, low: number): number | undefined {
  return record[low + 1] === -1 ? undefined : pageOfRecord(record, low);
}
