/**
 * The operations of one link, oldest first, in typed arrays: those that were sent and are not
 * answered, then those that wait.
 *
 *   head            sent             tail          positions, ever growing; `place` is the index
 *   | sent ... sent | waiting ...    |
 *
 * It starts small and doubles up to its limit; an operation costs no object. Between two calls of
 * a sink the arrays may have been replaced: take them anew from the ring.
 */

import { assert } from '../base/assert.js';
import { Columns } from '../base/columns.js';
import { regionKey } from '../base/region-key.js';
import { IN_FLIGHT_MAX, QUEUE_MAX, REGION_BYTES } from '../wire/limits.js';
import { isAccess } from '../wire/messages.js';
import type { CompletionSink, Window } from './link.js';

/** What became of a place in the ring. */
export const WAITING = 0;
export const SENT = 1;
/** Told before it was sent; to be skipped. */
export const DROPPED = 2;

const PLACES_AT_FIRST = 16;
const PLACE_BYTES = 5 * 8 + 6 * 4 + 2;
/** Sent ones and waiting ones, and a power of two. */
const PLACES_MAX = 2 * QUEUE_MAX;

assert(PLACES_MAX >= QUEUE_MAX + IN_FLIGHT_MAX);

/** Operations that there ever were here: only their order matters. */
let asked = 0;

export class OperationRing {
  head = 0;
  sent = 0;
  tail = 0;
  token = new Float64Array(0);
  address = new Float64Array(0);
  /** Where in `buffer` the bytes begin. */
  start = new Float64Array(0);
  deadline = new Float64Array(0);
  /** When it was asked for, among those of all rings: a link may have several, and change them. */
  order = new Float64Array(0);
  bytes = new Uint32Array(0);
  /** 0 until it was sent for the first time. */
  sequence = new Uint32Array(0);
  /** Four words each, as they go into the message. */
  operands = new Int32Array(0);
  type = new Uint8Array(0);
  state = new Uint8Array(0);
  /** Undefined once the operation was told; a sent one then waits for its reply alone. */
  sink = nothings<CompletionSink>(PLACES_AT_FIRST);
  /** Where a read goes, what a write carries, the body of a call. */
  buffer = nothings<Uint8Array>(PLACES_AT_FIRST);
  window = nothings<Window>(PLACES_AT_FIRST);
  #mask = PLACES_AT_FIRST - 1;

  constructor() {
    this.#makeColumns(PLACES_AT_FIRST);
  }

  /** Number of the region that an access is to, among all of this client's. */
  regionOf(place: number): number {
    const region = Math.floor((this.address[place] as number) / REGION_BYTES);
    return regionKey(this.window[place]?.space ?? 0, region);
  }

  /** Whether somebody waits for an access to the region. */
  awaits(region: number): boolean {
    for (let position = this.head; position < this.tail; position++) {
      const place = this.place(position);
      if (this.sink[place] === undefined || !isAccess(this.type[place] as number)) continue;
      if (this.regionOf(place) === region) return true;
    }
    return false;
  }

  /** The index in the arrays of a position. */
  place(position: number): number {
    return position & this.#mask;
  }

  get waiting(): number {
    return this.tail - this.sent;
  }

  /** Dropped ones keep their places until those before them are answered: waiting can be few. */
  get isFull(): boolean {
    return this.tail - this.head >= PLACES_MAX;
  }

  /** The place of a new operation at the end; the caller fills it. */
  push(): number {
    if (this.tail - this.head > this.#mask) this.#grow();
    const place = this.tail++ & this.#mask;
    this.state[place] = WAITING;
    this.sequence[place] = 0;
    this.order[place] = asked++;
    return place;
  }

  /** Copies what an operation on memory is about to a place of another ring. */
  copyTo(from: number, ring: OperationRing, to: number): void {
    ring.window[to] = this.window[from];
    ring.address[to] = this.address[from] as number;
    ring.bytes[to] = this.bytes[from] as number;
    ring.buffer[to] = this.buffer[from];
    ring.start[to] = this.start[from] as number;
    ring.order[to] = this.order[from] as number;
    const operands = this.operands.subarray(from * 4, from * 4 + 4);
    ring.operands.set(operands, to * 4);
  }

  /**
   * Whether the buffer of a read or write is as long as it was: its owner, who should have left it
   * alone, may have shrunk it or given it to another thread.
   */
  hasBuffer(place: number): boolean {
    const buffer = this.buffer[place];
    const end = (this.start[place] as number) + (this.bytes[place] as number);
    return buffer === undefined || end <= buffer.length;
  }

  /** Lets go of what the place refers to. */
  clear(place: number): void {
    this.sink[place] = undefined;
    this.buffer[place] = undefined;
    this.window[place] = undefined;
  }

  /** Moves the head over what was dropped before it was sent. */
  skipDropped(): void {
    while (this.head < this.tail && this.state[this.place(this.head)] === DROPPED) {
      this.head++;
      if (this.sent < this.head) this.sent = this.head;
    }
  }

  /**
   * Twice as many places. Each array becomes two copies of itself: whichever half a position falls
   * into now, its operation is there; the other copy is let go of.
   */
  #grow(): void {
    const places = (this.#mask + 1) * 2;
    assert(places <= PLACES_MAX, 'the caller checks how many wait');
    this.#mask = places - 1;
    this.#makeColumns(places);
    this.sink = this.sink.concat(this.sink);
    this.buffer = this.buffer.concat(this.buffer);
    this.window = this.window.concat(this.window);
    const end = this.head + places;
    for (let position = this.tail; position < end; position++) this.clear(this.place(position));
  }

  #makeColumns(places: number): void {
    const columns = new Columns(places * PLACE_BYTES);
    this.token = doubled(this.token, columns.float64(places));
    this.address = doubled(this.address, columns.float64(places));
    this.start = doubled(this.start, columns.float64(places));
    this.deadline = doubled(this.deadline, columns.float64(places));
    this.order = doubled(this.order, columns.float64(places));
    this.bytes = doubled(this.bytes, columns.uint32(places));
    this.sequence = doubled(this.sequence, columns.uint32(places));
    this.operands = doubled(this.operands, columns.int32(places * 4));
    this.type = doubled(this.type, columns.uint8(places));
    this.state = doubled(this.state, columns.uint8(places));
  }
}

function doubled<T extends { readonly length: number; set(from: T, at: number): void }>(
  old: T,
  made: T,
): T {
  made.set(old, 0);
  made.set(old, old.length);
  return made;
}

function nothings<T>(places: number): (T | undefined)[] {
  return new Array<T | undefined>(places).fill(undefined);
}
