/** A Redis server of its own on a free port, without persistence, and its own load generator. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { cpuMicroseconds, pinned, type Turn } from '../harness.js';

const run = promisify(execFile);

export interface Redis {
  readonly pid: number;
  readonly port: number;
  /** `redis-benchmark -t get`, operations per second and the median latency. */
  get(options: { clients: number; pipeline: number; operations: number }): Promise<Turn>;
  close(): Promise<void>;
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

export async function startRedis(core: number): Promise<Redis> {
  const port = await freePort();
  const [program, args] = pinned(core, [
    'redis-server',
    ...['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
  ]);
  const child: ChildProcess = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await untilConnectable(port, 5_000);
  const pid = child.pid ?? 0;
  return {
    pid,
    port,
    get: (options) => measureGet(port, pid, options),
    close: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function untilConnectable(port: number, ms: number): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    const ok = await new Promise<boolean>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' });
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (ok) return;
    if (performance.now() > end) throw new Error(`nothing listens on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function measureGet(
  port: number,
  pid: number,
  options: { clients: number; pipeline: number; operations: number },
): Promise<Turn> {
  const [program, args] = pinned(1, [
    'redis-benchmark',
    ...['-p', String(port), '-t', 'get', '-d', '64', '--csv'],
    ...['-n', String(options.operations), '-c', String(options.clients)],
    ...['-P', String(options.pipeline)],
  ]);
  const server = cpuMicroseconds(pid);
  const { stdout } = await run('sh', ['-c', '"$@"; times', 'sh', program, ...args]);
  const used = cpuMicroseconds(pid) - server + childTime(stdout);
  const line = stdout.split('\n').find((text) => text.startsWith('"GET"')) ?? '';
  const columns = line.split(',').map((text) => Number(text.replaceAll('"', '')));
  // "test","rps","avg_latency_ms","min","p50","p95","p99","max"
  return {
    value: columns[1] ?? Number.NaN,
    cpuPerOperation: used / options.operations,
    extra: { p50: (columns[4] ?? Number.NaN) * 1000, p99: (columns[6] ?? Number.NaN) * 1000 },
  };
}

/** The last line of the shell's `times`: user and system time of its children, microseconds. */
function childTime(stdout: string): number {
  const last = stdout.trim().split('\n').at(-1) ?? '';
  const parts = [...last.matchAll(/(\d+)m([\d.]+)s/g)];
  return parts.reduce((sum, part) => sum + (Number(part[1]) * 60 + Number(part[2])) * 1e6, 0);
}
