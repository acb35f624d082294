// A whole rack of real processes for one test file, on free ports of the loopback.
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { parseBytes } from '../../src/base/units.js';
import { CLI, ROOT, runCli, within } from './cli.js';

export interface TestRack {
  readonly url: string;
  readonly child: ChildProcess;
  /** The nodes that are started beside `child`. */
  readonly locals: readonly ChildProcess[];
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
  /** Of more nodes: where each listens, such as unix:///PATH or ring:///PATH. */
  readonly locals?: readonly string[];
  /** The network namespace in which it runs; it ends with this process then, however that ends. */
  readonly namespace?: string;
  readonly env?: Record<string, string>;
}

/** The process that keeps the node's memory. */
export async function supervisorOf(rack: TestRack, id: string): Promise<number> {
  const pid = (await rack.nodes()).find((node) => node.id === id)?.pid;
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

const START_MS = 60_000;

export async function startRack(options: RackOptions = {}): Promise<TestRack> {
  const { nodes = 2, memory = '64MiB', pageBytes = '64KiB', extra = [], locals = [] } = options;
  const { namespace, env = {} } = options;
  const sizes = ['--nodes', String(nodes), '--memory', memory, '--page-bytes', pageBytes];
  const words = [...within(namespace), process.execPath, CLI, 'up', '--port', '0'];
  const [program = '', ...args] = [...words, ...sizes, ...extra];
  const child = spawn(program, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let output = '';
  const append = (text: Buffer) => (output += text.toString());
  child.stdout.on('data', append);
  child.stderr.on('data', append);
  const ended = endOf(child);
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const local of children) local.kill('SIGKILL');
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await Promise.all([ended, ...children.map(endOf)]);
    clearTimeout(force);
  };
  try {
    const url = await until(START_MS, () => {
      if (child.exitCode !== null) throw new Error(`the rack did not start:\n${output}`);
      return /memrack:\/\/\S+/.exec(output)?.[0];
    });
    const own = { memoryBytes: sizeOf(memory), pageBytes: sizeOf(pageBytes) };
    for (const [i, listen] of locals.entries()) {
      const local = startLocalNode(url, { id: `local-${i + 1}`, listen, ...own });
      local.stderr?.on('data', append);
      children.push(local);
    }
    await untilServing(url, nodes + locals.length, namespace);
    return {
      url,
      child,
      locals: children,
      output: () => output,
      nodes: () => listNodes(url, namespace),
      stop,
    };
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}; the rack said:\n${output}`, { cause: error });
  }
}

function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

async function untilServing(url: string, count: number, namespace?: string): Promise<void> {
  let seen = '';
  await until(START_MS, async () => {
    const rows = await listNodes(url, namespace);
    seen = rows.map(({ id, state }) => `${id} ${state}`).join(', ');
    const serving = rows.filter(({ kind, state }) => kind !== 'host' && state === 'serving');
    return serving.length >= count ? true : undefined;
  }).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}: of ${count} nodes there are ${seen}`);
  });
}

function sizeOf(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new Error(`${text} is no size`);
  return bytes;
}

interface LocalNode {
  readonly id: string;
  readonly listen: string;
  readonly memoryBytes: number;
  readonly pageBytes: number;
}

function startLocalNode(url: string, node: LocalNode): ChildProcess {
  const controllers = [url.replace('memrack:', 'tcp:')];
  const config = JSON.stringify({
    ...node,
    join: controllers,
    machine: hostname(),
    replace: false,
  });
  const args = [join(ROOT, 'test/support/local-node.mjs'), 'supervisor', config];
  return spawn(process.execPath, args, { cwd: ROOT, stdio: ['pipe', 'ignore', 'pipe'] });
}

async function listNodes(url: string, namespace?: string): Promise<NodeRow[]> {
  const words = ['nodes', '-o', 'json', '--rack', url];
  const { code, stdout, stderr } = await runCli(words, { before: within(namespace) });
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

/** All processes of a rack. */
export function pidsOfRack({ child, locals }: TestRack): number[] {
  return [child, ...locals].flatMap(({ pid }) => family(pid ?? 0));
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
  return pidsOfRack(rack).filter((pid) => roleOf(pid) === role);
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
