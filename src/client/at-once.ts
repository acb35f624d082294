/**
 * Ranges that are read, or written, at once as far as their links can: together where a link does
 * that, else one by one. What cannot be done so is left in `rest`, for whoever sends it.
 *
 * Of two writes to the same bytes the later one stays: none overtakes one that is left over. A
 * range of several pieces is only begun to be written where all of it is likely to be, because
 * otherwise the frames for it have to be promised first.
 */

import { Status } from '../base/status.js';
import { type Link, NOT_NOW, type Together, type Window } from '../fabric/link.js';
import { REGION_BYTES } from '../wire/limits.js';
import { isOnePiece, pieceBytes } from './pieces.js';
import type { Route } from './routes.js';
import type { Item } from './transfer.js';

/** The longest range that is done at once: a fraction of a turn of the event loop. */
const RANGE_BYTES_MAX = 4 * 2 ** 20;
/** So much of one list is done at once, in a millisecond or two: others have their turn then. */
const MOVES_MAX = 8192;
const MOVED_BYTES_MAX = 8 * 2 ** 20;
/** More are never in a step; see fabric/shm/step.ts. */
const TOGETHER_MAX = 64;
const NO_BYTES = new Uint8Array(0);

/** The way of a range within one region; undefined where it has to wait for something. */
type RouteOf = (at: number, bytes: number, changes: boolean) => Route | undefined;

export class AtOnce {
  /** Pieces that were done, and their bytes. */
  done = 0;
  bytes = 0;
  rest: Item[] = [];
  readonly #pageBytes: number;
  readonly #routeOf: RouteOf;
  #changes = false;
  /** What was added to `#together`: the place of each piece in its range. */
  #together: Together | undefined;
  readonly #addresses = new Float64Array(TOGETHER_MAX);
  readonly #starts = new Float64Array(TOGETHER_MAX);
  readonly #lengths = new Float64Array(TOGETHER_MAX);
  readonly #buffers: Uint8Array[] = [];

  constructor(pageBytes: number, routeOf: RouteOf) {
    this.#pageBytes = pageBytes;
    this.#routeOf = routeOf;
  }

  /** `Ok`: all but `rest` is done. Else how one failed; what comes behind it was not begun. */
  move<T extends { readonly at: number }>(
    changes: boolean,
    moves: readonly T[],
    bufferOf: (move: T) => Uint8Array,
  ): Status {
    this.done = 0;
    this.bytes = 0;
    this.rest.length = 0;
    this.#changes = changes;
    for (let i = 0; i < moves.length; i++) {
      const move = moves[i] as T;
      const status = this.#range(move.at, bufferOf(move));
      if (status !== Status.Ok) return status;
    }
    return this.#run();
  }

  /** The caller's from now on. */
  takeRest(): Item[] {
    const { rest } = this;
    this.rest = [];
    return rest;
  }

  get #mustWait(): boolean {
    return this.#changes && this.rest.length > 0;
  }

  get #isLong(): boolean {
    return this.done >= MOVES_MAX || this.bytes >= MOVED_BYTES_MAX;
  }

  #range(at: number, buffer: Uint8Array): Status {
    const { length } = buffer;
    if (this.#mustWait) return this.#leave(at, buffer, 0, length);
    const inRegion = REGION_BYTES - (at % REGION_BYTES);
    const fits = length <= inRegion && length <= RANGE_BYTES_MAX && !this.#isLong;
    const route = fits ? this.#routeOf(at, length, this.#changes) : undefined;
    if (route?.window === undefined) return this.#leaveBehind(at, buffer);
    const { link } = route.connection;
    const { window } = route;
    if (link.together === undefined) return this.#alone(link, window, at, buffer);
    if (link.together !== this.#together) {
      const status = this.#run();
      if (status !== Status.Ok) return status;
      if (this.#mustWait) return this.#leave(at, buffer, 0, length);
      this.#together = link.together;
    }
    return this.#pieces(link.together, window, at, buffer);
  }

  #pieces(together: Together, window: Window, at: number, buffer: Uint8Array): Status {
    const { length } = buffer;
    const isOne = isOnePiece(at, length, this.#pageBytes);
    if (!isOne && this.#changes && !together.mayWrite(window, at, length)) {
      return this.#leaveBehind(at, buffer);
    }
    for (let start = 0; start < length; ) {
      const bytes = isOne ? length : pieceBytes(at + start, length - start, this.#pageBytes);
      if (!this.#add(together, window, at + start, buffer, start, bytes)) {
        const status = this.#run();
        if (status !== Status.Ok) return status;
        if (this.#mustWait) return this.#leave(at + start, buffer, start, length - start);
        continue;
      }
      start += bytes;
    }
    return Status.Ok;
  }

  #add(
    together: Together,
    window: Window,
    at: number,
    buffer: Uint8Array,
    start: number,
    bytes: number,
  ): boolean {
    const { count } = together;
    if (count === TOGETHER_MAX) return false;
    const isAdded = this.#changes
      ? together.addWrite(window, at, buffer, start, bytes)
      : together.addRead(window, at, buffer, start, bytes);
    if (!isAdded) return false;
    this.#addresses[count] = at;
    this.#starts[count] = start;
    this.#lengths[count] = bytes;
    this.#buffers[count] = buffer;
    return true;
  }

  /** Does what was added. */
  #run(): Status {
    const together = this.#together;
    if (together === undefined) return Status.Ok;
    const { count } = together;
    const done = together.run();
    for (let i = 0; i < count; i++) {
      const status = i < done ? together.statusOf(i) : NOT_NOW;
      if (status === Status.Ok) {
        this.done += 1;
        this.bytes += this.#lengths[i] as number;
      } else if (status === NOT_NOW) {
        this.#leaveAdded(i);
      } else {
        return status as Status;
      }
      this.#buffers[i] = NO_BYTES;
    }
    return Status.Ok;
  }

  #leaveAdded(i: number): void {
    const at = this.#addresses[i] as number;
    const start = this.#starts[i] as number;
    this.#leave(at, this.#buffers[i] as Uint8Array, start, this.#lengths[i] as number);
  }

  /** By a link that does nothing together. */
  #alone(link: Link, window: Window, at: number, buffer: Uint8Array): Status {
    const { length } = buffer;
    if (!isOnePiece(at, length, this.#pageBytes)) return this.#leaveBehind(at, buffer);
    if (this.#together !== undefined) {
      const status = this.#run();
      if (status !== Status.Ok) return status;
      if (this.#mustWait) return this.#leave(at, buffer, 0, length);
    }
    const status = this.#changes
      ? link.writeNow(window, at, buffer, 0, length)
      : link.readNow(window, at, buffer, 0, length);
    if (status === NOT_NOW) return this.#leave(at, buffer, 0, length);
    if (status !== Status.Ok) return status as Status;
    this.done += 1;
    this.bytes += length;
    return Status.Ok;
  }

  /** What was added comes first. */
  #leaveBehind(at: number, buffer: Uint8Array): Status {
    const status = this.#run();
    return status === Status.Ok ? this.#leave(at, buffer, 0, buffer.length) : status;
  }

  #leave(address: number, buffer: Uint8Array, start: number, bytes: number): typeof Status.Ok {
    const { rest } = this;
    const last = rest[rest.length - 1];
    const isWhole = start === 0 && bytes === buffer.length;
    const part = isWhole ? buffer : buffer.subarray(start, start + bytes);
    const follows =
      last !== undefined &&
      last.address + last.bytes === address &&
      last.buffer.buffer === part.buffer &&
      last.buffer.byteOffset + last.bytes === part.byteOffset;
    // What needs no promise of frames by itself is not made to need one.
    const mayJoin =
      follows &&
      (!this.#changes || !isWhole || isOnePiece(last.address, last.bytes + bytes, this.#pageBytes));
    if (!mayJoin) {
      rest.push({ address, buffer: part, bytes });
      return Status.Ok;
    }
    const all = new Uint8Array(part.buffer, last.buffer.byteOffset, last.bytes + bytes);
    rest[rest.length - 1] = { address: last.address, buffer: all, bytes: all.length };
    return Status.Ok;
  }
}
