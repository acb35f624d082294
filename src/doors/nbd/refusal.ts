/**
 * How a request ends that does not end well: the one table from our statuses to NBD's errors, and
 * the words that go with errors where the client takes words ("Error values").
 */

import { STATUS_FACTS, Status, type StatusName, statusName } from '../../base/status.js';
import {
  NBD_EINVAL,
  NBD_EIO,
  NBD_ENOMEM,
  NBD_ENOSPC,
  NBD_ENOTSUP,
  NBD_EOVERFLOW,
  NBD_EPERM,
  NBD_ESHUTDOWN,
  NBD_OK,
  textBytes,
} from './protocol.js';

/**
 * NBD knows eight errors and no "try again": what may come back, and what is unknown, is an I/O
 * error. Clients are to treat that as neither done nor undone, which is right for both.
 */
export const NBD_ERROR = {
  Ok: NBD_OK,
  NoSpace: NBD_ENOSPC,
  NotAllocated: NBD_EIO,
  NotFound: NBD_EIO,
  Exists: NBD_EIO,
  Denied: NBD_EPERM,
  Busy: NBD_ENOMEM,
  Conflict: NBD_EIO,
  Stale: NBD_EIO,
  Unavailable: NBD_EIO,
  DataLost: NBD_EIO,
  Corrupt: NBD_EIO,
  Timeout: NBD_EIO,
  OutcomeUnknown: NBD_EIO,
  Invalid: NBD_EINVAL,
  Unsupported: NBD_ENOTSUP,
  Closed: NBD_ESHUTDOWN,
  Moved: NBD_EIO,
} as const satisfies Record<StatusName, number>;

/** Why the door itself refuses a request; numbered behind the statuses. */
export const Refusal = {
  ReadOnly: 64,
  Misaligned: 65,
  BeyondEnd: 66,
  BeyondEndOfWrite: 67,
  Empty: 68,
  TooLong: 69,
  TooLongUnfragmented: 70,
  UnknownCommand: 71,
  UnknownFlag: 72,
  NotZero: 73,
  NoContext: 74,
  Stopping: 75,
} as const;

interface Ending {
  readonly error: number;
  readonly message: Uint8Array;
}

const ending = (error: number, message: string): Ending => ({ error, message: textBytes(message) });

const REFUSALS: Record<keyof typeof Refusal, Ending> = {
  ReadOnly: ending(NBD_EPERM, 'the export is read-only'),
  Misaligned: ending(NBD_EINVAL, 'offset or length is no multiple of the minimum block size'),
  BeyondEnd: ending(NBD_EINVAL, 'the range is not within the export'),
  BeyondEndOfWrite: ending(NBD_ENOSPC, 'the range is not within the export'),
  Empty: ending(NBD_EINVAL, 'the length is 0'),
  TooLong: ending(NBD_EINVAL, 'longer than the maximum block size'),
  TooLongUnfragmented: ending(NBD_EOVERFLOW, 'too long to be sent in one piece'),
  UnknownCommand: ending(NBD_EINVAL, 'unknown command'),
  UnknownFlag: ending(NBD_EINVAL, 'a flag that this command does not have'),
  NotZero: ending(NBD_EINVAL, 'offset and length of this command are to be 0'),
  NoContext: ending(NBD_EINVAL, 'no metadata context was negotiated'),
  Stopping: ending(NBD_ESHUTDOWN, 'the server is stopping'),
};

const OTHER = ending(NBD_EIO, 'input/output error');
/** By status, and by refusal. */
const ENDINGS: Ending[] = [];
for (const name of Object.keys(Status) as StatusName[]) {
  const { remedy } = STATUS_FACTS[name];
  ENDINGS[Status[name]] = ending(NBD_ERROR[name], remedy === '' ? name : `${name}: ${remedy}`);
}
for (const name of Object.keys(REFUSALS) as (keyof typeof Refusal)[]) {
  ENDINGS[Refusal[name]] = REFUSALS[name];
}

/**
 * The error of a status or a refusal. `NBD_ENOTSUP` is the answer to fast zeroes alone, and means
 * that they would be slow; of anything else `Unsupported` is a mistake of the client's.
 */
export function errorOf(end: number, isFastZero: boolean): number {
  const { error } = ENDINGS[end] ?? OTHER;
  return error === NBD_ENOTSUP && !isFastZero ? NBD_EINVAL : error;
}

/** In UTF-8. */
export function messageOf(end: number): Uint8Array {
  return (ENDINGS[end] ?? OTHER).message;
}

/** What a backend returned, which a bug may have made something else, as a status that failed. */
export function failureOf(status: number): number {
  return status !== Status.Ok && statusName(status) !== undefined ? status : Status.Corrupt;
}
