import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Compiled, compileRuntime } from '../../../test/support/compile-runtime.js';
import { createRuntime } from './create-runtime.js';
import { DatagramRequester, measureRequests, type RequestFigures } from './datagram.bench.js';
import { Requester } from './network.bench.js';

const ms = Number(process.env['MEMRACK_BENCH_MS'] ?? 20);

let compiled: Compiled;
beforeAll(() => {
  compiled = compileRuntime();
});
afterAll(() => compiled.remove());

async function measure(kind: 'tcp' | 'udp'): Promise<RequestFigures> {
  const runtime = createRuntime({ rolesEntry: compiled.path('runtime/node/testing/roles.js') });
  const requester = kind === 'tcp' ? new Requester(runtime) : new DatagramRequester(runtime);
  const config = { address: `${kind}://127.0.0.1:0` };
  const server = runtime.processes.spawn({ role: 'server', config });
  await requester.connect((await server.ready) as string);
  const figures = await measureRequests(runtime, requester, ms);
  requester.close();
  server.end('term');
  await server.exited;
  return figures;
}

test('datagrams beside a stream', async () => {
  const [stream, datagrams] = [await measure('tcp'), await measure('udp')];
  // Orders of magnitude only: a shared machine may be busy.
  expect(datagrams.loneUsMedian).toBeLessThan(10_000);
  expect(datagrams.pipelinedPerSecond).toBeGreaterThan(1000);
  if (process.env['MEMRACK_BENCH_MS'] === undefined) return;
  for (const name of Object.keys(stream) as (keyof RequestFigures)[]) {
    const [tcp, udp] = [stream[name], datagrams[name]];
    const figures = [tcp, udp, udp / tcp].map((figure) => figure.toPrecision(4));
    process.stderr.write(`${name}: tcp ${figures[0]}, udp ${figures[1]}, ratio ${figures[2]}\n`);
  }
});
