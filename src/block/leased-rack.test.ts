import { expect, test } from 'vitest';
import { LEASE_NODES_MAX } from '../wire/limits.js';
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
