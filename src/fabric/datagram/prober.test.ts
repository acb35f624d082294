// One question per datagram, against a real endpoint on the loopback.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { createRuntime } from '../../runtime/node/create-runtime.js';
import { createEndpoint, type Endpoint } from '../endpoint.js';
import { FakeMemory } from '../testing/fake-memory.js';
import { Prober } from './prober.js';

const runtime = createRuntime({ logLevel: 'error' });
const WITHIN_MS = 5_000;
const CLIENT = 77;

let server: Endpoint;
let memory: FakeMemory;
let prober: Prober;

beforeEach(async () => {
  server = createEndpoint(runtime, { memoryId: 99 });
  memory = new FakeMemory(8192);
  server.serveData(memory);
  const { address } = await server.listenDatagrams('udp://127.0.0.1:0');
  prober = await Prober.open({ runtime, address, client: CLIENT });
});

afterEach(async () => {
  prober.close();
  await server.close();
});

test('a hello says who is there; a ping and a read are answered and timed', async () => {
  const facts = await prober.hello(WITHIN_MS);
  expect(facts).toMatchObject({ status: Status.Ok, memoryId: 99, version: 1 });
  const window = { space: 1, id: memory.window, epoch: memory.epoch };
  for (const answer of [
    await prober.ping(512, WITHIN_MS),
    await prober.read(window, 0, 64, WITHIN_MS),
  ]) {
    expect(answer?.status).toBe(Status.Ok);
    expect(answer?.residenceMs).toBeGreaterThanOrEqual(0);
    expect(answer?.roundTripMs).toBeGreaterThan(answer?.residenceMs ?? 0);
  }
  expect(server.datagrams).toMatchObject({ hellos: 1, pings: 1, partsExecuted: 1 });
  const stale = { ...window, epoch: window.epoch + 1 };
  expect((await prober.read(stale, 0, 64, WITHIN_MS))?.status).toBe(Status.Stale);
});

test('many at a time, of any length, each with its own answer', async () => {
  await prober.hello(WITHIN_MS);
  const lengths = Array.from({ length: 40 }, (_, i) => 64 + 8 * ((i * 997) % 1000));
  const answers = await Promise.all(lengths.map((bytes) => prober.ping(bytes, WITHIN_MS)));
  expect(answers.every((answer) => answer?.status === Status.Ok)).toBe(true);
  // One way: the answer is short, also where no hello came before.
  expect(await prober.ping(4096, WITHIN_MS, true)).toBeDefined();
});

test('where nobody answers nothing is there, and closing ends what is waited for', async () => {
  const { address } = await server.listenDatagrams('udp://127.0.0.1:0');
  await server.close();
  const lonely = await Prober.open({ runtime, address, client: CLIENT });
  expect(await lonely.hello(30)).toBeUndefined();
  const waiting = lonely.ping(64, 60_000);
  lonely.close();
  expect(await waiting).toBeUndefined();
});

test('an address that nothing can be sent to is refused at once', async () => {
  const nowhere = { runtime, address: 'udp://no.such.host.invalid:1', client: 1 };
  await expect(Prober.open(nowhere)).rejects.toMatchObject({ name: 'NetworkError' });
});
