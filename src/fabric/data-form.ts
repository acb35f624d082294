/**
 * The form of data messages: how long each must be, and what its reply needs. Looked at for every
 * message, so it works on words in place; the declarations in wire/messages.ts say the same, and
 * are held to it when this file is loaded.
 */

import { assert } from '../base/assert.js';
import type { Bytes } from '../runtime/network.js';
import { messageLength, padded } from '../wire/frame.js';
import { MESSAGE_HEADER_BYTES, PIECE_BYTES_MAX } from '../wire/limits.js';
import {
  CompareAndSwapRequest,
  FetchAndAddRequest,
  MessageType,
  OldValue,
  ReadRequest,
  ReserveRequest,
  WriteRequest,
} from '../wire/messages.js';

const TARGET_BYTES = ReadRequest.fixedBytes;
const ATOMIC_BYTES = OldValue.fixedBytes;
/** An address is below 2^53: its upper word is below this. */
const ADDRESS_HIGH_END = 2 ** 21;

assert(WriteRequest.fixedBytes === TARGET_BYTES && ReserveRequest.fixedBytes === TARGET_BYTES);
assert(ReadRequest.offsets.address === 0 && ReadRequest.offsets.bytes === 8);
assert(ReadRequest.offsets.epoch === 12);

/** The `bytes` field of the data message whose body begins at `at`. */
export const targetBytes = (input: Bytes, at: number): number =>
  (input.words[(at + 8) >> 2] as number) >>> 0;

/** Whether the message whose header begins at `at` is not of the form that its type has. */
export function badDataForm(input: Bytes, at: number, type: number): boolean {
  const body = messageLength(input, at) - MESSAGE_HEADER_BYTES;
  return badDataBody(input, at + MESSAGE_HEADER_BYTES, body, type);
}

/** Whether the `body` bytes at `at` are not of the form that the body of its type has. */
export function badDataBody(input: Bytes, at: number, body: number, type: number): boolean {
  if (type > MessageType.Reserve) return body !== 0;
  if (body < TARGET_BYTES) return true;
  const high = (input.words[(at + 4) >> 2] as number) >>> 0;
  if (high >= ADDRESS_HIGH_END) return true;
  const bytes = targetBytes(input, at);
  switch (type) {
    case MessageType.Read:
      return body !== TARGET_BYTES || bytes > PIECE_BYTES_MAX;
    case MessageType.Write:
      return bytes > PIECE_BYTES_MAX || body !== TARGET_BYTES + padded(bytes);
    case MessageType.CompareAndSwap:
      return body !== CompareAndSwapRequest.fixedBytes || bytes !== ATOMIC_BYTES;
    case MessageType.FetchAndAdd:
      return body !== FetchAndAddRequest.fixedBytes || bytes !== ATOMIC_BYTES;
    default:
      return body !== TARGET_BYTES;
  }
}

/** How long the body of the reply can become to the data message whose body begins at `at`. */
export function replyRoom(input: Bytes, at: number, type: number): number {
  return type === MessageType.Read ? targetBytes(input, at) : ATOMIC_BYTES;
}
