/**
 * The bytes that a thread which blocks shares with the I/O thread of its process: one request at a
 * time, asked by the thread and answered by the I/O thread, and what either tells the other.
 *
 *   control words | request ring | text of an answer | table of a transfer's items | their bytes
 *
 * The thread writes the first cache line of the control words, the request, the items and the bytes
 * of writes; the I/O thread everything else. Bytes and table belong to the request that is under
 * way until `DONE` has its number, also when the thread has given up waiting.
 */

import type { RingOptions, Shared } from '../../runtime/threads.js';

// Written by the thread.
/** 1 while it may be at work on a node's memory. */
export const BUSY = 0;
/** Of `Presence`. */
export const PRESENCE = 1;
// Written by the I/O thread.
/** Of the ways to nodes' memory: what the thread knows of another version holds no more. */
export const VERSION = 16;
/** Number of the request that was answered last, and the answer. */
export const DONE = 17;
export const STATUS = 18;
export const OUTCOME = 19;
export const LOW = 20;
export const HIGH = 21;
export const TEXT_LENGTH = 22;

/** A version: nothing more is served. */
export const CLOSED = 0;

export const Presence = { Awaited: 0, Joined: 1, Left: 2 } as const;

export const OUTCOMES = ['applied', 'notApplied', 'unknown'] as const;

/** Words of a request: kind, number, and what the kind says. */
export const Ask = {
  /** Items. */
  Read: 1,
  Write: 2,
  /** Address low, high; expected low, high; desired low, high. */
  CompareAndSwap: 3,
  /** Address low, high; delta low, high. */
  FetchAndAdd: 4,
  /** Region: how its memory can be reached now, as text; none: not now. */
  Route: 5,
  /** Seat, number: what was told of this seat cannot be used. */
  Unusable: 6,
  /** Answered when all that the thread has asked for is done, or never will be. */
  Settle: 7,
  Leave: 8,
} as const;

export const REQUESTS: RingOptions = { records: 4, recordWords: 8 };

const CONTROL_BYTES = 256;
/** As long as a ring of such records is; checked where it is made. */
const RING_AT = CONTROL_BYTES;
const RING_BYTES_MAX = 768;
const TEXT_AT = RING_AT + RING_BYTES_MAX;
export const TEXT_BYTES = 4096;
const ITEMS_AT = TEXT_AT + TEXT_BYTES;
export const ITEMS_MAX = 256;
/** Address low, high, bytes, place in the bytes. */
export const ITEM_WORDS = 4;
const DATA_AT = ITEMS_AT + ITEMS_MAX * ITEM_WORDS * 4;

export const DATA_BYTES_MIN = 64 * 1024;
export const DATA_BYTES_MAX = 64 * 1024 * 1024;
export const DATA_BYTES_DEFAULT = 1024 * 1024;

/** What a thread needs to begin: can be handed to it as it is, and to one thread only. */
export interface BlockingStart {
  readonly shared: Shared;
  /** For transfers that go by the I/O thread. */
  readonly bytes: number;
  readonly space: string;
  readonly spaceId: number;
  readonly pageBytes: number;
  readonly timeoutMs: number;
}

/** How a region's memory is reached, as the answer to `Ask.Route` says it. */
export interface RouteFacts {
  readonly seat: number;
  /** Of this taking of the seat. */
  readonly number: number;
  readonly window: { readonly id: number; readonly epoch: number };
  readonly client: number;
  readonly memoryId: number;
  readonly slot: number;
  readonly incarnation: number;
  readonly table: string;
  readonly frames: string;
  readonly slots: string;
}

export function portBytes(bytes: number): number {
  return DATA_AT + bytes;
}

/** The parts of the shared bytes. */
export class Port {
  readonly shared: Shared;
  readonly ringAt = RING_AT;
  readonly words: Int32Array;
  readonly text: Uint8Array;
  readonly items: Int32Array;
  readonly data: Uint8Array;

  constructor(shared: Shared, bytes: number) {
    this.shared = shared;
    this.words = new Int32Array(shared, 0, CONTROL_BYTES / 4);
    this.text = new Uint8Array(shared, TEXT_AT, TEXT_BYTES);
    this.items = new Int32Array(shared, ITEMS_AT, ITEMS_MAX * ITEM_WORDS);
    this.data = new Uint8Array(shared, DATA_AT, bytes);
  }

  /** Where a transfer's bytes stand, for whoever keeps them until it is done. */
  dataView(start: number, bytes: number): Uint8Array {
    return new Uint8Array(this.shared, DATA_AT + start, bytes);
  }
}

const TWO_32 = 2 ** 32;

export function lowOf(value: number): number {
  return value | 0;
}

export function highOf(value: number): number {
  return Math.floor(value / TWO_32) | 0;
}

export function joined(low: number, high: number): number {
  return (high >>> 0) * TWO_32 + (low >>> 0);
}
