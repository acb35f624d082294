import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { createRuntime } from '../runtime/node/create-runtime.js';
import type { RunningRole, Runtime } from '../runtime/runtime.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { UdpLink } from './datagram/udp-link.js';
import { createEndpoint, type Endpoint } from './endpoint.js';
import { FallOver } from './fall-over/fall-over.js';
import type { Link } from './link.js';
import { ShmLink } from './shm/shm-link.js';
import { LINK_CASES, type LinkCase, runLinkCase } from './testing/link-contract.js';
import { SharedNode } from './testing/shared-node.js';

const folder = mkdtempSync(join(tmpdir(), 'memrack-links-'));
const real = createRuntime();
const endpoints: Endpoint[] = [];

afterEach(async () => {
  for (const endpoint of endpoints.splice(0)) await endpoint.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const same = (actual: unknown, expected: unknown, what?: string) =>
  expect(actual, what).toEqual(expected);

type Way = 'stream' | 'shm' | 'udp' | 'auto';

/** The link to a node; over shared memory it is attached. Datagrams go to the same port. */
async function linkTo(
  runtime: Runtime,
  endpoint: Endpoint,
  address: string,
  memoryId: number,
  way: Way,
): Promise<Link> {
  const tcp = endpoint.link(address, memoryId);
  if (way === 'stream') return tcp;
  if (way === 'udp') {
    return UdpLink.open({ runtime, link: tcp, address: address.replace('tcp:', 'udp:') });
  }
  if (way === 'auto') {
    const fallOver = new FallOver({ runtime, link: tcp, address: address.replace('tcp:', 'udp:') });
    return ShmLink.open({ runtime, link: tcp, fallOver });
  }
  const link = ShmLink.open({ runtime, link: tcp });
  const why = await link.attach(20_000);
  if (why !== undefined) throw new Error(why);
  return link;
}

const REAL_WAYS: [string, string, Way][] = [
  ['tcp', 'tcp://127.0.0.1:0', 'stream'],
  ['unix', `unix://${join(folder, 'memrack.sock')}`, 'stream'],
  ['shm', 'tcp://127.0.0.1:0', 'shm'],
  ['udp', 'tcp://127.0.0.1:0', 'udp'],
];

for (const [name, listenAt, way] of REAL_WAYS) {
  describe(`a link over ${name}`, () => {
    test.each(LINK_CASES)('$name', async (linkCase) => {
      const node = new SharedNode(real);
      const server = createEndpoint(real, { memoryId: node.memoryId });
      const client = createEndpoint(real);
      endpoints.push(client, server);
      node.serve(server);
      const { address } = await server.listen(listenAt);
      if (way === 'udp') await server.listenDatagrams(address.replace('tcp:', 'udp:'));
      const link = await linkTo(real, client, address, node.memoryId, way);
      await runLinkCase(linkCase, { runtime: real, link, node }, same);
    });
  });
}

/** The case in a simulated machine, node and client each a process of it. */
async function simulate(linkCase: LinkCase, way: Way, seed: number): Promise<void> {
  let node: SharedNode | undefined;
  let failure: unknown;
  let isDone = false;
  const roles = {
    async node(runtime: Runtime): Promise<RunningRole> {
      node = new SharedNode(runtime);
      const endpoint = createEndpoint(runtime, { memoryId: node.memoryId });
      node.serve(endpoint);
      const { address } = await endpoint.listen('tcp://0.0.0.0:7070');
      if (way === 'udp') await endpoint.listenDatagrams('udp://0.0.0.0:7070');
      return { address, stop: () => endpoint.close() };
    },
    async client(runtime: Runtime, config: { address: string }): Promise<RunningRole> {
      const endpoint = createEndpoint(runtime);
      const shared = node as SharedNode;
      const making = linkTo(runtime, endpoint, config.address, shared.memoryId, way);
      making
        .then((link) => runLinkCase(linkCase, { runtime, link, node: shared }, same))
        .catch((error: unknown) => (failure = error))
        .finally(() => (isDone = true));
      return Promise.resolve({ address: '', stop: () => endpoint.close() });
    },
  };
  const world = new SimulatedWorld({ seed, immediate: setImmediate, roles });
  const machine = world.machine('one');
  const server = world.start(machine, 'node', {});
  await world.run({ until: () => server.running !== undefined, forMs: 10_000 });
  world.start(machine, 'client', { address: `tcp://${machine.host}:7070` });
  const end = await world.run({ until: () => isDone, forMs: 120_000 });
  if (failure !== undefined) throw failure as Error;
  expect(end, `seed ${seed}`).toBe('condition');
}

for (const [name, way] of [
  ['tcp', 'stream'],
  ['shm', 'shm'],
  ['udp', 'udp'],
  ['any way', 'auto'],
] as const) {
  describe(`a simulated link over ${name}`, () => {
    test.each(LINK_CASES)('$name', async (linkCase) => {
      for (let seed = 1; seed <= 5; seed++) await simulate(linkCase, way, seed);
    });
  });
}
