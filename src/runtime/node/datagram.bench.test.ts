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

type Way = 'stream' | 'datagrams' | 'packed datagrams';

async function measure(way: Way): Promise<RequestFigures> {
  const runtime = createRuntime({ rolesEntry: compiled.path('runtime/node/testing/roles.js') });
  const packed = way === 'packed datagrams';
  const requester =
    way === 'stream' ? new Requester(runtime) : new DatagramRequester(runtime, { packed });
  const config = { address: `${way === 'stream' ? 'tcp' : 'udp'}://127.0.0.1:0` };
  const server = runtime.processes.spawn({ role: 'server', config });
  await requester.connect((await server.ready) as string);
  const figures = await measureRequests(runtime, requester, ms);
  requester.close();
  server.end('term');
  await server.exited;
  return figures;
}

test('datagrams beside a stream', async () => {
  const stream = await measure('stream');
  for (const way of ['datagrams', 'packed datagrams'] as const) {
    const datagrams = await measure(way);
    // Orders of magnitude only: a shared machine may be busy.
    expect(datagrams.loneUsMedian).toBeLessThan(10_000);
    expect(datagrams.pipelinedPerSecond).toBeGreaterThan(1000);
    if (process.env['MEMRACK_BENCH_MS'] !== undefined) show(way, datagrams, stream);
  }
});

function show(way: Way, datagrams: RequestFigures, stream: RequestFigures): void {
  for (const name of Object.keys(stream) as (keyof RequestFigures)[]) {
    const [tcp, udp] = [stream[name].toPrecision(4), datagrams[name].toPrecision(4)];
    const ratio = (datagrams[name] / stream[name]).toPrecision(3);
    process.stderr.write(`${name}: stream ${tcp}, ${way} ${udp}, ratio ${ratio}\n`);
  }
}
