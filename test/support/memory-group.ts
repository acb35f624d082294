// A control group of the machine for the memory of single processes, where there are such groups
// (of version 2, or 1) and this user may make one; elsewhere a test goes without it, and says so.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requiresAccess } from './requires.js';

const GROUPS = '/sys/fs/cgroup';

/** Where groups that count memory are made. */
function parent(): string | undefined {
  const controls = join(GROUPS, 'cgroup.subtree_control');
  if (existsSync(controls) && readFileSync(controls, 'utf8').includes('memory')) return GROUPS;
  const first = join(GROUPS, 'memory');
  return existsSync(join(first, 'memory.stat')) ? first : undefined;
}

export class MemoryGroup {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static make(): MemoryGroup | undefined {
    const groups = parent();
    if (groups === undefined) {
      process.stderr.write('no part of a test: needs control groups that count memory\n');
      return undefined;
    }
    if (!requiresAccess(groups, join(groups, 'cgroup.procs'))) return undefined;
    const path = join(groups, `memrack-test-${process.pid}`);
    mkdirSync(path);
    return new MemoryGroup(path);
  }

  add(pid: number): void {
    writeFileSync(this.processes, String(pid));
  }

  /** Where a process writes its number to be in it. */
  get processes(): string {
    return join(this.#path, 'cgroup.procs');
  }

  /** All its processes together may use no more. */
  limit(bytes: number): void {
    const second = join(this.#path, 'memory.max');
    const first = join(this.#path, 'memory.limit_in_bytes');
    writeFileSync(existsSync(second) ? second : first, String(bytes));
  }

  /** Of memory files, what its processes were the first to touch. */
  sharedBytes(): number {
    const stat = readFileSync(join(this.#path, 'memory.stat'), 'utf8');
    return Number(/^shmem (\d+)$/m.exec(stat)?.[1]);
  }

  /** After its processes have ended. */
  remove(): void {
    rmdirSync(this.#path);
  }
}
