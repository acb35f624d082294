/**
 * Frames: how messages travel, and what is checked of a frame before any of it is looked at.
 *
 *   0         4         8         12     14      16
 *   | magic   | length  | checksum | count | version | message | message | ...
 *
 *   message:  | type u8, flags u8, status u16 | length | sequence | extra | body ...
 *
 * The checks come in the order magic, length, checksum, then the messages' lengths; a frame that
 * fails one is refused whole, and nothing has been allocated or executed for it.
 */

import { assert } from '../base/assert.js';
import type { Bytes, Stream } from '../runtime/network.js';
import type { Checksum } from '../runtime/runtime.js';
import {
  BODY_BYTES_MAX,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  MESSAGE_HEADER_BYTES,
} from './limits.js';
import { FrameHeader, MessageFlag, MessageHeader } from './messages.js';

/** What was wrong with a frame; negative, so that it cannot be taken for a length. */
export const Malformed = {
  MAGIC: -1,
  LENGTH: -2,
  CHECKSUM: -3,
  VERSION: -4,
  MESSAGE: -5,
} as const;

const MALFORMED_NAMES = ['', 'magic', 'length', 'checksum', 'version', 'message'] as const;

/** A word for people and counters. */
export function malformedName(code: number): string {
  return MALFORMED_NAMES[-code] ?? 'unknown';
}

/** The version in the frames of a hello and its reply, whatever both sides agree on after. */
export const HELLO_VERSION = 1;

/**
 * Of a long batch so much is sent at once: it is still in the second level cache, and the other
 * side works on it while the rest is made.
 */
const EARLY_FLUSH_BYTES = 2 * FRAME_BYTES_MAX;

const FRAME_BYTES_MIN = FRAME_HEADER_BYTES + MESSAGE_HEADER_BYTES;

// The fast paths use 32-bit words where the declarations say bytes; both must mean the same.
assert(new Uint8Array(Uint32Array.of(1).buffer)[0] === 1, 'a little-endian machine is needed');
assert(FrameHeader.offsets.length === 4 && FrameHeader.offsets.checksum === 8);
assert(FrameHeader.offsets.count === 12 && FrameHeader.offsets.version === 14);
assert(MessageHeader.offsets.flags === 1 && MessageHeader.offsets.status === 2);
assert(MessageHeader.offsets.length === 4 && MessageHeader.offsets.sequence === 8);
assert(MessageHeader.offsets.extra === 12);

export const messageType = (input: Bytes, at: number): number => input.bytes[at] as number;
export const messageStatus = (input: Bytes, at: number): number =>
  (input.words[at >> 2] as number) >>> 16;
export const messageLength = (input: Bytes, at: number): number =>
  input.words[(at >> 2) + 1] as number;
export const messageSequence = (input: Bytes, at: number): number =>
  (input.words[(at >> 2) + 2] as number) >>> 0;
export const messageExtra = (input: Bytes, at: number): number =>
  (input.words[(at >> 2) + 3] as number) >>> 0;

/** The next multiple of 8. */
export const padded = (bytes: number): number => (bytes + 7) & ~7;

export interface FrameRules {
  readonly checksum: Checksum;
  /** Accepted; see `HELLO_VERSION`. */
  version: number;
  /** What every message's flags must be: 0 for requests, `MessageFlag.REPLY` for replies. */
  readonly flags: number;
  /** A planted bug: see fabric/planted.ts. Asked only when a checksum is wrong. */
  readonly acceptsWrongChecksum?: () => boolean;
}

/**
 * Looks at the frame that begins at `start`, a multiple of 8. Returns its length when it is all
 * there and right, 0 when more must arrive, and a code of `Malformed` otherwise. Clears the
 * checksum field of a whole frame, so a frame can be checked once only.
 */
export function checkFrame(input: Bytes, start: number, end: number, rules: FrameRules): number {
  const here = end - start;
  const word = start >> 2;
  const words = input.words;
  if (here < 8) return 0;
  if (words[word] !== FRAME_MAGIC) return Malformed.MAGIC;
  const length = words[word + 1] as number;
  if (length < FRAME_BYTES_MIN || length > FRAME_BYTES_MAX || (length & 7) !== 0) {
    return Malformed.LENGTH;
  }
  if (here < length) return 0;
  const claimed = (words[word + 2] as number) >>> 0;
  words[word + 2] = 0;
  const checksum = rules.checksum.crc32c(input.bytes, start, start + length);
  if (checksum !== claimed && rules.acceptsWrongChecksum?.() !== true) return Malformed.CHECKSUM;
  const countAndVersion = words[word + 3] as number;
  if (countAndVersion >>> 16 !== rules.version) return Malformed.VERSION;
  const isRight = checkMessages(input, start, length, countAndVersion & 0xffff, rules.flags);
  return isRight ? length : Malformed.MESSAGE;
}

/** Whether exactly `count` messages, each of a possible length, fill the frame. */
function checkMessages(
  input: Bytes,
  start: number,
  length: number,
  count: number,
  flags: number,
): boolean {
  const end = start + length;
  let at = start + FRAME_HEADER_BYTES;
  let left = count;
  while (at < end && left > 0) {
    // A header fits: everything so far was a multiple of 8, so is the end; 8 bytes are too few.
    if (end - at < MESSAGE_HEADER_BYTES) return false;
    const bytes = messageLength(input, at);
    if (bytes < MESSAGE_HEADER_BYTES || bytes > end - at || (bytes & 7) !== 0) return false;
    if (input.bytes[at + 1] !== flags) return false;
    at += bytes;
    left--;
  }
  return at === end && left === 0;
}

/** Gathers messages into frames at the end of a stream's output. */
export class FrameWriter {
  readonly #stream: Stream;
  readonly #checksum: Checksum;
  readonly #flags: number;
  version = HELLO_VERSION;
  /** Frames sealed since the start. */
  frames = 0;
  /** Where the open frame begins in the output; -1: none is open. */
  #start = -1;
  #end = 0;
  #count = 0;

  /** `isReply` is what every message of this writer is. */
  constructor(stream: Stream, checksum: Checksum, isReply: boolean) {
    this.#stream = stream;
    this.#checksum = checksum;
    this.#flags = isReply ? MessageFlag.REPLY << 8 : 0;
  }

  /**
   * Makes sure that a message with a body of `bodyBytes` can be appended: `bodyAt` says where its
   * body goes. False when the output is full; the stream's `drained` follows.
   */
  room(bodyBytes: number): boolean {
    assert(bodyBytes <= BODY_BYTES_MAX, 'a message that fits into no frame');
    const bytes = MESSAGE_HEADER_BYTES + padded(bodyBytes);
    if (this.#start >= 0) {
      if (this.#end + bytes <= this.#start + FRAME_BYTES_MAX) return true;
      this.seal();
      if (this.#stream.pending >= EARLY_FLUSH_BYTES) this.#stream.flush();
    }
    const start = this.#stream.reserve(FRAME_BYTES_MAX);
    if (start < 0) return false;
    this.#start = start;
    this.#end = start + FRAME_HEADER_BYTES;
    this.#count = 0;
    return true;
  }

  get output(): Bytes {
    return this.#stream.output;
  }

  /** After `room`: where the next message's body begins, a multiple of 8. */
  get bodyAt(): number {
    return this.#end + MESSAGE_HEADER_BYTES;
  }

  /**
   * Appends the message whose body stands at `bodyAt`; clears the padding behind it, so that no
   * byte of what was in the buffer before gets out.
   */
  append(type: number, status: number, sequence: number, extra: number, bodyBytes: number): void {
    const output = this.#stream.output;
    const at = this.#end;
    const end = at + MESSAGE_HEADER_BYTES + padded(bodyBytes);
    const words = output.words;
    const word = at >> 2;
    words[word] = type | this.#flags | (status << 16);
    words[word + 1] = end - at;
    words[word + 2] = sequence;
    words[word + 3] = extra;
    for (let i = at + MESSAGE_HEADER_BYTES + bodyBytes; i < end; i++) output.bytes[i] = 0;
    this.#end = end;
    this.#count++;
  }

  /** Completes the open frame, if there is one with a message in it. */
  seal(): void {
    const start = this.#start;
    if (start < 0) return;
    this.#start = -1;
    if (this.#count === 0) return;
    const { words, bytes } = this.#stream.output;
    const word = start >> 2;
    words[word] = FRAME_MAGIC;
    words[word + 1] = this.#end - start;
    words[word + 2] = 0;
    words[word + 3] = this.#count | (this.version << 16);
    words[word + 2] = this.#checksum.crc32c(bytes, start, this.#end);
    this.#stream.commit(this.#end - start);
    this.frames++;
  }

  /** Completes the open frame and sends everything. */
  flush(): void {
    this.seal();
    this.#stream.flush();
  }
}
