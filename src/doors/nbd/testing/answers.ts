/** Takes the answers of the transmission phase apart, and holds them against what was asked. */

import { readUtf8 } from '../../../base/utf8.js';
import type { Bytes } from '../../../runtime/network.js';
import {
  BASE_ALLOCATION_ID,
  CHUNK_HEADER_BYTES,
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_READ,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_ERROR_OFFSET,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  readU64,
  SIMPLE_REPLY_BYTES,
} from '../protocol.js';
import type { Pending } from './pending.js';

export class AnswerReader {
  violation: string | undefined;
  readonly #pending: Map<number, Pending>;
  /** Data that are coming in: whose, where they go, and how many are missing. */
  #cookie = 0;
  #into: Pending | undefined;
  #intoAt = 0;
  #intoLeft = 0;
  #isLast = false;

  constructor(pending: Map<number, Pending>) {
    this.#pending = pending;
  }

  /** Takes one thing, and says how many bytes that was; 0: more must arrive. */
  take(input: Bytes, at: number, end: number): number {
    if (this.#into !== undefined) return this.#takeData(this.#into, input, at, end);
    if (end - at < 4) return 0;
    const magic = input.view.getUint32(at);
    if (magic === NBD_SIMPLE_REPLY_MAGIC) return this.#takeSimple(input, at, end);
    if (magic === NBD_STRUCTURED_REPLY_MAGIC) return this.#takeChunk(input, at, end);
    return this.#violate('an answer without its magic');
  }

  #violate(what: string): number {
    this.violation ??= what;
    return 0;
  }

  #takeSimple(input: Bytes, at: number, end: number): number {
    if (end - at < SIMPLE_REPLY_BYTES) return 0;
    const cookie = readU64(input.view, at + 8);
    const pending = this.#pending.get(cookie);
    if (pending === undefined) return this.#violate('a simple reply to nothing');
    pending.error = input.view.getUint32(at + 4);
    const isRead = pending.type === NBD_CMD_READ;
    const hasPayload = isRead || pending.type === NBD_CMD_BLOCK_STATUS;
    if (pending.isStructured && (isRead || (hasPayload && pending.error === 0))) {
      return this.#violate('a simple reply where a structured one is due');
    }
    if (isRead && pending.error === 0 && pending.length > 0) {
      pending.dataChunks = 1;
      this.#expect(cookie, pending, 0, pending.length, true);
    } else this.#end(cookie, pending);
    return SIMPLE_REPLY_BYTES;
  }

  #expect(cookie: number, pending: Pending, at: number, bytes: number, isLast: boolean): void {
    this.#cookie = cookie;
    this.#into = pending;
    this.#intoAt = at;
    this.#intoLeft = bytes;
    this.#isLast = isLast;
  }

  #takeData(pending: Pending, input: Bytes, at: number, end: number): number {
    const bytes = Math.min(this.#intoLeft, end - at);
    if (bytes === 0) return 0;
    pending.data.set(input.bytes.subarray(at, at + bytes), this.#intoAt);
    this.#cover(pending, this.#intoAt, bytes);
    this.#intoAt += bytes;
    this.#intoLeft -= bytes;
    if (this.#intoLeft > 0) return bytes;
    this.#into = undefined;
    if (this.#isLast) this.#end(this.#cookie, pending);
    return bytes;
  }

  #cover(pending: Pending, at: number, bytes: number): void {
    for (let i = at; i < at + bytes; i++) {
      if (pending.covered[i] === 1) this.#violate('a byte that is told twice');
      pending.covered[i] = 1;
    }
  }

  #end(cookie: number, pending: Pending): void {
    this.#pending.delete(cookie);
    if (pending.error === 0 && pending.type === NBD_CMD_READ) {
      if (pending.covered.includes(0)) this.#violate('a read that is answered in part');
    }
    if (pending.error === 0 && pending.type === NBD_CMD_BLOCK_STATUS) {
      if (pending.extents.length === 0) this.#violate('a status without extents');
    }
    pending.end();
  }

  #takeChunk(input: Bytes, at: number, end: number): number {
    if (end - at < CHUNK_HEADER_BYTES) return 0;
    const { view } = input;
    const flags = view.getUint16(at + 4);
    const type = view.getUint16(at + 6);
    const cookie = readU64(view, at + 8);
    const length = view.getUint32(at + 16);
    const pending = this.#pending.get(cookie);
    if (pending === undefined) return this.#violate('a chunk of nothing');
    if (!pending.isStructured) return this.#violate('a chunk that was not negotiated');
    if ((flags & ~NBD_REPLY_FLAG_DONE) !== 0) return this.#violate('unknown chunk flags');
    const isLast = flags === NBD_REPLY_FLAG_DONE;
    const payload = at + CHUNK_HEADER_BYTES;
    if (type === NBD_REPLY_TYPE_OFFSET_DATA) {
      if (end - payload < 8) return 0;
      return this.#beginData(cookie, pending, readU64(view, payload), length - 8, isLast);
    }
    if (end - payload < length) return 0;
    this.#takePayload(pending, input, payload, type, length, isLast);
    if (isLast && this.violation === undefined) this.#end(cookie, pending);
    return this.violation === undefined ? CHUNK_HEADER_BYTES + length : 0;
  }

  #beginData(
    cookie: number,
    pending: Pending,
    offset: number,
    bytes: number,
    isLast: boolean,
  ): number {
    if (!this.#isWithin(pending, offset, bytes)) return this.#violate('data of somewhere else');
    pending.dataChunks++;
    if (this.#isFragmented(pending)) return this.#violate('fragments in spite of DF');
    this.#expect(cookie, pending, offset - pending.offset, bytes, isLast);
    return CHUNK_HEADER_BYTES + 8;
  }

  #isWithin(pending: Pending, offset: number, bytes: number): boolean {
    const at = offset - pending.offset;
    return pending.type === NBD_CMD_READ && bytes > 0 && at >= 0 && at + bytes <= pending.length;
  }

  #isFragmented({ flags, dataChunks, holeChunks }: Pending): boolean {
    return (flags & NBD_CMD_FLAG_DF) !== 0 && dataChunks + holeChunks > 1;
  }

  #takePayload(
    pending: Pending,
    input: Bytes,
    at: number,
    type: number,
    length: number,
    isLast: boolean,
  ): void {
    if (type === NBD_REPLY_TYPE_NONE) {
      if (length !== 0 || !isLast) this.#violate('an empty chunk that is none');
    } else if (type === NBD_REPLY_TYPE_OFFSET_HOLE) {
      const offset = readU64(input.view, at);
      const bytes = input.view.getUint32(at + 8);
      if (length !== 12 || !this.#isWithin(pending, offset, bytes)) this.#violate('a wrong hole');
      else this.#cover(pending, offset - pending.offset, bytes);
      pending.holeChunks++;
      if (this.#isFragmented(pending)) this.#violate('fragments in spite of DF');
    } else if (type === NBD_REPLY_TYPE_BLOCK_STATUS) {
      this.#takeStatus(pending, input.view, at, length);
    } else if (type === NBD_REPLY_TYPE_ERROR || type === NBD_REPLY_TYPE_ERROR_OFFSET) {
      this.#takeError(pending, input, at, type, length);
    } else this.#violate('a chunk of an unknown type');
  }

  #takeStatus(pending: Pending, view: DataView, at: number, length: number): void {
    const count = (length - 4) / 8;
    const isOne = (pending.flags & NBD_CMD_FLAG_REQ_ONE) !== 0;
    const isPossible =
      pending.type === NBD_CMD_BLOCK_STATUS && pending.extents.length === 0 && count > 0;
    if (!isPossible || !Number.isInteger(count) || (isOne && count !== 1)) {
      this.#violate('a wrong block status');
      return;
    }
    if (view.getUint32(at) !== BASE_ALLOCATION_ID) this.#violate('an unknown context');
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const bytes = view.getUint32(at + 4 + 8 * i);
      if (bytes === 0 || sum >= pending.length) this.#violate('an extent too many');
      sum += bytes;
      pending.extents.push(bytes, view.getUint32(at + 8 + 8 * i));
    }
    if (isOne && sum > pending.length) this.#violate('an extent that is too long');
  }

  #takeError(pending: Pending, input: Bytes, at: number, type: number, length: number): void {
    const isPlaced = type === NBD_REPLY_TYPE_ERROR_OFFSET;
    const messageBytes = length >= 6 ? input.view.getUint16(at + 4) : -1;
    const error = length >= 6 ? input.view.getUint32(at) : 0;
    if (error === 0 || length !== 6 + messageBytes + (isPlaced ? 8 : 0)) {
      this.#violate('a wrong error');
      return;
    }
    pending.error = error;
    pending.message = readUtf8(input.bytes, at + 6, at + 6 + messageBytes) ?? '';
    if (!isPlaced) return;
    pending.failedAt = readU64(input.view, at + 6 + messageBytes);
    const place = pending.failedAt - pending.offset;
    if (place < 0 || place >= pending.length) this.#violate('an error of somewhere else');
  }
}
