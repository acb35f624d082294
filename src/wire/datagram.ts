/**
 * Datagrams: how parts travel without a stream, and what is checked of a datagram before any of it
 * is looked at. Why they look so is told in docs/internals/datagrams.md.
 *
 *   request   | header, 40 bytes | message header | deadline, attempt | operands, data | ...
 *   reply     | header, 32 bytes | message header | data | message header | ...
 *
 * The checks come in the order magic, length, checksum, version, tag, then the messages' lengths
 * and flags; a datagram that fails one is dropped whole, and nothing was executed for it.
 */

import { assert } from '../base/assert.js';
import { type Bytes, DATAGRAM_BYTES_MAX as CARRIED_BYTES_MAX } from '../runtime/network.js';
import type { Checksum } from '../runtime/runtime.js';
import { messageLength, padded } from './frame.js';
import { MESSAGE_HEADER_BYTES } from './limits.js';
import { MessageFlag, MessageHeader } from './messages.js';
import { pad, struct, u8, u16, u32, u53 } from './struct.js';

/** `MRKQ` and `MRKA`: two, so that a server can never be made to answer an answer. */
export const REQUEST_MAGIC = 0x514b_524d;
export const REPLY_MAGIC = 0x414b_524d;

/** Of all datagrams; another one is dropped. What else both sides speak is told by the hello. */
export const DATAGRAM_VERSION = 1;

export const REQUEST_HEADER_BYTES = 40;
export const REPLY_HEADER_BYTES = 32;
/** In front of the operands of a part: its message header, its deadline and its attempt. */
export const PART_HEADER_BYTES = 24;
/** The most that IPv4 carries in one datagram is 65,507 bytes; all of ours are multiples of 8. */
export const DATAGRAM_BYTES_MAX = 65_504;
/** What every path of IPv6 carries, without the headers of IP and UDP. */
export const DATAGRAM_BYTES_SURE = 1_232;
/** A deadline further ahead of the node's clock than this is refused. */
export const DEADLINE_AHEAD_MS_MAX = 1_000;

/** In front of every datagram from a client. */
export const DatagramRequestHeader = struct('DatagramRequestHeader', 40, {
  magic: u32, // `MRKQ`.
  checksum: u32, // CRC-32C of the whole datagram with this field as 0.
  client: u53, // Random, chosen when the client's process started.
  link: u32, // Random, chosen when the link was opened.
  incarnation: u32, // Of the serving process, as the client knows it; 0: it does not yet.
  cookieLow: u32, // From the hello's reply; both 0: none yet.
  cookieHigh: u32,
  number: u32, // Counts the datagrams of the link; the replies name it.
  count: u16, // Parts in the datagram; at least 1.
  version: u8, // 1.
  tagBytes: u8, // Of the tag at the end, which authenticates all before it. 0 for now.
});

/** In front of every datagram from a serving process. */
export const DatagramReplyHeader = struct('DatagramReplyHeader', 32, {
  magic: u32, // `MRKA`.
  checksum: u32, // As in a request.
  link: u32, // As in the request; with refusal Checksum only a hint, and so is the number.
  incarnation: u32, // Of the serving process; never 0.
  number: u32, // Of the datagram that is answered, in this datagram or in several.
  clock: u32, // The node's, in ms modulo 2^32, read when the datagram was made.
  residence: u32, // Microseconds from arrival to sending; with count 0 one of `DatagramRefusal`.
  count: u16, // Parts that are answered; 0: a refusal, and nothing follows.
  version: u8,
  tagBytes: u8,
});

/** Why no part of a datagram was looked at. */
export const DatagramRefusal = {
  COOKIE: 1, // None, or an old one: ask for one with a hello.
  INCARNATION: 2, // Another one is meant; the header names the one that there is.
  CHECKSUM: 3, // It was damaged on the way. Link and number may be damaged, too.
} as const;
export type DatagramRefusal = (typeof DatagramRefusal)[keyof typeof DatagramRefusal];

/** Flags of a part in a request; mostly 0. */
export const RequestFlag = {
  WITHDRAW: 2, // A change shall not be executed any more. Without operands and data.
} as const;

/**
 * Between the message header of a part and its operands. The header's sequence is the part's id,
 * its `extra` the window; the status is 0. All attempts of a part have the same id, link, deadline
 * and operands; one that is withdrawn has the same id, link and deadline.
 */
export const DatagramPart = struct('DatagramPart', 8, {
  deadline: u32, // In the node's clock: the part is executed only while that is before it.
  attempt: u8, // Repeated by the reply; has no other meaning.
  reserved: pad(3),
});

/**
 * Flags of a part's reply, at most one of them besides `REPLY`. None: the part was executed, or
 * refused for good, and its status is what came of it.
 */
export const PartFlag = {
  AGAIN: 2, // Not executed, nothing is remembered. Status Invalid: its deadline is too far ahead.
  NEVER: 4, // Not executed, and it never will be. Status Timeout.
  LATE: 8, // Its deadline has passed, and nothing is known of it. Status OutcomeUnknown.
} as const;

/** Asks which memory is there, with which incarnation and clock (of the header), for a cookie. */
export const DatagramHelloRequest = struct('DatagramHelloRequest', 40, {
  versionMin: u16, // The versions that the client speaks.
  versionMax: u16,
  capabilities: u32, // Bits of `Capability` that the client knows.
  reserved: pad(32), // So that the reply is shorter.
});

/** Status Unsupported, without a body: no version in common. */
export const DatagramHelloReply = struct('DatagramHelloReply', 32, {
  version: u16, // The one that is spoken from here on.
  reserved: pad(2),
  capabilities: u32, // Bits that both sides know.
  memoryId: u53, // The memory that is lent; 0: none.
  cookieLow: u32, // Good for requests of this client from this address, for a minute at least.
  cookieHigh: u32,
  receiveBytes: u32, // What the system keeps of datagrams that the process has not yet taken.
  datagramBytesMax: u32, // No longer datagram is taken.
});

// ------------------------------------------------------------------------------ words in place

/** Words of the headers, from where a datagram begins. */
export const RequestWord = {
  MAGIC: 0,
  CHECKSUM: 1,
  CLIENT_LOW: 2,
  CLIENT_HIGH: 3,
  LINK: 4,
  INCARNATION: 5,
  COOKIE_LOW: 6,
  COOKIE_HIGH: 7,
  NUMBER: 8,
  COUNT: 9, // With version and tagBytes in the upper half.
} as const;
export const ReplyWord = {
  MAGIC: 0,
  CHECKSUM: 1,
  LINK: 2,
  INCARNATION: 3,
  NUMBER: 4,
  CLOCK: 5,
  RESIDENCE: 6,
  COUNT: 7,
} as const;

const Q = DatagramRequestHeader.offsets;
const A = DatagramReplyHeader.offsets;
assert(DatagramRequestHeader.fixedBytes === REQUEST_HEADER_BYTES && Q.client === 8);
assert(Q.checksum === 4 * RequestWord.CHECKSUM && Q.client === 4 * RequestWord.CLIENT_LOW);
assert(Q.link === 4 * RequestWord.LINK && Q.incarnation === 4 * RequestWord.INCARNATION);
assert(Q.cookieLow === 4 * RequestWord.COOKIE_LOW && Q.number === 4 * RequestWord.NUMBER);
assert(Q.cookieHigh === 4 * RequestWord.COOKIE_HIGH && Q.count === 4 * RequestWord.COUNT);
assert(Q.version === Q.count + 2 && Q.tagBytes === Q.count + 3);
assert(DatagramReplyHeader.fixedBytes === REPLY_HEADER_BYTES && A.link === 4 * ReplyWord.LINK);
assert(A.checksum === 4 * ReplyWord.CHECKSUM && A.incarnation === 4 * ReplyWord.INCARNATION);
assert(A.number === 4 * ReplyWord.NUMBER && A.clock === 4 * ReplyWord.CLOCK);
assert(A.residence === 4 * ReplyWord.RESIDENCE && A.count === 4 * ReplyWord.COUNT);
assert(A.version === A.count + 2 && A.tagBytes === A.count + 3);
assert(RequestWord.CHECKSUM === ReplyWord.CHECKSUM, 'it is looked at before the kind matters');
assert(DatagramPart.offsets.deadline === 0 && DatagramPart.offsets.attempt === 4);
assert(PART_HEADER_BYTES === MessageHeader.fixedBytes + DatagramPart.fixedBytes);
assert(
  DATAGRAM_BYTES_MAX % 8 === 0 && DATAGRAM_BYTES_MAX < 65_507 && DATAGRAM_BYTES_SURE % 8 === 0,
);
assert(DATAGRAM_BYTES_MAX <= CARRIED_BYTES_MAX, 'a network does not carry the largest one');
assert(DatagramHelloReply.fixedBytes < DatagramHelloRequest.fixedBytes, 'nothing is amplified');

/** One word of a header, unsigned; `word` is of `RequestWord` or `ReplyWord`. */
export const headerWord = (input: Bytes, datagram: number, word: number): number =>
  (input.words[(datagram >> 2) + word] as number) >>> 0;
export const requestCount = (input: Bytes, datagram: number): number =>
  headerWord(input, datagram, RequestWord.COUNT) & 0xffff;
export const replyCount = (input: Bytes, datagram: number): number =>
  headerWord(input, datagram, ReplyWord.COUNT) & 0xffff;

/** Of the part whose message header begins at `at`. */
export const partDeadline = (input: Bytes, at: number): number =>
  (input.words[(at + MESSAGE_HEADER_BYTES) >> 2] as number) >>> 0;
export const partAttempt = (input: Bytes, at: number): number =>
  input.bytes[at + MESSAGE_HEADER_BYTES + 4] as number;
/** The flags of the reply whose message header begins at `at`: `REPLY` and of `PartFlag`. */
export const partFlags = (input: Bytes, at: number): number => input.bytes[at + 1] as number;

/** `extra` of a part's reply: of Read and Ping the bytes of data; the attempt that is answered. */
export const replyExtra = (bytes: number, attempt: number): number => bytes | (attempt << 24);
export const replyBytes = (extra: number): number => extra & 0xff_ffff;
export const replyAttempt = (extra: number): number => extra >>> 24;

/** How far `a` is ahead of `b` in a clock modulo 2^32; negative where it is behind. */
export const clockAhead = (a: number, b: number): number => (a - b) | 0;

// ------------------------------------------------------------------------------------- checks

/** What was wrong with a datagram; negative. */
export const BadDatagram = {
  MAGIC: -1,
  LENGTH: -2,
  CHECKSUM: -3,
  VERSION: -4,
  TAG: -5,
  MESSAGE: -6,
} as const;

const BAD_NAMES = ['', 'magic', 'length', 'checksum', 'version', 'tag', 'message'] as const;
export type BadDatagramKind = Exclude<(typeof BAD_NAMES)[number], ''>;

/** A word for people and counters; `code` is of `BadDatagram`. */
export function badDatagramName(code: number): BadDatagramKind {
  const name = BAD_NAMES[-code] ?? '';
  assert(name !== '', 'a code that no check gives');
  return name;
}

export interface DatagramRules {
  readonly checksum: Checksum;
  /** What is expected: replies, or requests. */
  readonly isReply: boolean;
  /** A planted bug: see fabric/planted.ts. Asked only when a checksum is wrong. */
  readonly acceptsWrongChecksum?: () => boolean;
}

/** The upper half of a client's number is below this: see u53. */
const HIGH_END = 2 ** 21;

/**
 * Looks at the datagram in exactly `[start, end)` of the input; `start` is a multiple of 8. Returns
 * its messages (0: a refusal, of replies only), or a code of `BadDatagram`. After CHECKSUM the
 * header was damaged, perhaps; after any other code nothing in it means anything.
 */
export function checkDatagram(
  input: Bytes,
  start: number,
  end: number,
  rules: DatagramRules,
): number {
  const { words } = input;
  const first = start >> 2;
  const length = end - start;
  const { isReply } = rules;
  const headerBytes = isReply ? REPLY_HEADER_BYTES : REQUEST_HEADER_BYTES;
  if (length < 4) return BadDatagram.LENGTH;
  if (words[first] !== (isReply ? REPLY_MAGIC : REQUEST_MAGIC)) return BadDatagram.MAGIC;
  if (length < headerBytes || length > DATAGRAM_BYTES_MAX || (length & 7) !== 0) {
    return BadDatagram.LENGTH;
  }
  const place = first + RequestWord.CHECKSUM;
  const claimed = words[place] as number;
  words[place] = 0;
  const checksum = rules.checksum.crc32c(input.bytes, start, end);
  words[place] = claimed;
  if (checksum !== claimed >>> 0 && rules.acceptsWrongChecksum?.() !== true) {
    return BadDatagram.CHECKSUM;
  }
  const last = headerWord(input, start, isReply ? ReplyWord.COUNT : RequestWord.COUNT);
  if (((last >>> 16) & 0xff) !== DATAGRAM_VERSION) return BadDatagram.VERSION;
  if (last >>> 24 !== 0) return BadDatagram.TAG;
  const count = last & 0xffff;
  const isRight = isReply
    ? checkReply(input, start, end, count)
    : headerWord(input, start, RequestWord.CLIENT_HIGH) < HIGH_END &&
      checkParts(input, start + headerBytes, end, count, PART_HEADER_BYTES);
  return isRight ? count : BadDatagram.MESSAGE;
}

function checkReply(input: Bytes, start: number, end: number, count: number): boolean {
  const at = start + REPLY_HEADER_BYTES;
  if (count > 0) return checkParts(input, at, end, count, MESSAGE_HEADER_BYTES);
  const reason = headerWord(input, start, ReplyWord.RESIDENCE);
  return at === end && reason >= DatagramRefusal.COOKIE && reason <= DatagramRefusal.CHECKSUM;
}

/** Whether exactly `count` messages, at least one, fill `[at, end)`; their flags too. */
function checkParts(
  input: Bytes,
  from: number,
  end: number,
  count: number,
  bytesMin: number,
): boolean {
  let at = from;
  for (let left = count; left > 0; left--) {
    if (end - at < bytesMin) return false;
    const bytes = messageLength(input, at);
    if (bytes < bytesMin || bytes > end - at || (bytes & 7) !== 0) return false;
    const isRight =
      bytesMin === PART_HEADER_BYTES ? isRequestPart(input, at) : isReplyPart(input, at);
    if (!isRight) return false;
    at += bytes;
  }
  return at === end && count > 0;
}

/** Status and the reserved bytes of a request's part are zero; what is withdrawn has no body. */
function isRequestPart(input: Bytes, at: number): boolean {
  const word = at >> 2;
  const reserved = (input.words[word + 5] as number) >>> 8;
  const flags = (input.words[word] as number) >>> 8;
  if (reserved !== 0) return false;
  return (
    flags === 0 ||
    (flags === RequestFlag.WITHDRAW && messageLength(input, at) === PART_HEADER_BYTES)
  );
}

function isReplyPart(input: Bytes, at: number): boolean {
  const others = partFlags(input, at) ^ MessageFlag.REPLY;
  const { AGAIN, NEVER, LATE } = PartFlag;
  return others === 0 || others === AGAIN || others === NEVER || others === LATE;
}

// ------------------------------------------------------------------------------------- making

/** Makes one datagram after the other in place: `begin`, the parts, then `seal`. */
class DatagramWriter {
  /** Parts in the open datagram. */
  count = 0;
  protected output: Bytes | undefined;
  protected start = 0;
  protected end = 0;
  readonly #checksum: Checksum;
  readonly #headerBytes: number;
  readonly #partBytes: number;

  constructor(checksum: Checksum, headerBytes: number, partBytes: number) {
    this.#checksum = checksum;
    this.#headerBytes = headerBytes;
    this.#partBytes = partBytes;
  }

  /** Begins a datagram at `start` of the output, a multiple of 8. */
  begin(output: Bytes, start: number): void {
    this.output = output;
    this.start = start;
    this.end = start + this.#headerBytes;
    this.count = 0;
  }

  /** How long the open datagram is so far. */
  get bytes(): number {
    return this.end - this.start;
  }

  /** How long it would be with one part more whose body is as long. */
  bytesWith(bodyBytes: number): number {
    return this.bytes + this.#partBytes + padded(bodyBytes);
  }

  /** Where the body of the next part goes, a multiple of 8. */
  get bodyAt(): number {
    return this.end + this.#partBytes;
  }

  /** Writes the header of the part whose body stands at `bodyAt`, and zeros behind the body. */
  protected put(first: number, id: number, extra: number, bodyBytes: number): void {
    const output = this.output as Bytes;
    const body = this.bodyAt + bodyBytes;
    const end = this.end + this.#partBytes + padded(bodyBytes);
    assert(end - this.start <= DATAGRAM_BYTES_MAX, 'a datagram that is too long');
    const { words, bytes } = output;
    const word = this.end >> 2;
    words[word] = first;
    words[word + 1] = end - this.end;
    words[word + 2] = id;
    words[word + 3] = extra;
    for (let i = body; i < end; i++) bytes[i] = 0;
    this.end = end;
    this.count++;
  }

  /** Ends the datagram, whose header stands but for the checksum; returns its length. */
  protected close(): number {
    const { words, bytes } = this.output as Bytes;
    const place = (this.start >> 2) + RequestWord.CHECKSUM;
    words[place] = 0;
    words[place] = this.#checksum.crc32c(bytes, this.start, this.end);
    const length = this.bytes;
    this.output = undefined;
    return length;
  }
}

/** Makes datagrams of a client; the fields are what stands in the header when it is sealed. */
export class RequestWriter extends DatagramWriter {
  link = 0;
  incarnation = 0;
  cookieLow = 0;
  cookieHigh = 0;
  readonly #clientLow: number;
  readonly #clientHigh: number;

  /** `client` is an integer below 2^53. */
  constructor(checksum: Checksum, client: number) {
    super(checksum, REQUEST_HEADER_BYTES, PART_HEADER_BYTES);
    this.#clientLow = client | 0;
    this.#clientHigh = Math.floor(client / 2 ** 32);
  }

  /** Appends the part whose body stands at `bodyAt`. */
  append(
    type: number,
    id: number,
    extra: number,
    deadline: number,
    attempt: number,
    bodyBytes: number,
  ): void {
    this.#putDeadline(deadline, attempt);
    this.put(type, id, extra, bodyBytes);
  }

  /** Appends that a change, all attempts of which had this id and deadline, is withdrawn. */
  appendWithdrawal(
    type: number,
    id: number,
    extra: number,
    deadline: number,
    attempt: number,
  ): void {
    this.#putDeadline(deadline, attempt);
    this.put(type | (RequestFlag.WITHDRAW << 8), id, extra, 0);
  }

  #putDeadline(deadline: number, attempt: number): void {
    const words = (this.output as Bytes).words;
    const word = (this.end + MESSAGE_HEADER_BYTES) >> 2;
    words[word] = deadline;
    words[word + 1] = attempt & 0xff;
  }

  /** Completes the datagram, which has a part; returns its length. */
  seal(number: number): number {
    assert(this.count > 0, 'a request without a part');
    const words = (this.output as Bytes).words;
    const first = this.start >> 2;
    words[first] = REQUEST_MAGIC;
    words[first + RequestWord.CLIENT_LOW] = this.#clientLow;
    words[first + RequestWord.CLIENT_HIGH] = this.#clientHigh;
    words[first + RequestWord.LINK] = this.link;
    words[first + RequestWord.INCARNATION] = this.incarnation;
    words[first + RequestWord.COOKIE_LOW] = this.cookieLow;
    words[first + RequestWord.COOKIE_HIGH] = this.cookieHigh;
    words[first + RequestWord.NUMBER] = number;
    words[first + RequestWord.COUNT] = this.count | (DATAGRAM_VERSION << 16);
    return this.close();
  }
}

/** Makes datagrams of a serving process; link and number are those of the request. */
export class ReplyWriter extends DatagramWriter {
  link = 0;
  number = 0;
  incarnation = 0;

  constructor(checksum: Checksum) {
    super(checksum, REPLY_HEADER_BYTES, MESSAGE_HEADER_BYTES);
  }

  /** Appends the reply whose body stands at `bodyAt`; `flags` are 0 or one of `PartFlag`. */
  append(
    type: number,
    flags: number,
    status: number,
    id: number,
    extra: number,
    bodyBytes: number,
  ): void {
    this.put(type | ((flags | MessageFlag.REPLY) << 8) | (status << 16), id, extra, bodyBytes);
  }

  /** Completes the datagram, which has a part; returns its length. */
  seal(clock: number, residence: number): number {
    assert(this.count > 0, 'a reply without a part');
    return this.#finish(clock, residence);
  }

  /** Makes the begun datagram, which has no part, a refusal; returns its length. */
  refuse(clock: number, reason: DatagramRefusal): number {
    assert(this.count === 0, 'a refusal with a part');
    return this.#finish(clock, reason);
  }

  #finish(clock: number, residence: number): number {
    const words = (this.output as Bytes).words;
    const first = this.start >> 2;
    words[first] = REPLY_MAGIC;
    words[first + ReplyWord.LINK] = this.link;
    words[first + ReplyWord.INCARNATION] = this.incarnation;
    words[first + ReplyWord.NUMBER] = this.number;
    words[first + ReplyWord.CLOCK] = clock;
    words[first + ReplyWord.RESIDENCE] = residence;
    words[first + ReplyWord.COUNT] = this.count | (DATAGRAM_VERSION << 16);
    return this.close();
  }
}
