import { expect, test } from 'vitest';
import type { Bytes, Stream, StreamHandler } from '../network.js';
import type { Runtime, RunningRole } from '../runtime.js';
import { ROUGH_FAULTS, SimulatedWorld, type SimulatedWorldOptions } from './world.js';

const echo = {
  received(stream: Stream, input: Bytes, start: number, end: number): number {
    const bytes = Math.floor((end - start) / 8) * 8;
    if (bytes === 0) return 0;
    const at = stream.reserve(bytes);
    if (at < 0) return 0;
    stream.output.bytes.set(input.bytes.subarray(start, start + bytes), at);
    stream.commit(bytes);
    stream.flush();
    return bytes;
  },
  drained() {},
  closed() {},
} satisfies StreamHandler;

async function server(runtime: Runtime): Promise<RunningRole> {
  const listener = await runtime.network.listen('tcp://0.0.0.0:7070', () => echo);
  return { address: listener.address, stop: () => listener.close() };
}

async function client(runtime: Runtime, config: { address: string; rounds: number }) {
  let left = config.rounds;
  const send = (stream: Stream): void => {
    const at = stream.reserve(64);
    stream.output.view.setFloat64(at, left, true);
    stream.commit(64);
    stream.flush();
  };
  const handler: StreamHandler = {
    received(stream, _input, start, end) {
      if (end - start < 64) return 0;
      left -= 1;
      if (left > 0) send(stream);
      return 64;
    },
    drained() {},
    closed() {},
  };
  send(await runtime.network.connect(config.address, handler, 5_000));
  const done = (): boolean => left <= 0;
  return { address: '', stop: () => Promise.resolve(), done };
}

function makeWorld(options: Partial<SimulatedWorldOptions>) {
  const roles = { server, client };
  const world = new SimulatedWorld({ seed: 1, immediate: setImmediate, roles, ...options });
  const machine = world.machine('a');
  world.start(machine, 'server', {});
  return { world, machine };
}

async function pingPong(seed: number, rounds: number, faults = {}) {
  const { world, machine } = makeWorld({ seed, faults });
  await world.run();
  const address = `tcp://${machine.host}:7070`;
  for (let i = 0; i < 4; i++) world.start(world.machine(`c${i}`), 'client', { address, rounds });
  await world.run();
  return world;
}

test('a client and a server talk', async () => {
  const world = await pingPong(3, 100);
  expect(world.turns).toBeGreaterThan(400);
});

test('one seed, one hash; another seed, another', async () => {
  const hashes: number[] = [];
  for (const seed of [5, 5, 6]) hashes.push((await pingPong(seed, 50, ROUGH_FAULTS)).traceHash());
  expect(hashes[0]).toBe(hashes[1]);
  expect(hashes[0]).not.toBe(hashes[2]);
});

test('events per second', async () => {
  const start = performance.now();
  const world = await pingPong(3, 20_000);
  const perSecond = (world.turns / (performance.now() - start)) * 1_000;
  process.stdout.write(`${Math.round(perSecond)} turns per second\n`);
  expect(perSecond).toBeGreaterThan(20_000);
});
