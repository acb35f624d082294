// A program with remote memory, from outside: who takes part, and what of it is on the machine.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CLI, ROOT } from './cli.js';
import { until } from './rack.js';

const RUNS = '/run/memrack';
const GROUPS = ['/sys/fs/cgroup', '/sys/fs/cgroup/memory'];

export type Part = 'command' | 'server' | 'watchdog' | 'program';

export interface RemoteRun {
  readonly child: ChildProcess;
  /** Undefined: it has not come so far. */
  pid(part: Part): number | undefined;
  output(): string;
  /** Resolves to the exit code; null: it was killed. */
  readonly exited: Promise<number | null>;
}

export function startRun(url: string, words: readonly string[]): RemoteRun {
  const before = new Set(runFolders());
  const child = spawn(process.execPath, [CLI, 'run', '--rack', url, '--host-swap', ...words], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr.on('data', (text: Buffer) => (output += text.toString()));
  const folder = (): string | undefined => runFolders().find((name) => !before.has(name));
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return {
    child,
    output: () => output,
    exited,
    pid: (part) => {
      const name = folder();
      if (part === 'command') return child.pid;
      if (name === undefined) return undefined;
      return part === 'program' ? programOf(name) : helperOf(name, part);
    },
  };
}

function runFolders(): string[] {
  return existsSync(RUNS) ? readdirSync(RUNS) : [];
}

function helperOf(folder: string, part: string): number | undefined {
  try {
    const state = JSON.parse(readFileSync(join(RUNS, folder, `${part}.json`), 'utf8'));
    const { identity, agreed } = state;
    // Before the kernel has begun with it, there is nothing that another one could go on with.
    if (part === 'server' && agreed === undefined) return undefined;
    return Number(String(identity).split('/').at(-2));
  } catch {
    return undefined;
  }
}

function programOf(folder: string): number | undefined {
  for (const groups of GROUPS) {
    const path = join(groups, `memrack-${folder}`, 'cgroup.procs');
    if (!existsSync(path)) continue;
    const [first] = readFileSync(path, 'utf8').split('\n').filter(Boolean);
    if (first !== undefined) return Number(first);
  }
  return undefined;
}

/** All that a run may leave on the machine, in full. */
export function stateOfMachine(): Record<string, string[]> {
  const lines = (path: string): string[] => readFileSync(path, 'utf8').split('\n').filter(Boolean);
  const loops = readdirSync('/sys/block').filter((name) => {
    return existsSync(`/sys/block/${name}/loop/backing_file`);
  });
  const groups = GROUPS.flatMap((folder) => {
    return existsSync(folder) ? readdirSync(folder).filter((name) => name.includes('memrack')) : [];
  });
  const processes = readdirSync('/proc').filter((pid) => isHelper(pid));
  return {
    mounts: lines('/proc/self/mounts').filter((line) => /memrack|fuse/.test(line)),
    swaps: lines('/proc/swaps').map((line) => line.split(/\s+/)[0] ?? ''),
    loops,
    groups,
    runs: runFolders(),
    processes,
  };
}

function isHelper(pid: string): boolean {
  try {
    return /swap-(server|watchdog)/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  } catch {
    return false;
  }
}

/** Fails after so long with what is still there. */
export async function untilAsBefore(
  before: ReturnType<typeof stateOfMachine>,
  ms: number,
): Promise<void> {
  const text = JSON.stringify(before);
  await until(ms, () => (JSON.stringify(stateOfMachine()) === text ? true : undefined)).catch(
    () => {
      throw new Error(`left behind: ${JSON.stringify(stateOfMachine())}, before ${text}`);
    },
  );
}
