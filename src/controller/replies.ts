/** What the handlers of the controller's calls share: refusals, and what fits into a reply. */
import { Status } from '../base/status.js';
import { utf8Bytes } from '../base/utf8.js';
import type { CallHandler } from '../fabric/serve.js';
import { BODY_BYTES_MAX, REASON_BYTES_MAX } from '../wire/limits.js';
import type { CallType, Refused } from '../wire/messages.js';
import type { Controller } from './controller.js';
import type { Refusal } from './refusal.js';

/** Registers a handler; what an endpoint offers. */
export type Serve = <T extends CallType>(type: T, handler: CallHandler<T>) => void;

/** Of what could be decided twice while the database may be older than the truth. */
export function refuseChange(controller: Controller): Refused | undefined {
  const unsure = controller.restoration.refusal();
  return unsure === undefined ? refuseBusy(controller) : refused(unsure);
}

export function refuseBusy({ changes }: Controller): Refused | undefined {
  if (!changes.isFull) return undefined;
  return { status: Status.Busy, reason: `${changes.waiting} changes wait already: try again` };
}

export function refused({ status, message }: Refusal): Refused {
  return { status, reason: cutText(message) };
}

/** A cut may fall between the halves of a character, so what is not ASCII goes first. */
function cutText(message: string): string {
  if (utf8Bytes(message) >= 0 && utf8Bytes(message) <= REASON_BYTES_MAX) return message;
  return message.replace(/[^ -~]/g, '?').slice(0, REASON_BYTES_MAX);
}

/** As many of the values as fit into a reply beside its fixed part. */
export function cut<T>(
  values: readonly T[],
  bytesOf: (value: T) => number,
  bytesMax = BODY_BYTES_MAX,
): { values: T[]; more: 0 | 1 } {
  let room = bytesMax - 64;
  let count = 0;
  for (const value of values) {
    room -= bytesOf(value);
    if (room < 0) break;
    count++;
  }
  return { values: values.slice(0, count), more: count < values.length ? 1 : 0 };
}
