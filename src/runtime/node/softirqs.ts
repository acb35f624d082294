/**
 * Has the kernel do at once what a system call of this thread has put off to a softirq.
 *
 * A block device whose request was answered through /dev/fuse ends it in a softirq. Raised by a
 * thread it is for ksoftirqd, which has to be scheduled on this very processor first: beside a
 * thread that polls, that took all of its patience, 200 microseconds. A thread that leaves a part
 * in which softirqs are off runs what is pending itself (`__local_bh_enable_ip`, kernel/softirq.c);
 * taking the lock of any socket is such a part, and costs half a microsecond.
 */

import { AF_UNIX, setSocketOption, SO_RCVLOWAT, SOCK_DGRAM_CLOEXEC, socket } from './system.js';

/** Of nobody: -1 where the process may open nothing, and then this does nothing. */
let lock: number | undefined;

export function runPendingSoftirqs(): void {
  lock ??= socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  setSocketOption(lock, SO_RCVLOWAT, 1);
}
