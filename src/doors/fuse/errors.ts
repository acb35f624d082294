/** How operations end, in the errors of Linux. */

import { type Status, type StatusName, statusName } from '../../base/status.js';
import { Errno } from './abi.js';

const ERRNO = {
  Ok: 0,
  NoSpace: Errno.ENOSPC,
  NotAllocated: Errno.EIO,
  NotFound: Errno.EIO,
  Exists: Errno.EIO,
  Denied: Errno.EPERM,
  Busy: Errno.EBUSY,
  Conflict: Errno.EIO,
  Stale: Errno.EIO,
  Unavailable: Errno.EIO,
  DataLost: Errno.EIO,
  Corrupt: Errno.EIO,
  Timeout: Errno.EIO,
  OutcomeUnknown: Errno.EIO,
  Invalid: Errno.EINVAL,
  Unsupported: Errno.EOPNOTSUPP,
  Closed: Errno.ESHUTDOWN,
  Moved: Errno.EIO,
} as const satisfies Record<StatusName, number>;

/** Where a file cannot be opened. */
const OPEN_ERRNO: Partial<Record<StatusName, number>> = {
  // The kernel then looks the name up again.
  NotFound: Errno.ESTALE,
  Timeout: Errno.EBUSY,
  Conflict: Errno.EBUSY,
  Denied: Errno.EACCES,
  Stale: Errno.ESTALE,
};

export function errnoOf(status: Status): number {
  return ERRNO[statusName(status) ?? 'Unavailable'];
}

/** Of who wants to open a device. */
export function openErrnoOf(status: Status): number {
  return OPEN_ERRNO[statusName(status) ?? 'Unavailable'] ?? errnoOf(status);
}
