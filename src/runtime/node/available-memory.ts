/**
 * How much physical memory could still be given: the machine's, or that of a control group of this
 * process if that has less. Of both versions of control groups, also where both are mounted.
 *
 * /proc/meminfo and the files of control groups are described in the kernel's proc(5) and
 * Documentation/admin-guide/{cgroup-v1/memory,cgroup-v2}.rst, pressure stall information in
 * Documentation/accounting/psi.rst.
 */

import { readFileSync } from 'node:fs';
import type { Room } from '../room.js';

const KIB = 1024;

/** The text of a file, or undefined where it cannot be read. */
export type ReadText = (path: string) => string | undefined;

interface Files {
  readonly limits: readonly string[];
  readonly usage: string;
  readonly pressure: string | undefined;
}

/** Above `memory.high` a group is slowed down, which is no better than having no room. */
const V2: Files = {
  limits: ['memory.max', 'memory.high'],
  usage: 'memory.current',
  pressure: 'memory.pressure',
};
const V1: Files = {
  limits: ['memory.limit_in_bytes'],
  usage: 'memory.usage_in_bytes',
  pressure: undefined,
};
const V1_MOUNT = '/sys/fs/cgroup/memory';
/** Alone, or beside version 1. */
const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];

/** A machine or a group: what has so much, and so much of it left. */
interface Level {
  readonly availableBytes: number;
  readonly totalBytes: number;
}

interface Group {
  readonly mount: string;
  readonly files: Files;
  /** Of this process, as the kernel names it. */
  readonly path: string;
}

export function availableBytes(): number {
  return roomOf('').availableBytes ?? 0;
}

/** Of this process; `group` as the kernel names it (`/a/b`), and this process is in it or below. */
export function roomOf(group: string, text: ReadText = readText): Room {
  const levels: Level[] = [];
  const stalled = [stalledShare(text('/proc/pressure/memory'))];
  const machine = machineLevel(text);
  if (machine !== undefined) levels.push(machine);
  let isFound = group === '';
  for (const own of groupsOf(text)) {
    for (const path of upwards(own.path)) {
      const folder = own.mount + path;
      const level = groupLevel(folder, own.files, text);
      if (level !== undefined) levels.push(level);
      const { pressure } = own.files;
      if (pressure !== undefined && path !== '') {
        stalled.push(stalledShare(text(`${folder}/${pressure}`)));
      }
      // Where a controller is not there, its files are not either.
      isFound ||= path === group && text(`${folder}/${own.files.usage}`) !== undefined;
    }
  }
  const least = levels.reduce<Level | undefined>((a, b) => {
    return a === undefined || b.availableBytes < a.availableBytes ? b : a;
  }, undefined);
  const known = stalled.filter((share) => share !== undefined);
  return {
    availableBytes: least?.availableBytes,
    totalBytes: least?.totalBytes,
    stalledShare: known.length === 0 ? undefined : Math.max(...known),
    problem: isFound ? '' : `this process is in no control group ${group} that counts memory`,
  };
}

function machineLevel(text: ReadText): Level | undefined {
  const all = text('/proc/meminfo') ?? '';
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(all)?.[1];
  const total = /^MemTotal:\s+(\d+) kB$/m.exec(all)?.[1];
  if (available === undefined || total === undefined) return undefined;
  return { availableBytes: Number(available) * KIB, totalBytes: Number(total) * KIB };
}

function groupsOf(text: ReadText): Group[] {
  const groups: Group[] = [];
  for (const line of (text('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (controllers === '') {
      for (const mount of V2_MOUNTS) groups.push({ mount, files: V2, path });
    }
    if (controllers?.split(',').includes('memory') === true) {
      groups.push({ mount: V1_MOUNT, files: V1, path });
    }
  }
  return groups;
}

/** `/a/b`, `/a` and `''`. In a container the path may begin above what is mounted there. */
function upwards(path: string): string[] {
  const paths: string[] = [];
  let at = path === '/' ? '' : path;
  for (; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) paths.push(at);
  return [...paths, ''];
}

function groupLevel(folder: string, files: Files, text: ReadText): Level | undefined {
  const usage = Number(text(`${folder}/${files.usage}`) ?? Number.NaN);
  const limits = files.limits.map((name) => Number(text(`${folder}/${name}`) ?? 'max'));
  // "max", no such file, or the huge number by which version 1 says that there is none.
  const real = limits.filter((limit) => limit <= Number.MAX_SAFE_INTEGER);
  if (Number.isNaN(usage) || real.length === 0) return undefined;
  const totalBytes = Math.min(...real);
  // Cached files count as used, and are given back before anything fails. Of the group and those
  // below it: version 1 says both, version 2 the sum alone.
  const stat = text(`${folder}/memory.stat`) ?? '';
  const cached = /^total_inactive_file (\d+)$/m.exec(stat) ?? /^inactive_file (\d+)$/m.exec(stat);
  const room = totalBytes - usage + Number(cached?.[1] ?? 0);
  return { availableBytes: Math.min(totalBytes, Math.max(0, room)), totalBytes };
}

function stalledShare(pressure: string | undefined): number | undefined {
  const percent = /^some avg10=([\d.]+) /m.exec(pressure ?? '')?.[1];
  const share = Number(percent ?? Number.NaN) / 100;
  return Number.isNaN(share) ? undefined : Math.min(1, share);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
