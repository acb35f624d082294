/**
 * The NBD protocol: its numbers, and how its messages lie in bytes. Names are those of the public
 * specification, doc/proto.md of NetworkBlockDevice/nbd, whose sections are cited here; everything
 * is big-endian and unaligned.
 *
 *   request            magic u32 | flags u16 | type u16 | cookie u64 | offset u64 | length u32
 *   simple reply       magic u32 | error u32 | cookie u64 | data ...
 *   structured chunk   magic u32 | flags u16 | type u16 | cookie u64 | length u32 | payload ...
 *   option             magic u64 | option u32 | length u32 | data ...
 *   option reply       magic u64 | option u32 | type u32 | length u32 | data ...
 *
 * A cookie is the client's and is only given back, so it stays two halves. An offset is read as a
 * number: above 2^53 it is not exact any more, and beyond the end of every export.
 */

import { utf8Bytes, writeUtf8 } from '../../base/utf8.js';

// "Newstyle negotiation" and "Fixed newstyle negotiation".
export const NBD_MAGIC = 0x4e42444d41474943n;
export const NBD_OPTION_MAGIC = 0x49484156454f5054n;
export const NBD_OPTION_REPLY_MAGIC = 0x0003e889045565a9n;

// "Handshake flags", of the server, and "Client flags", which mean the same.
export const NBD_FLAG_FIXED_NEWSTYLE = 1 << 0;
export const NBD_FLAG_NO_ZEROES = 1 << 1;

// "Transmission flags".
export const NBD_FLAG_HAS_FLAGS = 1 << 0;
export const NBD_FLAG_READ_ONLY = 1 << 1;
export const NBD_FLAG_SEND_FLUSH = 1 << 2;
export const NBD_FLAG_SEND_FUA = 1 << 3;
export const NBD_FLAG_SEND_TRIM = 1 << 5;
export const NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6;
export const NBD_FLAG_SEND_DF = 1 << 7;
export const NBD_FLAG_CAN_MULTI_CONN = 1 << 8;
export const NBD_FLAG_SEND_CACHE = 1 << 10;
export const NBD_FLAG_SEND_FAST_ZERO = 1 << 11;

// "Option types". 4 was withdrawn; 11 asks for extended headers, which we do not have.
export const NBD_OPT_EXPORT_NAME = 1;
export const NBD_OPT_ABORT = 2;
export const NBD_OPT_LIST = 3;
export const NBD_OPT_STARTTLS = 5;
export const NBD_OPT_INFO = 6;
export const NBD_OPT_GO = 7;
export const NBD_OPT_STRUCTURED_REPLY = 8;
export const NBD_OPT_LIST_META_CONTEXT = 9;
export const NBD_OPT_SET_META_CONTEXT = 10;
export const NBD_OPT_EXTENDED_HEADERS = 11;

// "Option reply types".
export const NBD_REP_ACK = 1;
export const NBD_REP_SERVER = 2;
export const NBD_REP_INFO = 3;
export const NBD_REP_META_CONTEXT = 4;
export const NBD_REP_ERR_UNSUP = 2 ** 31 + 1;
export const NBD_REP_ERR_POLICY = 2 ** 31 + 2;
export const NBD_REP_ERR_INVALID = 2 ** 31 + 3;
export const NBD_REP_ERR_PLATFORM = 2 ** 31 + 4;
export const NBD_REP_ERR_TLS_REQD = 2 ** 31 + 5;
export const NBD_REP_ERR_UNKNOWN = 2 ** 31 + 6;
export const NBD_REP_ERR_SHUTDOWN = 2 ** 31 + 7;
export const NBD_REP_ERR_BLOCK_SIZE_REQD = 2 ** 31 + 8;
export const NBD_REP_ERR_TOO_BIG = 2 ** 31 + 9;

// "Option reply types", NBD_REP_INFO.
export const NBD_INFO_EXPORT = 0;
export const NBD_INFO_NAME = 1;
export const NBD_INFO_DESCRIPTION = 2;
export const NBD_INFO_BLOCK_SIZE = 3;

// "Request message", "Simple reply message", "Structured reply chunk message".
export const NBD_REQUEST_MAGIC = 0x25609513;
export const NBD_SIMPLE_REPLY_MAGIC = 0x67446698;
export const NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef;

// "Request types".
export const NBD_CMD_READ = 0;
export const NBD_CMD_WRITE = 1;
export const NBD_CMD_DISC = 2;
export const NBD_CMD_FLUSH = 3;
export const NBD_CMD_TRIM = 4;
export const NBD_CMD_CACHE = 5;
export const NBD_CMD_WRITE_ZEROES = 6;
export const NBD_CMD_BLOCK_STATUS = 7;

// "Command flags".
export const NBD_CMD_FLAG_FUA = 1 << 0;
export const NBD_CMD_FLAG_NO_HOLE = 1 << 1;
export const NBD_CMD_FLAG_DF = 1 << 2;
export const NBD_CMD_FLAG_REQ_ONE = 1 << 3;
export const NBD_CMD_FLAG_FAST_ZERO = 1 << 4;

// "Structured reply flags" and "Structured reply types".
export const NBD_REPLY_FLAG_DONE = 1 << 0;
export const NBD_REPLY_TYPE_NONE = 0;
export const NBD_REPLY_TYPE_OFFSET_DATA = 1;
export const NBD_REPLY_TYPE_OFFSET_HOLE = 2;
export const NBD_REPLY_TYPE_BLOCK_STATUS = 5;
export const NBD_REPLY_TYPE_ERROR = 2 ** 15 + 1;
export const NBD_REPLY_TYPE_ERROR_OFFSET = 2 ** 15 + 2;

// "Error values".
export const NBD_OK = 0;
export const NBD_EPERM = 1;
export const NBD_EIO = 5;
export const NBD_ENOMEM = 12;
export const NBD_EINVAL = 22;
export const NBD_ENOSPC = 28;
export const NBD_EOVERFLOW = 75;
export const NBD_ENOTSUP = 95;
export const NBD_ESHUTDOWN = 108;

// "The `base:` metadata namespace".
export const NBD_STATE_HOLE = 1 << 0;
export const NBD_STATE_ZERO = 1 << 1;
export const BASE_NAMESPACE = 'base:';
export const BASE_ALLOCATION = 'base:allocation';
/** Ours to choose, and the only one. */
export const BASE_ALLOCATION_ID = 1;

/** "Conventions": no string is longer. */
export const NBD_STRING_BYTES_MAX = 4096;

export const GREETING_BYTES = 18;
export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;
/** Behind size and flags of an export that was chosen by NBD_OPT_EXPORT_NAME. */
export const EXPORT_PADDING_BYTES = 124;
export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;
/** Of a chunk of data: its header, and the offset. */
export const DATA_CHUNK_BYTES = CHUNK_HEADER_BYTES + 8;
export const HOLE_CHUNK_BYTES = CHUNK_HEADER_BYTES + 12;
/** Without its message. */
export const ERROR_CHUNK_BYTES = CHUNK_HEADER_BYTES + 6;
export const ERROR_OFFSET_CHUNK_BYTES = CHUNK_HEADER_BYTES + 14;
/** Without its descriptors. */
export const STATUS_CHUNK_BYTES = CHUNK_HEADER_BYTES + 4;
export const DESCRIPTOR_BYTES = 8;

const TWO_32 = 2 ** 32;

/** The 64 bits at `at`, inexact above 2^53. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
}

/** `value` is an integer from 0 to 2^53 - 1. */
export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value % TWO_32);
}

/** Where the fields of a request are, from its begin. */
export const RequestAt = {
  magic: 0,
  flags: 4,
  type: 6,
  cookieHigh: 8,
  cookieLow: 12,
  offset: 16,
  length: 24,
} as const;

/** Writes a simple reply; what it carries follows at `at + SIMPLE_REPLY_BYTES`. */
export function writeSimpleReply(
  view: DataView,
  at: number,
  error: number,
  cookieHigh: number,
  cookieLow: number,
): void {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, error);
  view.setUint32(at + 8, cookieHigh);
  view.setUint32(at + 12, cookieLow);
}

/** Writes the header of a chunk; `payloadBytes` follow at `at + CHUNK_HEADER_BYTES`. */
export function writeChunkHeader(
  view: DataView,
  at: number,
  flags: number,
  type: number,
  cookieHigh: number,
  cookieLow: number,
  payloadBytes: number,
): void {
  view.setUint32(at, NBD_STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, flags);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, cookieHigh);
  view.setUint32(at + 12, cookieLow);
  view.setUint32(at + 16, payloadBytes);
}

/** One reply to an option, whole. */
export function optionReply(option: number, type: number, data: Uint8Array): Uint8Array {
  const reply = new Uint8Array(OPTION_REPLY_HEADER_BYTES + data.length);
  const view = new DataView(reply.buffer);
  view.setBigUint64(0, NBD_OPTION_REPLY_MAGIC);
  view.setUint32(8, option);
  view.setUint32(12, type);
  view.setUint32(16, data.length);
  reply.set(data, OPTION_REPLY_HEADER_BYTES);
  return reply;
}

/** `text` in UTF-8, which it has. */
export function textBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, utf8Bytes(text)));
  if (bytes.length > 0) writeUtf8(bytes, 0, text);
  return bytes;
}
