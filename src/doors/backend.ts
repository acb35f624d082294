/**
 * What is behind a door to block devices, in the terms of NBD.
 *
 * Made for many requests in flight: nothing is allocated per request. What can be done at once is
 * done in place (`readNow` into the output of a stream, `writeNow` from its input); the rest is
 * queued, and ends at a sink under a token of the caller.
 *
 * The door has checked every range: within the export, aligned to `blockMin`, not empty, and for
 * `readNow`, `writeNow`, `read`, `write` within one piece (`PIECE_BYTES`, from a multiple of it).
 * It writes to no read-only export. Requests that are under way together have no order.
 */

import type { Status } from '../base/status.js';
import { KiB } from '../base/units.js';

/** Of reads and writes: none is in two of these. */
export const PIECE_BYTES = 64 * KiB;

/** From what is done at once or not at all: it was not, and has no effect. */
export const NOT_NOW = -1;

export interface BlockSink {
  /** How the operation ended: exactly once, never from within the call that started it. */
  completed(token: number, status: Status): void;
}

/** Flags of a change, to be added. */
export const Change = {
  /** It is told to be done when it is as safe as a flush makes it (NBD_CMD_FLAG_FUA). */
  DURABLE: 1,
  /** Of zeroes: the room stays taken, later writes need none (NBD_CMD_FLAG_NO_HOLE). */
  NO_HOLE: 2,
  /**
   * Of zeroes: to be refused as `Unsupported`, at once and with nothing changed, unless it is
   * faster than writing them (NBD_CMD_FLAG_FAST_ZERO). Without this flag `Unsupported` is no
   * answer.
   */
  FAST: 4,
} as const;

/** What is known of a range, in the bits of `base:allocation`; 0 is always right. */
export const Extent = {
  /** Takes no room; writing to it may end with `NoSpace`. */
  HOLE: 1,
  /** Reads as zeros. */
  ZERO: 2,
} as const;

const EXTENT_STATES = 4;

/** What `extent` returns: `bytes` that are all in `state`, as one number. */
export function extentOf(bytes: number, state: number): number {
  return bytes * EXTENT_STATES + state;
}
export const extentBytes = (extent: number): number => Math.floor(extent / EXTENT_STATES);
export const extentState = (extent: number): number => extent % EXTENT_STATES;

export interface BlockBackend {
  /** Under which it is listed; UTF-8 of at most `NBD_STRING_BYTES_MAX`, as is `description`. */
  readonly name: string;
  /** For people; may be empty. */
  readonly description: string;
  /** A multiple of `blockMin`, below 2^53. Constant while anybody is connected. */
  readonly bytes: number;
  /** A power of two, at most `BLOCK_BYTES_MAX`: what ranges are aligned to. */
  readonly blockMin: number;
  /** A power of two, at least `blockMin` and 512: below it writes may cost a read. */
  readonly blockPreferred: number;
  readonly isReadOnly: boolean;
  /** Whether `extent` may know more than nothing; else it is never asked. */
  readonly isSparse: boolean;

  /**
   * Reads into `into[start, start + bytes)`. `Ok`, a failure, or `NOT_NOW`. Unless it is `Ok` the
   * target is undefined, and nobody is shown it.
   */
  readNow(offset: number, into: Uint8Array, start: number, bytes: number): number;
  /** Writes from `from[start, start + bytes)`. `change` is `Change.DURABLE` or 0. */
  writeNow(offset: number, from: Uint8Array, start: number, bytes: number, change: number): number;

  /** As `readNow`; `into` belongs to the backend until told. */
  read(
    offset: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: BlockSink,
    token: number,
  ): void;
  /** As `writeNow`; `from` belongs to the backend until told. */
  write(
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    change: number,
    sink: BlockSink,
    token: number,
  ): void;
  /**
   * Completes when every change of this export that was completed before this call, *by whichever
   * connection*, is as safe as this device makes data. The door promises that to its clients
   * (NBD_FLAG_CAN_MULTI_CONN), and leaves keeping it to this method: a backend that keeps dirty
   * data per connection must not exist. `Change.DURABLE` promises the same of one change.
   */
  flush(sink: BlockSink, token: number): void;
  /** The bytes are not needed any more; they may keep their content. Any length. */
  trim(offset: number, bytes: number, change: number, sink: BlockSink, token: number): void;
  /** From then on the bytes read as zeros. Any length; `change` as in `Change`. */
  writeZeroes(offset: number, bytes: number, change: number, sink: BlockSink, token: number): void;
  /**
   * Has `changed` called, before anything that is there now is read, when somebody else may have
   * written past this door since the device was opened. Returns how to take that back.
   */
  whenOthersWrote(changed: () => void): () => void;
  /** The bytes will probably be read soon. Any length; may do nothing. */
  cache(offset: number, bytes: number, sink: BlockSink, token: number): void;
  /**
   * The state of the bytes from `offset` on: of at least one minimum block and of at most
   * `bytes`, by `extentOf`; a multiple of `blockMin`. Of zeros that are told here the door sends
   * no data, so it must be true of everything whose completion was told before.
   */
  extent(offset: number, bytes: number): number;
}

export interface Exports {
  /**
   * The export of this name, ready to serve; undefined where there is none. The empty name is that
   * of the default export, if there is one. Never rejects.
   */
  find(name: string): Promise<BlockBackend | undefined>;
  /** Those that a client may see. Never rejects. */
  list(): Promise<readonly Pick<BlockBackend, 'name' | 'description'>[]>;
  /** An export that was found is not used any more, by that connection. */
  release?(backend: BlockBackend): void;
}
