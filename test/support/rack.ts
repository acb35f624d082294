// A whole rack of real processes for one test file, on free ports of the loopback.
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { CLI, ROOT, runCli } from './cli.js';

export interface TestRack {
  readonly url: string;
  readonly child: ChildProcess;
  /** All that `up` has printed on either stream. */
  output(): string;
  nodes(): Promise<NodeRow[]>;
  /** Ends it in order, and waits. */
  stop(): Promise<void>;
}

export interface NodeRow {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly address: string;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly pid: number;
}

export interface RackOptions {
  readonly nodes?: number;
  readonly memory?: string;
  readonly pageBytes?: string;
  readonly extra?: readonly string[];
}

const START_MS = 60_000;

export async function startRack(options: RackOptions = {}): Promise<TestRack> {
  const { nodes = 2, memory = '64MiB', pageBytes = '64KiB', extra = [] } = options;
  const sizes = ['--nodes', String(nodes), '--memory', memory, '--page-bytes', pageBytes];
  const args = [CLI, 'up', '--port', '0', ...sizes, ...extra];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const append = (text: Buffer) => (output += text.toString());
  child.stdout.on('data', append);
  child.stderr.on('data', append);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const url = await until(START_MS, () => {
    if (child.exitCode !== null) throw new Error(`the rack did not start:\n${output}`);
    return /memrack:\/\/\S+/.exec(output)?.[0];
  });
  const list = () => listNodes(url);
  await until(START_MS, async () => {
    const serving = (await list()).filter(
      ({ kind, state }) => kind !== 'host' && state === 'serving',
    );
    return serving.length >= nodes ? true : undefined;
  });
  return {
    url,
    child,
    output: () => output,
    nodes: list,
    stop: async () => {
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(force);
    },
  };
}

async function listNodes(url: string): Promise<NodeRow[]> {
  const { code, stdout, stderr } = await runCli(['nodes', '-o', 'json', '--rack', url]);
  if (code !== 0) throw new Error(`memrack nodes failed with ${code}: ${stderr}`);
  return JSON.parse(stdout) as NodeRow[];
}

/** Asks again until there is an answer. */
export async function until<T>(
  timeoutMs: number,
  ask: () => T | undefined | Promise<T | undefined>,
  everyMs = 50,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > end) throw new Error(`nothing came of it within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

export function parentOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name stands in brackets and may hold anything: count from its end.
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
}

/** A process and all that descend from it. */
export function family(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), parentOf(Number(name)));
    } catch {
      // It has ended meanwhile.
    }
  }
  const found = [pid];
  for (const member of found) {
    for (const [child, parent] of parents) if (parent === member) found.push(child);
  }
  return found;
}

export function isAlive(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}

/** The controller, host and supervisors of a rack, by what they were started as. */
export function roleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[2] ?? '';
  } catch {
    return '';
  }
}

export function pidsOf(rack: TestRack, role: string): number[] {
  return family(rack.child.pid ?? 0).filter((pid) => roleOf(pid) === role);
}

/** Memory files of ours that a process has open, each by its inode. */
export function memoryFiles(pids: readonly number[]): Set<number> {
  const inodes = new Set<number>();
  for (const pid of pids) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        const path = `/proc/${pid}/fd/${fd}`;
        if (readlinkSync(path).includes('memfd:memrack')) inodes.add(statSync(path).ino);
      }
    } catch {
      // It has ended, or is not ours to look at.
    }
  }
  return inodes;
}

export function everyPid(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}
