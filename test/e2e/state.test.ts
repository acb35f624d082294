// What a memory node keeps for clients that come by datagrams: the same for one and for many.
import { afterEach, expect, test } from 'vitest';
import { connect, type Rack } from '../../src/apps/library.js';
import { Status } from '../../src/base/status.js';
import { createEndpoint } from '../../src/fabric/endpoint.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { MessageType } from '../../src/wire/messages.js';
import { startRack, type TestRack } from '../support/rack.js';

const MANY = 200;
/** Streams are made a few at a time, and go soon. */
const AT_ONCE = 20;
const IDLE_MS = 300;
const WITHIN_MS = 20_000;

let rack: TestRack | undefined;
const clients: Rack[] = [];
const endpoint = createEndpoint(createRuntime());

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await endpoint.close();
  await rack?.stop();
});

interface Counts {
  readonly stateBytes: number;
  readonly windows: number;
}

/** Of the only node. The one who asks is one client more. */
async function counts(address: string): Promise<Counts> {
  const reply = await endpoint.peer(address).call(MessageType.Counters, {}, 5_000);
  if (reply.status !== Status.Ok) throw new Error('no counters');
  return JSON.parse(reply.json) as Counts;
}

/** A client that has read, written and counted. */
async function use(url: string): Promise<void> {
  const client = await connect(url, { link: 'udp', idleStreamMs: IDLE_MS });
  clients.push(client);
  const space = await client.space('state', { create: true });
  const at = await space.alloc(64);
  await space.write(at, new Uint8Array(8).fill(1));
  expect(await space.fetchAndAdd(at + 8, 5n)).toBe(0n);
  expect([...(await space.read(at, 8))]).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
  await space.free(at);
}

/** Once all streams are gone. */
async function settled(address: string): Promise<Counts> {
  const end = Date.now() + WITHIN_MS;
  for (;;) {
    const now = await counts(address);
    await new Promise((resolve) => setTimeout(resolve, 2 * IDLE_MS));
    const later = await counts(address);
    if (later.stateBytes === now.stateBytes || Date.now() > end) return later;
  }
}

test('a node keeps as much for 200 clients that come by datagrams as for one', async () => {
  rack = await startRack({ nodes: 1 });
  const first = await connect(rack.url, { link: 'udp', idleStreamMs: IDLE_MS });
  clients.push(first);
  const node = (await first.nodes()).find(({ kind }) => kind !== 'host');
  const address = node?.address ?? '';
  await use(rack.url);
  const ofOne = await settled(address);
  for (let made = 1; made < MANY; made += AT_ONCE) {
    const url = rack.url;
    await Promise.all(Array.from({ length: AT_ONCE }, () => use(url)));
  }
  // They are there: each sends datagrams to this node when it wants to.
  const ofMany = await settled(address);
  expect(ofMany).toMatchObject({ stateBytes: ofOne.stateBytes, windows: ofOne.windows });
  expect(ofOne.windows).toBe(1);
  expect(ofOne.stateBytes).toBeGreaterThan(0);
}, 120_000);
