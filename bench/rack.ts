/** A rack of its own for a bench: real processes on free ports, pinned to the first core. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuMicroseconds, pinned } from './harness.js';
import { freePort } from './peers/redis.js';

export interface BenchRack {
  readonly url: string;
  /** Of the process that serves the first memory node. */
  readonly nodePid: number;
  /** All processes of the rack, with the role of each. */
  readonly pids: ReadonlyMap<string, number>;
  close(): Promise<void>;
}

/** The checkout's folder, from wherever the compiled bench lies. */
export function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

export async function startRack(options: {
  nodes: number;
  memory: string;
  /** Started by words of `extra`, beside `nodes`. */
  persistentNodes?: number;
  extra?: readonly string[];
}): Promise<BenchRack> {
  const port = await freePort();
  const [program, args] = pinned(0, [
    process.execPath,
    join(projectRoot(), 'dist/cli/main.js'),
    ...['up', '--port', String(port), '--nodes', String(options.nodes)],
    ...['--memory', options.memory, ...(options.extra ?? [])],
  ]);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (text: Buffer) => {
    errors = (errors + text.toString()).slice(-4000);
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const base = `http://127.0.0.1:${port}`;
  let nodes: ListedNode[];
  try {
    nodes = await untilServing(base, options.nodes + (options.persistentNodes ?? 0), 30_000);
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error(`the rack did not start: ${errors}`, { cause: error });
  }
  const pids = new Map<string, number>([['up', child.pid ?? 0]]);
  for (const node of nodes) if (node.pid !== undefined) pids.set(node.id, node.pid);
  return {
    url: `memrack://127.0.0.1:${port}`,
    nodePid: nodes.find((node) => node.bytesLent > 0)?.pid ?? 0,
    pids,
    close: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/**
 * Wall time of `work`, and the processor time that it took here and in the other processes, per
 * operation.
 */
export async function measured(
  others: { readonly nodePid: number } | readonly number[],
  operations: number,
  work: () => Promise<void>,
): Promise<{ wallMs: number; cpuPerOperation: number }> {
  const pids = 'nodePid' in others ? [others.nodePid] : others;
  const cpuOfOthers = (): number => pids.reduce((sum, pid) => sum + cpuMicroseconds(pid), 0);
  const cpu = process.cpuUsage();
  const before = cpuOfOthers();
  const start = performance.now();
  await work();
  const wallMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const all = user + system + cpuOfOthers() - before;
  return { wallMs, cpuPerOperation: all / operations };
}

export interface ListedNode {
  readonly id: string;
  readonly state: string;
  readonly bytesLent: number;
  readonly pid?: number;
}

async function listNodes(base: string): Promise<ListedNode[]> {
  const response = await fetch(`${base}/v1/nodes`);
  return (await response.json()) as ListedNode[];
}

/** The nodes of the rack, as soon as so many of them serve. */
export async function untilServing(base: string, nodes: number, ms: number): Promise<ListedNode[]> {
  const end = performance.now() + ms;
  for (;;) {
    try {
      const listed = await listNodes(base);
      const serving = listed.filter((node) => node.bytesLent > 0 && node.state === 'serving');
      if (serving.length >= nodes) return listed;
    } catch {
      // Not listening yet.
    }
    if (performance.now() > end) throw new Error(`no ${nodes} nodes after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
