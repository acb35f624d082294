// A control group of the machine for the memory of single processes, where there are such groups
// and this user may make one. Of version 2 alone; elsewhere a test goes without it, and says so.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requiresAccess } from './requires.js';

const GROUPS = '/sys/fs/cgroup';
const BEGUN_BY = join(GROUPS, 'cgroup.procs');

export class MemoryGroup {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static make(): MemoryGroup | undefined {
    const controls = join(GROUPS, 'cgroup.subtree_control');
    if (!existsSync(controls) || !readFileSync(controls, 'utf8').includes('memory')) {
      process.stderr.write('no part of a test: needs control groups (v2) that count memory\n');
      return undefined;
    }
    if (!requiresAccess(GROUPS, BEGUN_BY)) return undefined;
    const path = join(GROUPS, `memrack-test-${process.pid}`);
    mkdirSync(path);
    return new MemoryGroup(path);
  }

  add(pid: number): void {
    writeFileSync(join(this.#path, 'cgroup.procs'), String(pid));
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
