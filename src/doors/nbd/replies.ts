/**
 * Answers of the transmission phase, written into the output of the stream. Every method says
 * whether there was room; without it nothing was written, and the stream's `drained` follows.
 */

import { assert } from '../../base/assert.js';
import type { Bytes, Stream } from '../../runtime/network.js';
import { extentBytes, extentOf, extentState, type BlockBackend } from '../backend.js';
import {
  BASE_ALLOCATION_ID,
  CHUNK_HEADER_BYTES,
  DATA_CHUNK_BYTES,
  DESCRIPTOR_BYTES,
  ERROR_CHUNK_BYTES,
  ERROR_OFFSET_CHUNK_BYTES,
  HOLE_CHUNK_BYTES,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_READ,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_ERROR_OFFSET,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
  SIMPLE_REPLY_BYTES,
  STATUS_CHUNK_BYTES,
  writeChunkHeader,
  writeSimpleReply,
  writeU64,
} from './protocol.js';
import { errorOf, messageOf } from './refusal.js';
import type { RequestTable } from './requests.js';

/** Of a long batch so much is sent at once, so that the client works while we do. */
const EARLY_FLUSH_BYTES = 256 * 1024;

/** So many extents may be joined into one descriptor in any case. */
const LOOKS_MIN = 256;

/** `reserve` takes multiples of 8. */
const rounded = (bytes: number): number => (bytes + 7) & ~7;

export class ReplyWriter {
  readonly isStructured: boolean;
  readonly #stream: Stream;
  readonly #requests: RequestTable;

  constructor(stream: Stream, requests: RequestTable, isStructured: boolean) {
    this.#stream = stream;
    this.#requests = requests;
    this.isStructured = isStructured;
  }

  get output(): Bytes {
    return this.#stream.output;
  }

  /** Where `bytes` go; -1: no room. They are sent by `commit`, or forgotten. */
  reserve(bytes: number): number {
    return this.#stream.reserve(rounded(bytes));
  }

  commit(bytes: number): void {
    this.#stream.commit(bytes);
    if (this.#stream.pending >= EARLY_FLUSH_BYTES) this.#stream.flush();
  }

  flush(): void {
    this.#stream.flush();
  }

  /** Of the header in front of the bytes of a read that is answered in one piece. */
  get wholeHeaderBytes(): number {
    return this.isStructured ? DATA_CHUNK_BYTES : SIMPLE_REPLY_BYTES;
  }

  /** Writes it, at a place that was reserved. */
  wholeHeader(request: number, at: number): void {
    const offset = this.#requests.offset[request] as number;
    const bytes = this.#requests.length[request] as number;
    if (this.isStructured) this.dataHeader(request, at, offset, bytes, true);
    else this.#simple(request, at, 0);
  }

  /** Writes the header of a chunk of data, at a place that was reserved. */
  dataHeader(request: number, at: number, offset: number, bytes: number, isLast: boolean): void {
    this.#chunk(request, at, isLast, NBD_REPLY_TYPE_OFFSET_DATA, 8 + bytes);
    writeU64(this.output.view, at + CHUNK_HEADER_BYTES, offset);
  }

  hole(request: number, offset: number, bytes: number, isLast: boolean): boolean {
    const at = this.reserve(HOLE_CHUNK_BYTES);
    if (at < 0) return false;
    this.#chunk(request, at, isLast, NBD_REPLY_TYPE_OFFSET_HOLE, 12);
    writeU64(this.output.view, at + CHUNK_HEADER_BYTES, offset);
    this.output.view.setUint32(at + CHUNK_HEADER_BYTES + 8, bytes);
    this.commit(HOLE_CHUNK_BYTES);
    return true;
  }

  /** The last answer to a request, without data: that it was done, or why it was not. */
  end(request: number): boolean {
    const requests = this.#requests;
    const end = requests.end[request] as number;
    const isFast = ((requests.flags[request] as number) & NBD_CMD_FLAG_FAST_ZERO) !== 0;
    const error = errorOf(end, isFast);
    if (this.isStructured && error !== 0) return this.#error(request, error, messageOf(end));
    const isRead = requests.type[request] === NBD_CMD_READ;
    const bytes = this.isStructured && isRead ? CHUNK_HEADER_BYTES : SIMPLE_REPLY_BYTES;
    const at = this.reserve(bytes);
    if (at < 0) return false;
    if (bytes === SIMPLE_REPLY_BYTES) this.#simple(request, at, error);
    else this.#chunk(request, at, true, NBD_REPLY_TYPE_NONE, 0);
    this.commit(bytes);
    return true;
  }

  #error(request: number, error: number, message: Uint8Array): boolean {
    const failedAt = this.#requests.failedAt[request] as number;
    const isPlaced = failedAt >= 0;
    const bytes = (isPlaced ? ERROR_OFFSET_CHUNK_BYTES : ERROR_CHUNK_BYTES) + message.length;
    const at = this.reserve(bytes);
    if (at < 0) return false;
    const type = isPlaced ? NBD_REPLY_TYPE_ERROR_OFFSET : NBD_REPLY_TYPE_ERROR;
    this.#chunk(request, at, true, type, bytes - CHUNK_HEADER_BYTES);
    const { view, bytes: output } = this.output;
    view.setUint32(at + CHUNK_HEADER_BYTES, error);
    view.setUint16(at + CHUNK_HEADER_BYTES + 4, message.length);
    output.set(message, at + ERROR_CHUNK_BYTES);
    if (isPlaced) writeU64(view, at + ERROR_CHUNK_BYTES + message.length, failedAt);
    this.commit(bytes);
    return true;
  }

  /**
   * The answer to NBD_CMD_BLOCK_STATUS: at most `most` descriptors, neighbours of one state joined.
   * Returns how many extents were looked at; -1: no room.
   */
  blockStatus(request: number, backend: BlockBackend, most: number): number {
    const at = this.reserve(STATUS_CHUNK_BYTES + DESCRIPTOR_BYTES * most);
    if (at < 0) return -1;
    const offset = this.#requests.offset[request] as number;
    const length = this.#requests.length[request] as number;
    const { view } = this.output;
    const first = at + STATUS_CHUNK_BYTES;
    // It may tell of less than was asked for, so a look through a map of crumbs ends.
    const stepsMax = Math.max(LOOKS_MIN, 4 * most);
    let to = first;
    let done = 0;
    let steps = 0;
    let runBytes = 0;
    let runState = 0;
    for (; done < length && steps < stepsMax; steps++) {
      const extent = extentOfBackend(backend, offset + done, length - done);
      const state = extentState(extent);
      if (runBytes > 0 && state !== runState) {
        to = writeDescriptor(view, to, runBytes, runState);
        runBytes = 0;
        if (to === first + DESCRIPTOR_BYTES * most) break;
      }
      runState = state;
      runBytes += extentBytes(extent);
      done += extentBytes(extent);
    }
    if (runBytes > 0) to = writeDescriptor(view, to, runBytes, runState);
    this.#chunk(request, at, true, NBD_REPLY_TYPE_BLOCK_STATUS, to - at - CHUNK_HEADER_BYTES);
    view.setUint32(at + CHUNK_HEADER_BYTES, BASE_ALLOCATION_ID);
    this.commit(to - at);
    return steps;
  }

  #simple(request: number, at: number, error: number): void {
    const high = this.#requests.cookieHigh[request] as number;
    const low = this.#requests.cookieLow[request] as number;
    writeSimpleReply(this.output.view, at, error, high, low);
  }

  #chunk(request: number, at: number, isLast: boolean, type: number, payload: number): void {
    const flags = isLast ? NBD_REPLY_FLAG_DONE : 0;
    const high = this.#requests.cookieHigh[request] as number;
    const low = this.#requests.cookieLow[request] as number;
    writeChunkHeader(this.output.view, at, flags, type, high, low, payload);
  }
}

function writeDescriptor(view: DataView, at: number, bytes: number, state: number): number {
  view.setUint32(at, bytes);
  view.setUint32(at + 4, state);
  return at + DESCRIPTOR_BYTES;
}

/** The state of what begins at `offset`, never of nothing and never of more than `bytes`. */
export function extentOfBackend(backend: BlockBackend, offset: number, bytes: number): number {
  if (!backend.isSparse) return extentOf(bytes, 0);
  const extent = backend.extent(offset, bytes);
  const found = extentBytes(extent);
  assert(found > 0 && found <= bytes, 'an extent that is not within what was asked for');
  return extent;
}
