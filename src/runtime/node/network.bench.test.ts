import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Compiled, compileRuntime } from '../../../test/support/compile-runtime.js';
import { createRuntime } from './create-runtime.js';
import { measureNetwork } from './network.bench.js';

const ms = Number(process.env['MEMRACK_BENCH_MS'] ?? 20);

let compiled: Compiled;
beforeAll(() => {
  compiled = compileRuntime();
});
afterAll(() => compiled.remove());

const ADDRESSES = [
  'tcp://127.0.0.1:0',
  'unix:///tmp/memrack-bench-PID.sock',
  'ring:///tmp/memrack-bench-PID.ring',
];

test.each(ADDRESSES)('%s', async (address) => {
  const runtime = createRuntime({ rolesEntry: compiled.path('runtime/node/testing/roles.js') });
  const config = { address: address.replace('PID', String(process.pid)) };
  const server = runtime.processes.spawn({ role: 'server', config });
  const figures = await measureNetwork(runtime, (await server.ready) as string, ms);
  server.end('term');
  await server.exited;
  // Orders of magnitude only: a shared machine may be busy.
  expect(figures.loneUsMedian).toBeLessThan(10_000);
  expect(figures.pipelinedPerSecond).toBeGreaterThan(1000);
  expect(figures.chunkGbPerSecond).toBeGreaterThan(0.01);
  if (process.env['MEMRACK_BENCH_MS'] !== undefined) process.stderr.write(`${show(figures)}\n`);
});

function show(figures: object): string {
  const entries = Object.entries(figures) as [string, number][];
  return entries.map(([name, value]) => `${name} ${value.toPrecision(4)}`).join('\n');
}
