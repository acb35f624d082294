import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Thread } from '../threads.js';
import { createRuntime, type NodeRuntime } from './create-runtime.js';
import { type Compiled, compileRuntime } from '../../../test/support/compile-runtime.js';

const options = { records: 64, recordWords: 4 };
const ROUNDS = 2000;

let compiled: Compiled;
let runtime: NodeRuntime;

beforeAll(() => {
  compiled = compileRuntime();
  runtime = createRuntime({ threadsEntry: compiled.path('runtime/node/testing/threads.js') });
});
afterAll(() => compiled.remove());

function start(entry: string, shared: SharedArrayBuffer[] = [], memory: number[] = []): Thread {
  return runtime.threads.spawn({ entry, arguments: null, shared, memory });
}

function rings() {
  const { threads } = runtime;
  const bytes = threads.ringBytes(options);
  const memory = threads.share(2 * bytes);
  const requests = threads.producer(memory, 0, options);
  const replies = threads.consumer(memory, bytes, options);
  return { memory, requests, replies };
}

for (const entry of ['echo', 'listener']) {
  test(`records go to a thread (${entry}) and come back in order`, async () => {
    const { memory, requests, replies } = rings();
    const thread = start(entry, [memory]);
    const record = new Int32Array(options.recordWords);
    let sent = 0;
    let received = 0;
    const done = new Promise<void>((resolve) => {
      const send = () => {
        // Now one, now many in flight.
        const most = sent % 100 < 50 ? 1 : 40;
        while (sent < ROUNDS && sent - received < most) {
          expect(requests.submit(Int32Array.of(sent, sent * 3, 0, -sent))).toBe(true);
          sent++;
        }
        requests.ring();
      };
      replies.listen(() => {
        while (replies.take(record)) {
          expect([...record]).toEqual([received, received * 3, 0, -received || 0]);
          received++;
        }
        if (received === ROUNDS) resolve();
        else send();
      });
      send();
    });
    await done;
    requests.submit(Int32Array.of(-1, 0, 0, 0));
    requests.ring();
    expect(await thread.ended).toBe('finished');
    replies.close();
  });
}

test('a pause does not lose what comes later', async () => {
  const { memory, requests, replies } = rings();
  const thread = start('listener', [memory]);
  const record = new Int32Array(options.recordWords);
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const reply = new Promise<void>((resolve) => {
      const { threads } = runtime;
      const consumer = threads.consumer(memory, threads.ringBytes(options), options);
      consumer.listen(() => {
        if (!consumer.take(record)) return;
        consumer.close();
        resolve();
      });
    });
    requests.submit(Int32Array.of(i, 0, 0, 0));
    requests.ring();
    await reply;
    expect(record[0]).toBe(i);
  }
  thread.terminate();
  expect(await thread.ended).toBe('terminated');
  replies.close();
});

test('wait returns when its time is over', async () => {
  const { replies } = rings();
  const before = performance.now();
  await replies.wait(20);
  expect(performance.now() - before).toBeGreaterThan(19);
  await replies.wait(0);
});

test('a thread that throws tells why', async () => {
  expect(await start('failing').ended).toContain('as planned');
});

test('a thread adopts the memory of its process', async () => {
  const file = runtime.memory.create('memrack threads', 4096);
  const { wide } = file.map(0, 4096);
  const threads = [start('adder', [], [file.handle]), start('adder', [], [file.handle])];
  for (const thread of threads) expect(await thread.ended).toBe('finished');
  expect(wide[0]).toBe(20_000n);
});
