import { expect, test } from 'vitest';
import { defined } from '../../base/assert.js';
import { handler } from '../conformance/check.js';
import type { Stream } from '../network.js';
import { NicModel, PLAIN_NIC } from './hardware.js';
import { PLAIN_KNOBS, SimulatedWorld } from './world.js';

test('latency rises when there are more connections than the cache holds', () => {
  const { entries, hitNs, missNs } = PLAIN_NIC.connections;
  const averageNs = (connections: number): number => {
    const nic = new NicModel();
    for (let connection = 0; connection < connections; connection++) nic.chargeNs({ connection });
    let ns = 0;
    const messages = 10 * connections;
    for (let i = 0; i < messages; i++) ns += nic.chargeNs({ connection: i % connections });
    return ns / messages;
  };
  expect(averageNs(1)).toBe(hitNs);
  expect(averageNs(entries)).toBe(hitNs);
  // In turn is the worst order for a cache that forgets the oldest.
  expect(averageNs(entries + 1)).toBe(missNs);
});

test('regions and translations are charged too, and the least recently used is forgotten', () => {
  const small = { entries: 2, hitNs: 1, missNs: 100 };
  const nic = new NicModel({ connections: small, regions: small, translations: small });
  expect(nic.chargeNs({ connection: 1, region: 1, translation: 1 })).toBe(300);
  expect(nic.chargeNs({ connection: 1, region: 1, translation: 2 })).toBe(102);
  expect(nic.chargeNs({ translation: 1 })).toBe(1);
  expect(nic.chargeNs({ translation: 3 })).toBe(100);
  expect(nic.chargeNs({ translation: 1 })).toBe(1);
  expect(nic.chargeNs({ translation: 2 })).toBe(100);
  expect([nic.translations.hits, nic.translations.misses]).toEqual([2, 4]);
});

/** Average time of a message and its answer when `connections` take turns. */
async function roundTripUs(connections: number): Promise<number> {
  const knobs = { jitterNs: 0, tailDoublingsMax: 0, bytesPerUs: 0 };
  const world = new SimulatedWorld({ seed: 1, immediate: setImmediate, shake: false, knobs });
  const nic = { ...PLAIN_NIC, connections: { entries: 16, hitNs: 0, missNs: 5_000 } };
  const machine = world.machine('server', { nic });
  const server = world.program(machine, 'server').runtime;
  const client = world.program(world.machine('client'), 'client').runtime;
  const target = `tcp://${machine.host}:7000`;
  let answers = 0;
  const near = handler({
    received(_stream, _input, start, end) {
      answers += 1;
      return end - start;
    },
  });
  const far = handler({
    received(stream, _input, start, end) {
      sendWord(stream);
      return end - start;
    },
  });
  await world.drive(server.network.listen(target, () => far));
  const streams: Stream[] = [];
  for (let i = 0; i < connections; i++) {
    streams.push(await world.drive(client.network.connect(target, near, 1_000)));
  }
  // The first round fills the cache.
  let startMs = 0;
  for (let i = 0; i < 5 * connections; i++) {
    if (i === connections) startMs = world.nowMs;
    sendWord(defined(streams[i % connections]));
    await world.run({ until: () => answers > i });
  }
  return ((world.nowMs - startMs) * 1_000) / (4 * connections);
}

function sendWord(stream: Stream): void {
  expect(stream.reserve(8)).toBeGreaterThanOrEqual(0);
  stream.commit(8);
  stream.flush();
}

test('and so it does between simulated machines', async () => {
  const latencyUs = PLAIN_KNOBS.latencyNs / 1_000;
  const fewUs = await roundTripUs(8);
  const manyUs = await roundTripUs(32);
  // A miss of 5 us when the question comes; the answer finds the connection in the cache.
  expect(fewUs).toBeCloseTo(2 * latencyUs, 0);
  expect(manyUs).toBeCloseTo(2 * latencyUs + 5, 0);
});
