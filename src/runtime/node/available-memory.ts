/** How much physical memory could still be given: the machine's, or the control group's if less. */

import { readFileSync } from 'node:fs';

const KIB = 1024;

/** Where limits of the two versions of control groups stand. */
const V1 = { limit: 'memory.limit_in_bytes', usage: 'memory.usage_in_bytes' };
const V2 = { limit: 'memory.max', usage: 'memory.current' };

export function availableBytes(): number {
  const machine = /^MemAvailable:\s+(\d+) kB$/m.exec(read('/proc/meminfo') ?? '');
  return Math.min(Number(machine?.[1] ?? 0) * KIB, groupBytes());
}

/** The least that any control group of this process allows; infinity without a limit. */
function groupBytes(): number {
  let least = Infinity;
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (controllers === '') least = Math.min(least, leastUpwards('/sys/fs/cgroup', path, V2));
    if (controllers?.split(',').includes('memory') === true) {
      least = Math.min(least, leastUpwards('/sys/fs/cgroup/memory', path, V1));
    }
  }
  return least;
}

/** A limit holds for all groups below; in a container the path may begin above what is mounted. */
function leastUpwards(mount: string, path: string, files: typeof V1): number {
  let least = Infinity;
  for (let folder = path; ; folder = folder.slice(0, folder.lastIndexOf('/'))) {
    least = Math.min(least, roomIn(mount + folder, files));
    if (folder === '' || folder === '/') return least;
  }
}

function roomIn(folder: string, files: typeof V1): number {
  const limit = Number(read(`${folder}/${files.limit}`) ?? 'max');
  const usage = Number(read(`${folder}/${files.usage}`) ?? Number.NaN);
  // "max", no such file, or the huge number by which version 1 says that there is none.
  if (Number.isNaN(limit) || Number.isNaN(usage) || limit > Number.MAX_SAFE_INTEGER) {
    return Infinity;
  }
  // Cached files count as used, and are given back before anything fails.
  const stat = read(`${folder}/memory.stat`) ?? '';
  const cached = /^(?:total_)?inactive_file (\d+)$/m.exec(stat);
  return Math.max(0, limit - usage + Number(cached?.[1] ?? 0));
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
