// What the processes of a rack hold of the machine: processes, descriptors, threads.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { pidsOf, pidsOfRack, roleOf, type TestRack } from '../rack.js';

/**
 * For each process its role, how many descriptors and threads it has; sorted. Connections between
 * them are not counted: they are made when they are first needed, and kept.
 */
export function whatIsOpen(rack: TestRack): string[] {
  return ownOf(rack)
    .map(({ pid, open }) => {
      const threads = readdirSync(`/proc/${pid}/task`).length;
      return `${roleOf(pid)}: ${open.length - extraPolls(open)} descriptors, ${threads} threads`;
    })
    .sort();
}

/**
 * Each event loop has an eventfd and an epoll instance. A poller that has met many streams at once
 * has one epoll instance more, and keeps it.
 */
function extraPolls(open: readonly string[]): number {
  const count = (name: string): number => open.filter((one) => one.includes(name)).length;
  return count('eventpoll') > count('eventfd') ? 1 : 0;
}

/** The same by names, for whoever looks for the one that is too many. */
export function namesOfOpen(rack: TestRack): string {
  return ownOf(rack)
    .map(({ pid, open }) => `${roleOf(pid)} ${pid}: ${open.sort().join(' ')}`)
    .join('\n');
}

function ownOf(rack: TestRack): { pid: number; open: string[] }[] {
  const pids = pidsOfRack(rack).filter((pid) => roleOf(pid) !== '');
  const among = connectionsAmong(pids);
  return pids.map((pid) => ({ pid, open: openOf(pid).filter((name) => !among.has(name)) }));
}

/** What each descriptor names. */
function openOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      // It was closed meanwhile.
      return [];
    }
  });
}

/**
 * Names of sockets whose other end one of the processes has, too. Of connections of this machine's
 * own kind the system does not say where they end: all are left out, nodes count their sessions.
 */
function connectionsAmong(pids: readonly number[]): Set<string> {
  return new Set([...tcpAmong(pids), ...connectedUnix()]);
}

const CONNECTED = '03';

function connectedUnix(): string[] {
  const lines = readFileSync('/proc/self/net/unix', 'utf8').split('\n').slice(1);
  return lines.flatMap((line) => {
    const [, , , , , state, inode] = line.trim().split(/\s+/);
    return state === CONNECTED ? [`socket:[${inode}]`] : [];
  });
}

function tcpAmong(pids: readonly number[]): Set<string> {
  const theirs = new Set(pids.flatMap(openOf));
  const byEnds = new Map<string, string>();
  for (const line of readFileSync('/proc/self/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/);
    const name = `socket:[${inode}]`;
    if (local !== undefined && theirs.has(name)) byEnds.set(`${local} ${remote}`, name);
  }
  const found = new Set<string>();
  for (const [ends, name] of byEnds) {
    if (byEnds.has(ends.split(' ').reverse().join(' '))) found.add(name);
  }
  return found;
}

/** Files of ours that have a name where memory files may have one. */
export function namedMemory(): string[] {
  return readdirSync('/dev/shm')
    .filter((name) => name.includes('memrack'))
    .sort();
}

/** Bytes of their own that the memory nodes hold, beside the files; the largest. */
export function ownMemoryMax(rack: TestRack): number {
  const sizes = pidsOf(rack, 'memory-node').map((pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]);
  });
  return Math.max(...sizes);
}

/** `T` of a process whose main thread is stopped. */
export function stateOf(pid: number): string {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2)[0] ?? '';
}
