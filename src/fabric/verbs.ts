/** What the fabric knows of each kind of operation: its message, and how it ends untold. */

import { type Outcome, Status, STATUS_FACTS, type StatusName } from '../base/status.js';
import { assert } from '../base/assert.js';
import type { Memory } from '../runtime/memory.js';
import type { Bytes } from '../runtime/network.js';
import { type FrameWriter, padded } from '../wire/frame.js';
import {
  CALLS,
  CompareAndSwapRequest,
  dataExtra,
  FetchAndAddRequest,
  isCallType,
  isDataType,
  MessageType,
  ReadRequest,
} from '../wire/messages.js';
import type { OperationRing } from './operation-ring.js';
import { copyToStream, SHORT_COPY_BYTES_MAX } from './short-copy.js';

const OUTCOMES: readonly Outcome[] = (Object.keys(Status) as StatusName[]).map(
  (name) => STATUS_FACTS[name].outcome,
);
const TWO_32 = 2 ** 32;

assert(
  CompareAndSwapRequest.offsets.expected === 16 && CompareAndSwapRequest.offsets.desired === 24,
);
assert(FetchAndAddRequest.offsets.delta === 16);

export const outcomeOf = (status: number): Outcome => OUTCOMES[status] ?? 'unknown';

/** Whether doing it twice is as good as once, so that it may be sent again when in doubt. */
export function isRepeatable(type: number): boolean {
  if (isCallType(type)) return CALLS[type].repeatable;
  return !changesBytes(type);
}

/** Writes and atomics: what may not be applied twice, nor overtake a read of the same bytes. */
export function changesBytes(type: number): boolean {
  return type > MessageType.Read && type < MessageType.Reserve;
}

/**
 * Calls whose effect no operation on memory can meet before they are answered: those may go another
 * way meanwhile. Everything else has its order among the operations of a link.
 */
const UNORDERED: ReadonlySet<number> = new Set([
  MessageType.Ping,
  MessageType.OpenWindow,
  MessageType.OpenRange,
  MessageType.CloseWindow,
  MessageType.Attach,
  MessageType.Detach,
  MessageType.Alloc,
  MessageType.ConfirmAlloc,
  MessageType.Inspect,
  MessageType.Counters,
  MessageType.MeasureStations,
  MessageType.PingSlowPath,
  MessageType.NodeRegions,
  MessageType.TakeSlab,
  MessageType.ListSlabs,
  MessageType.OpenSlab,
  MessageType.MarkSlab,
  MessageType.TornPages,
  MessageType.SlabActivity,
  MessageType.RenewLease,
  MessageType.EndLease,
  MessageType.InspectLease,
]);

export function isUnordered(type: number): boolean {
  return type >= MessageType.Ping && UNORDERED.has(type);
}

/** How an operation ends that was sent and not answered in time, or never will be. */
export function statusUnanswered(type: number): Status {
  return isRepeatable(type) ? Status.Timeout : Status.OutcomeUnknown;
}

/** The length of the body of its request, about `bytes` of its range. */
export function requestBodyBytes(
  ring: OperationRing,
  place: number,
  bytes = ring.bytes[place] as number,
): number {
  const type = ring.type[place] as number;
  switch (type) {
    case MessageType.Read:
    case MessageType.Reserve:
      return ReadRequest.fixedBytes;
    case MessageType.Write:
      return ReadRequest.fixedBytes + padded(bytes);
    case MessageType.CompareAndSwap:
      return CompareAndSwapRequest.fixedBytes;
    case MessageType.FetchAndAdd:
      return FetchAndAddRequest.fixedBytes;
    default:
      return isDataType(type) ? 0 : bytes;
  }
}

/** Appends the request in `place`; `writer.room` has said that it fits. */
export function appendRequest(
  writer: FrameWriter,
  ring: OperationRing,
  place: number,
  sequence: number,
  memory: Pick<Memory, 'copy'>,
): void {
  const type = ring.type[place] as number;
  const body = requestBodyBytes(ring, place);
  const at = writer.bodyAt;
  const buffer = ring.buffer[place];
  if (!isDataType(type)) {
    if (buffer !== undefined) memory.copy(writer.output.bytes, at, buffer, 0, body);
    writer.append(type, 0, sequence, 0, body);
    return;
  }
  const names = type === MessageType.Write || type === MessageType.Reserve;
  const isUnreserve = type === MessageType.Unreserve;
  const reservation = names || isUnreserve ? (ring.operands[place * 4] as number) : 0;
  if (type > MessageType.Reserve) {
    writer.append(type, 0, sequence, dataExtra(0, reservation), 0);
    return;
  }
  const window = ring.window[place];
  assert(window !== undefined, 'a data operation without a window');
  const bytes = ring.bytes[place] as number;
  putAccess(writer.output, at, ring, place, 0, bytes, memory);
  // Of a write only the data is not a multiple of 8: its padding is what `append` clears.
  const length = type === MessageType.Write ? ReadRequest.fixedBytes + bytes : body;
  writer.append(type, 0, sequence, dataExtra(window.id, reservation), length);
}

/**
 * Writes the body of an access at `at` of the output: target, then data or operands. It is about
 * `bytes` of the operation's range, from `offset` on.
 */
export function putAccess(
  output: Bytes,
  at: number,
  ring: OperationRing,
  place: number,
  offset: number,
  bytes: number,
  memory: Pick<Memory, 'copy'>,
): void {
  const type = ring.type[place] as number;
  const { words } = output;
  const word = at >> 2;
  const address = (ring.address[place] as number) + offset;
  words[word] = address;
  words[word + 1] = address / TWO_32;
  words[word + 2] = bytes;
  words[word + 3] = ring.window[place]?.epoch as number;
  const buffer = ring.buffer[place];
  if (type === MessageType.Write && buffer !== undefined) {
    const data = at + ReadRequest.fixedBytes;
    const start = (ring.start[place] as number) + offset;
    if (bytes <= SHORT_COPY_BYTES_MAX) copyToStream(output, data, buffer, start, bytes);
    else memory.copy(output.bytes, data, buffer, start, bytes);
  } else if (type === MessageType.CompareAndSwap || type === MessageType.FetchAndAdd) {
    const { operands } = ring;
    const from = place * 4;
    words[word + 4] = operands[from] as number;
    words[word + 5] = operands[from + 1] as number;
    if (type === MessageType.CompareAndSwap) {
      words[word + 6] = operands[from + 2] as number;
      words[word + 7] = operands[from + 3] as number;
    }
  }
}
