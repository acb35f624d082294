import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { type Answer, Prober } from '../../fabric/datagram/prober.js';
import { createEndpoint } from '../../fabric/endpoint.js';
import { SimulatedWorld } from '../../runtime/simulated/world.js';
import { DATAGRAM_BYTES_MAX } from '../../wire/datagram.js';
import { examinePath, type PathParts } from './path.js';

/** A node and who looks, on two machines; nothing is lost but what is too long. */
async function makeWorld() {
  const world = new SimulatedWorld({ seed: 7, shake: false, immediate: setImmediate });
  const [home, away] = [world.machine('home'), world.machine('away')];
  const node = createEndpoint(world.program(home, 'node').runtime, { memoryId: 9 });
  const { address } = await world.drive(node.listenDatagrams(`udp://${home.host}:7070`));
  const { runtime } = world.program(away, 'client');
  const prober = await world.drive(Prober.open({ runtime, address, client: 5 }));
  const parts = { timers: runtime.timers, prober, pings: 40, progress: () => undefined };
  return { world, home, away, node, look: () => world.drive(examinePath(parts)) };
}

test('how long datagrams may be is found each way, to eight bytes', async () => {
  const { world, home, away, look } = await makeWorld();
  expect(await look()).toMatchObject({
    ...{ sent: 40, answered: 40 },
    ...{ bytesThere: DATAGRAM_BYTES_MAX, bytesBoth: DATAGRAM_BYTES_MAX },
  });
  world.setPath(away, home, 8_972);
  world.setPath(home, away, 1_472);
  const report = await look();
  expect(report?.bytesThere).toBe(8_968);
  // The answer is 16 bytes shorter than its question.
  expect(report?.bytesBoth).toBe(1_472 + 16);
  expect(report?.minMs).toBeGreaterThan(0);
  expect(report?.nodeReceiveBytes).toBeGreaterThan(0);
  world.setPath(away, home, 700);
  const narrow = await look();
  expect(narrow).toMatchObject({ answered: 40, bytesThere: 696, bytesBoth: 696 });
});

test('where no hello is answered nothing more is tried', async () => {
  const { world, node, look } = await makeWorld();
  await world.drive(node.close());
  expect(await look()).toBeUndefined();
});

test('what is lost is counted, and no length is taken for lost by one loss', async () => {
  let count = 0;
  const answer: Answer = { status: Status.Ok, roundTripMs: 1, residenceMs: 0.1 };
  const facts = { version: 1, capabilities: 0, memoryId: 1, cookieLow: 1, cookieHigh: 1 };
  const sizes = { receiveBytes: 4096, datagramBytesMax: 65_504, incarnation: 3 };
  const prober: PathParts['prober'] = {
    hello: () => Promise.resolve(++count < 3 ? undefined : { ...answer, ...facts, ...sizes }),
    ping: (bytes) => Promise.resolve(++count % 4 === 0 || bytes > 2_000 ? undefined : answer),
  };
  const timers = {
    after: (_ms: number, call: () => void) => (call(), { cancel: () => undefined }),
    soon: (call: () => void) => call(),
  };
  const report = await examinePath({ timers, prober, pings: 400, progress: () => undefined });
  expect(report).toMatchObject({ sent: 400, answered: 300, bytesThere: 2_000, bytesBoth: 2_000 });
});
