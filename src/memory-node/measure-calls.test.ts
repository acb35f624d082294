import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { isSums, stationsBetween } from '../fabric/station-times.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { MessageType } from '../wire/messages.js';
import { Harness } from './testing/harness.js';
import type { TestWorld, WorldParts } from './testing/harness.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const bytes = Uint8Array.of(1, 2, 3);

test('the slow path answers a ping in its turn, and allocates as before', async () => {
  const node = await new Harness({ makeWorld }).start();
  const pings = Array.from({ length: 600 }, () => node.begin(MessageType.PingSlowPath, {}));
  const at = await node.alloc(2);
  expect((await node.data('write', { address: at, data: bytes })).status).toBe(Status.Ok);
  await node.until(() => pings.every((reply) => reply() !== undefined));
  expect(pings.map((reply) => reply()?.status)).toEqual(pings.map(() => Status.Ok));
});

test('requests are measured between two questions, each kind for itself', async () => {
  const node = await new Harness({ makeWorld }).start();
  const at = await node.alloc(1);
  const { stations } = node.node;
  const ask = async (every: number) => {
    const answer = await node.call(MessageType.MeasureStations, { every, forMs: 1000 });
    if (!isSums(answer)) throw new Error('no sums');
    return answer;
  };
  const look = async (verb: 'read' | 'write', type: number): Promise<void> => {
    stations.begin();
    await node.data(verb, { address: at, data: bytes, bytes: 3 });
    if (stations.isOn) stations.count(type);
    stations.end();
  };
  await look('read', MessageType.Read);
  const before = await ask(1);
  for (let i = 0; i < 3; i++) await look('read', MessageType.Read);
  await look('write', MessageType.Write);
  const times = stationsBetween(before, await ask(0));
  await look('read', MessageType.Read);
  expect([times.read.requests, times.write.requests, times.atomic.requests]).toEqual([3, 1, 0]);
  expect(stationsBetween(before, await ask(0)).read.requests).toBe(3);
  expect(Object.values(times.atomic.meanUs)).toEqual([0, 0, 0, 0, 0, 0]);
});
