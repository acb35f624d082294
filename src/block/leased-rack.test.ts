import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { LeasedRack, type LeasedRackParts } from './leased-rack.js';
import type { CopyPlace } from './ports.js';

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

interface Answers {
  readonly putSet?: () => Status;
}

/** Half a second ago n1 had the memory 1, of which the lease is; now it has 2. */
function rig({ putSet }: Answers = {}) {
  const asked: string[] = [];
  const call = (type: number) => {
    if (type === MessageType.MarkSlab) return Promise.resolve({ status: Status.Ok });
    const verbs: Record<number, string> = {
      [MessageType.TakeSlab]: 'take',
      [MessageType.PutSet]: 'put',
    };
    asked.push(verbs[type] ?? 'grant');
    const status = type === MessageType.PutSet ? (putSet?.() ?? Status.Ok) : Status.Ok;
    const put = { isTaken: 1, generation: 1, copies: [] };
    const taken = { memoryId: 2, space: 3, region: 4, address: 5 };
    return Promise.resolve({ status, ...put, ...taken });
  };
  let memory = 1;
  const lease = {
    ...{ number: 1, epoch: 1, nodes: new Set(['n1']), memoryAt: () => memory },
    extend: (node: string) => {
      memory = 2;
      return Promise.resolve((asked.push(`extend ${node}`), Status.Ok));
    },
  };
  const parts = {
    runtime: { timers: {}, clock: { now: () => 0 } },
    control: { call },
    connections: { known: () => ({ memoryId: 2, link: { call } }) },
    memories: { find: () => ({ memoryId: 1, address: 'a' }), list: () => Promise.resolve([]) },
    ...{ lease, device: 6, slabBytes: 7 },
  };
  return { asked, rack: new LeasedRack(parts as unknown as LeasedRackParts) };
}

test('a copy is taken under a lease that is over the memory that the node has now', async () => {
  const { asked, rack } = rig();
  expect(await rack.take('n1', 8, 9)).toMatchObject({ node: 'n1', memoryId: 2, address: 5 });
  expect(asked).toEqual(['grant', 'extend n1', 'take']);
  await rack.take('n1', 8, 10);
  expect(asked.slice(3)).toEqual(['grant', 'take']);
});

test('a lease that the controller does not know to be over a node is extended', async () => {
  const ends = [Status.Invalid, Status.Ok];
  const { asked, rack } = rig({ putSet: () => ends.shift() ?? Status.Ok });
  const place = (await rack.take('n1', 8, 9)) as CopyPlace;
  const row = { slab: 8, generation: 2, copies: [place] };
  expect(await rack.putSet(row)).toEqual({ status: Status.Invalid });
  await rack.take('n1', 8, 10);
  await rack.take('n1', 8, 11);
  expect(asked.slice(3)).toEqual(['put', 'grant', 'extend n1', 'take', 'grant', 'take']);
});
