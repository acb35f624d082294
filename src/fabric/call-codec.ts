/** Bodies of calls and of their replies, from values to bytes and back. */

import { assert } from '../base/assert.js';
import { isStatus, Status } from '../base/status.js';
import { BODY_BYTES_MAX, REASON_BYTES_MAX } from '../wire/limits.js';
import type { Refused, Reply, Request } from '../wire/messages.js';
import { CALLS, type CallType, isCallType, messageName, Refusal } from '../wire/messages.js';
import type { Declaration, FieldsOf, Place, Struct } from '../wire/struct.js';
import type { BodyPool } from './body-pool.js';

type AnyStruct = Struct<Declaration>;

function encoded(struct: AnyStruct, value: object, place?: Place): Uint8Array {
  const fields = value as FieldsOf<Declaration>;
  const { bytes, view } = place ?? newPlace(struct.encodedBytes(fields));
  const end = struct.encode({ bytes, view }, 0, fields);
  assert(end === bytes.length, 'a struct is not as long as it said');
  return bytes;
}

function newPlace(length: number): Place {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** The body of a request, in memory of `pool`; a text says, for people, why it cannot be sent. */
export function encodeRequest<T extends CallType>(
  type: T,
  request: Request<T>,
  pool?: BodyPool,
): Uint8Array | string {
  const struct = CALLS[type].request as unknown as AnyStruct;
  const fields = request as FieldsOf<Declaration>;
  const wrong = struct.invalid(fields);
  if (wrong !== null) return `${messageName(type)}: ${wrong}`;
  const bytes = struct.encodedBytes(fields);
  if (bytes > BODY_BYTES_MAX) {
    return `${messageName(type)}: takes more than ${BODY_BYTES_MAX} bytes; send it in parts`;
  }
  return encoded(struct, fields, pool?.take(bytes));
}

/** Status and body of a reply. A reply of ours that breaks its declaration is a bug. */
export function encodeReply(
  type: number,
  reply: Reply<CallType>,
): { status: Status; body: Uint8Array } {
  if (reply.status !== Status.Ok || !isCallType(type)) {
    const { status, reason } = reply as Refused;
    return {
      status,
      body: encoded(Refusal as unknown as AnyStruct, { reason: shortened(reason) }),
    };
  }
  const struct = CALLS[type].reply as unknown as AnyStruct;
  const fields = reply as unknown as FieldsOf<Declaration>;
  assert(struct.invalid(fields) === null, 'a reply breaks its declaration');
  if (struct.encodedBytes(fields) > BODY_BYTES_MAX) {
    const reason = `the answer takes more than ${BODY_BYTES_MAX} bytes: ask for less at a time`;
    return encodeReply(type, { status: Status.Invalid, reason });
  }
  return { status: Status.Ok, body: encoded(struct, fields) };
}

/** A reason that fits, whole characters only. */
function shortened(reason: string): string {
  if (Refusal.invalid({ reason }) === null) return reason;
  const points = [...reason].filter((point) => point.length > 1 || !/[\ud800-\udfff]/.test(point));
  return points.slice(0, REASON_BYTES_MAX / 4).join('');
}

/** The reply in `[at, end)`; a text says why there is none. */
export function decodeReply<T extends CallType>(
  type: T,
  status: number,
  source: Place,
  at: number,
  end: number,
): Reply<T> | string {
  if (!isStatus(status)) return `status ${status} is unknown`;
  if (status !== Status.Ok) {
    if (at === end) return { status, reason: '' } as Reply<T>;
    const refusal = Refusal.decode(source, at, end);
    return typeof refusal === 'string' ? refusal : ({ status, ...refusal } as Reply<T>);
  }
  const fields = (CALLS[type].reply as unknown as AnyStruct).decode(source, at, end);
  return typeof fields === 'string' ? fields : ({ status, ...fields } as unknown as Reply<T>);
}
