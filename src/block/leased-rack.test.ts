import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { LeasedRack, type LeasedRackParts } from './leased-rack.js';

test.each([LEASE_NODES_MAX - 1, LEASE_NODES_MAX])(
  'new copies go to nodes that the lease can be over, where it is over %i',
  async (covered) => {
    const ids = Array.from({ length: LEASE_NODES_MAX + 4 }, (_, i) => `n${i}`);
    const nodes = ids.map((id) => ({ id, memoryId: 1, isServing: true, isLeaving: false }));
    const memories = { list: () => Promise.resolve(nodes), find: () => undefined };
    const lease = { nodes: new Set(ids.slice(0, covered)) };
    const parts = { runtime: { timers: {}, clock: {} }, memories, lease };
    const rack = new LeasedRack(parts as unknown as LeasedRackParts);
    const there = (await rack.nodes())?.filter(({ isServing }) => isServing).map(({ id }) => id);
    expect(there).toEqual(covered < LEASE_NODES_MAX ? ids : ids.slice(0, covered));
  },
);

test('a copy is taken under a lease that is over the memory that the node has now', async () => {
  const asked: string[] = [];
  const ok = { status: Status.Ok };
  const call = (type: number) => {
    asked.push(type === MessageType.TakeSlab ? 'take' : 'grant');
    return Promise.resolve({ ...ok, memoryId: 2, space: 3, region: 4, address: 5 });
  };
  const lease = {
    ...{ number: 1, epoch: 1, nodes: new Set(['n1']) },
    extend: (node: string) => Promise.resolve((asked.push(`extend ${node}`), Status.Ok)),
  };
  const parts = {
    runtime: { timers: {}, clock: { now: () => 0 } },
    control: { call },
    connections: { known: () => ({ memoryId: 2, link: { call } }) },
    // Half a second old.
    memories: { find: () => ({ memoryId: 1, address: 'a' }), list: () => Promise.resolve([]) },
    ...{ lease, device: 6, slabBytes: 7 },
  };
  const rack = new LeasedRack(parts as unknown as LeasedRackParts);
  expect(await rack.take('n1', 8, 9)).toMatchObject({ node: 'n1', memoryId: 2, address: 5 });
  expect(asked).toEqual(['grant', 'extend n1', 'take']);
});
