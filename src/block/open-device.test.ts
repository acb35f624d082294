import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import { leaseNodes } from './open-device.js';
import type { SetRow, SlabNode } from './ports.js';

function nodesOf(count: number): SlabNode[] {
  return Array.from({ length: count }, (_, i) => ({
    ...{ id: `n${i}`, memoryId: 1, machine: `m${i}`, isServing: i !== 3, isLeaving: false },
    ...{ bytesLent: 1, bytesFree: 1, bytesCommitted: 0 },
  }));
}

function rowAt(slab: number, ...ids: string[]): SetRow {
  const copies = ids.map((node) => ({ copy: slab, node, memoryId: 1, space: 1, address: 0 }));
  return { slab, generation: 1, copies };
}

test('a lease is over all nodes that are there, the ones with copies first', () => {
  const nodes = nodesOf(6);
  const found = leaseNodes(nodes, [rowAt(0, 'n4', 'n9'), rowAt(1, 'n5')], new Prng(1));
  expect(found).toEqual(['n4', 'n5', 'n0', 'n1', 'n2']);
});

test('devices of a large rack have leases over all nodes together', () => {
  const nodes = nodesOf(3 * LEASE_NODES_MAX);
  const prng = new Prng(1);
  const seen = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const found = leaseNodes(nodes, [rowAt(0, 'n40')], prng);
    expect([found[0], new Set(found).size]).toEqual(['n40', LEASE_NODES_MAX]);
    for (const id of found) seen.add(id);
  }
  expect(seen.size).toBe(nodes.length - 1);
});

test('where more nodes have copies than a lease may be over none is added', () => {
  const nodes = nodesOf(2 * LEASE_NODES_MAX);
  const rows = nodes.map(({ id }, slab) => rowAt(slab, id));
  const found = leaseNodes(nodes, rows, new Prng(1));
  expect(found.length).toBe(LEASE_NODES_MAX);
});
