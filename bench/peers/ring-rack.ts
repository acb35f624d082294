/**
 * A rack whose one memory node listens at a `ring://` address: streams through shared memory. The
 * command line offers tcp alone, so the node's role is run directly.
 *
 * `node ring-rack.js CONFIG` is that node: the built role, in the foreground.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { pinned } from '../harness.js';
import { type BenchRack, projectRoot, untilServing } from '../rack.js';
import { freePort } from './redis.js';

export async function startRingRack(memoryBytes: number): Promise<BenchRack> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'memrack-bench-'));
  const config = JSON.stringify({
    id: 'ring-1',
    join: [`tcp://127.0.0.1:${port}`],
    listen: `ring://${folder}/node`,
    machine: hostname(),
    memoryBytes,
  });
  const cli = join(projectRoot(), 'dist/cli/main.js');
  const programs = [
    [cli, 'controller', '--port', String(port)],
    [fileURLToPath(import.meta.url), config],
  ];
  const children = programs.map((words) => {
    const [program, args] = pinned(0, [process.execPath, ...words]);
    return spawn(program, args, { stdio: 'ignore' });
  });
  const ended = children.map((child) => new Promise((resolve) => child.once('exit', resolve)));
  const close = async (): Promise<void> => {
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(ended);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const nodes = await untilServing(`http://127.0.0.1:${port}`, 1, 30_000);
    const pids = new Map(nodes.map((node) => [node.id, node.pid ?? 0]));
    const nodePid = pids.get('ring-1') ?? 0;
    return { url: `memrack://127.0.0.1:${port}`, nodePid, pids, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface RunRole {
  runInForeground(role: string, config: unknown, serves: () => void): Promise<void>;
}

/** The supervisor starts its node from the folder that it lies in: so the built one is taken. */
async function runNode(config: string): Promise<void> {
  const file = pathToFileURL(join(projectRoot(), 'dist/cli/run-role.js')).href;
  const { runInForeground } = (await import(file)) as RunRole;
  await runInForeground('supervisor', JSON.parse(config), () => undefined);
  process.exit(0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await runNode(process.argv[2] ?? '');
