/**
 * Control groups that limit memory: version 2 where it does, else version 1. Their files are
 * described in the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
 */

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { assert } from '../../base/assert.js';
import { type ControlGroup, type GroupUse, PagingError } from '../paging.js';

const MOUNT = '/sys/fs/cgroup';
const V1_MOUNT = join(MOUNT, 'memory');

/** Where a version keeps what. */
interface Files {
  readonly limit: string;
  readonly local: string;
  readonly peak: string;
  /** Of version 1: with what is swapped. */
  readonly both?: string;
  readonly swapped?: string;
  /** What a 0 is written to so that pages stay. */
  readonly swap: string;
  readonly events: string;
}

const V2: Files = {
  limit: 'memory.max',
  local: 'memory.current',
  peak: 'memory.peak',
  swapped: 'memory.swap.current',
  swap: 'memory.swap.max',
  events: 'memory.events',
};
const V1: Files = {
  limit: 'memory.limit_in_bytes',
  local: 'memory.usage_in_bytes',
  peak: 'memory.max_usage_in_bytes',
  both: 'memory.memsw.usage_in_bytes',
  swap: 'memory.swappiness',
  events: 'memory.oom_control',
};

/** Makes one. Throws a `PagingError`. */
export function makeControlGroup(name: string): ControlGroup {
  assert(name.includes('memrack'), "a group's name contains memrack");
  const { parent, files } = parentGroup();
  const folder = join(parent, name);
  try {
    mkdirSync(folder);
  } catch (error) {
    throw new PagingError(`no control group ${folder}: ${(error as Error).message}`);
  }
  return new NodeControlGroup(name, folder, files);
}

/** One that somebody has made. */
export function findControlGroup(name: string): ControlGroup | undefined {
  for (const [parent, files] of [
    [MOUNT, V2],
    [V1_MOUNT, V1],
  ] as const) {
    const folder = join(parent, name);
    if (existsSync(join(folder, files.limit))) return new NodeControlGroup(name, folder, files);
  }
  return undefined;
}

function parentGroup(): { readonly parent: string; readonly files: Files } {
  const controls = textOf(join(MOUNT, 'cgroup.subtree_control'));
  if (controls?.includes('memory') === true) return { parent: MOUNT, files: V2 };
  if (existsSync(join(V1_MOUNT, V1.limit))) {
    if (!existsSync(join(V1_MOUNT, V1.both ?? ''))) {
      throw new PagingError(
        'control groups of this machine do not count swap; boot with swapaccount=1',
      );
    }
    return { parent: V1_MOUNT, files: V1 };
  }
  if (controls !== undefined && mayHaveMemory()) {
    writeFileSync(join(MOUNT, 'cgroup.subtree_control'), '+memory');
    return { parent: MOUNT, files: V2 };
  }
  throw new PagingError(
    'no control groups that limit memory; mount cgroup2 at /sys/fs/cgroup, or cgroup (version 1) ' +
      'with memory at /sys/fs/cgroup/memory',
  );
}

function mayHaveMemory(): boolean {
  return textOf(join(MOUNT, 'cgroup.controllers'))?.includes('memory') === true;
}

class NodeControlGroup implements ControlGroup {
  readonly name: string;
  readonly enter: readonly string[];
  readonly #folder: string;
  readonly #files: Files;

  constructor(name: string, folder: string, files: Files) {
    this.name = name;
    this.#folder = folder;
    this.#files = files;
    // The shell is in the group before it is the command, so nothing of that is outside.
    const script = 'echo $$ > "$0" && exec "$@"';
    this.enter = ['/bin/sh', '-c', script, join(folder, 'cgroup.procs')];
  }

  limit(bytes: number): void {
    writeFileSync(join(this.#folder, this.#files.limit), String(bytes));
  }

  keepFromSwap(): boolean {
    writeFileSync(join(this.#folder, this.#files.swap), '0');
    return this.#files === V2;
  }

  use(): GroupUse {
    const { local, peak, both, swapped, events } = this.#files;
    const localBytes = this.#number(local);
    const all = both === undefined ? localBytes + this.#number(swapped ?? '') : this.#number(both);
    return {
      localBytes,
      peakLocalBytes: this.#number(peak),
      swappedBytes: Math.max(0, all - localBytes),
      pagesIn: this.#field('memory.stat', 'pgmajfault'),
      killed: this.#field(events, 'oom_kill'),
    };
  }

  /** Also of groups that it has made within its own. */
  processes(): number[] {
    return this.#folders().flatMap((folder) => {
      const text = textOf(join(folder, 'cgroup.procs')) ?? '';
      return text.split('\n').filter(Boolean).map(Number);
    });
  }

  /** The innermost first. */
  #folders(folder = this.#folder): string[] {
    try {
      const within = readdirSync(folder, { withFileTypes: true }).filter((one) =>
        one.isDirectory(),
      );
      return [...within.flatMap(({ name }) => this.#folders(join(folder, name))), folder];
    } catch {
      return [];
    }
  }

  kill(): void {
    // Those that were begun meanwhile are ended, too.
    for (let rounds = 0; rounds < 100; rounds++) {
      const all = this.processes();
      if (all.length === 0) return;
      for (const pid of all) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended by itself.
        }
      }
    }
  }

  release(): void {
    for (const pid of this.processes()) {
      try {
        writeFileSync(join(dirname(this.#folder), 'cgroup.procs'), String(pid));
      } catch {
        // It has ended by itself.
      }
    }
  }

  remove(): boolean {
    try {
      for (const folder of this.#folders()) rmdirSync(folder);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
      return false;
    }
  }

  #number(file: string): number {
    return Number(textOf(join(this.#folder, file)) ?? 0);
  }

  #field(file: string, name: string): number {
    const text = textOf(join(this.#folder, file)) ?? '';
    return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  }
}

/** Undefined where there is none. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
