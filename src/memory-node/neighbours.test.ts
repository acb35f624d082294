import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { REGION_BYTES } from '../wire/limits.js';
import { AllocFlag } from '../wire/messages.js';
import { RackNeighbours } from './neighbours.js';

const CONTINUATION = 7 * REGION_BYTES;

/** A peer that notes what it is asked and always gives the same answer. */
function peerWith(reply: object, asked: unknown[] = []): Peer {
  const call = (_type: number, request: unknown): Promise<never> => {
    asked.push(request);
    return Promise.resolve(reply as never);
  };
  return { call, close: () => {} };
}

const owner = { memoryId: 9, state: 0, id: 'n2', address: 'tcp://two:1' };
const places = (region: number, lost = 0) => ({
  status: Status.Ok,
  more: 0,
  nodes: [owner],
  regions: [{ region, epoch: 1, node: 0, lost }],
});

const inspected = (flags: number) => ({ status: Status.Ok, base: 0, bytes: 1, flags, rights: 3 });

async function fate(controllers: object[], node: object = inspected(0)): Promise<string> {
  const peers = controllers.map((reply) => peerWith(reply));
  return new RackNeighbours(peers, () => peerWith(node)).before(3, CONTINUATION);
}

test('asks the node that holds the region before', async () => {
  const controller: unknown[] = [];
  const node: unknown[] = [];
  const addresses: string[] = [];
  const neighbours = new RackNeighbours([peerWith(places(6), controller)], (address, memoryId) => {
    addresses.push(`${address} ${memoryId}`);
    return peerWith(inspected(AllocFlag.CONTINUES), node);
  });
  expect(await neighbours.before(3, CONTINUATION)).toBe('kept');
  expect(controller).toEqual([{ space: 3, after: 5 }]);
  expect(addresses).toEqual(['tcp://two:1 9']);
  expect(node).toEqual([{ space: 3, address: CONTINUATION - 1, nonce: 0 }]);
});

test('tells what is certain, and nothing else', async () => {
  const { CONTINUES, PROVISIONAL } = AllocFlag;
  const away = { status: Status.Unavailable, reason: '' };
  const refused = (status: Status) => ({ status, reason: '' });
  expect(await fate([places(6)], inspected(CONTINUES | PROVISIONAL))).toBe('unknown');
  expect(await fate([places(6)], inspected(0))).toBe('gone');
  expect(await fate([places(6)], refused(Status.NotAllocated))).toBe('gone');
  // Another node may have the address by now.
  expect(await fate([places(6)], refused(Status.NotFound))).toBe('unknown');
  expect(await fate([places(6)], refused(Status.Timeout))).toBe('unknown');
  expect(await fate([places(6, 1)], refused(Status.NotFound))).toBe('kept');
  expect(await fate([places(7)], inspected(0))).toBe('unknown');
  expect(await fate([away, places(6)], inspected(0))).toBe('gone');
  expect(await fate([away, away])).toBe('unknown');
});
