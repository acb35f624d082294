/**
 * Names for processes that outlive them: boot of the machine, pid namespace, pid, start time.
 *
 * A pid alone is given out again; with the start time it is not, within a boot. In another boot, or
 * another pid namespace, nothing can be said about it.
 */

import { readFileSync, readlinkSync } from 'node:fs';

/** Of /proc/PID/stat, counted behind the name in brackets. */
const STATE = 0;
const THREADS = 17;
const START_TIME = 19;

/** A pid is at most 2^22: of a greater one nothing says that it is there, or that it is not. */
const PROCESS = /^([1-9]\d{0,6})\/(\d+)$/;

interface Facts {
  readonly state: string;
  readonly threads: number;
  readonly startTime: string;
}

/** Undefined where the system does not tell, or the process has ended. */
export function identityOf(pid: number): string | undefined {
  const place = placeOfPids();
  const facts = factsOf(pid);
  if (place === undefined || facts === undefined) return undefined;
  return `${place}/${pid}/${facts.startTime}`;
}

/** True only if it is certain. */
export function hasEnded(identity: string): boolean {
  const named = processOf(identity);
  if (named === undefined) return false;
  const { pid, startTime } = named;
  // Asked of the kernel first: /proc may be mounted so that it hides what is there.
  if (isNobody(pid)) return true;
  const facts = factsOf(pid);
  if (facts === undefined) return false;
  const isOther = facts.startTime !== startTime;
  // Of a process that has ended only the exit code is left; it has no other threads any more.
  const isZombie = facts.state === 'Z' && facts.threads <= 1;
  return isOther || isZombie;
}

/** Whether it is the name of a process of this boot and pid namespace. */
export function canTell(identity: string): boolean {
  return processOf(identity) !== undefined;
}

function processOf(identity: string): { pid: number; startTime: string } | undefined {
  const place = placeOfPids();
  if (place === undefined || !identity.startsWith(`${place}/`)) return undefined;
  const [, pid, startTime] = PROCESS.exec(identity.slice(place.length + 1)) ?? [];
  if (pid === undefined || startTime === undefined) return undefined;
  return { pid: Number(pid), startTime };
}

/** What pids mean something in: this boot of this machine, this namespace. */
function placeOfPids(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    return boot === '' || namespace === undefined ? undefined : `${boot}/${namespace}`;
  } catch {
    return undefined;
  }
}

function isNobody(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function factsOf(pid: number): Facts | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const state = fields[STATE];
    const startTime = fields[START_TIME];
    if (state === undefined || startTime === undefined) return undefined;
    return { state, threads: Number(fields[THREADS]), startTime };
  } catch {
    return undefined;
  }
}
