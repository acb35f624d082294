import { expect, test } from 'vitest';
import type { SetRow, SlabNode } from './ports.js';
import { countStates } from './slab-states.js';

function nodeOf(id: string, state: 'serving' | 'leaving' | 'away', memoryId = 1): SlabNode {
  const [isServing, isLeaving] = [state === 'serving', state === 'leaving'];
  const sizes = { bytesLent: 1, bytesFree: 1, bytesCommitted: 0 };
  return { id, memoryId, machine: id, ...sizes, isServing, isLeaving };
}

function rowOf(...nodes: string[]): SetRow {
  const copies = nodes.map((node, i) => {
    return { copy: i + 1, node, memoryId: 1, space: node === 'file' ? 0 : 1, address: 0 };
  });
  return { slab: 0, generation: 1, copies };
}

const NODES = [
  nodeOf('a', 'serving'),
  nodeOf('leaving', 'leaving'),
  nodeOf('away', 'away'),
  nodeOf('empty', 'serving', 2),
];

test.each([
  [['a', 'leaving'], {}],
  [['a'], { degraded: 1 }],
  [['a', 'away'], { degraded: 1 }],
  [['a', 'empty'], { degraded: 1 }],
  [['away'], { away: 1 }],
  [['away', 'empty'], { away: 1 }],
  [['empty'], { lost: 1 }],
  [['empty', 'removed'], { lost: 1 }],
  [['empty', 'file'], { inFile: 1 }],
  [['a', 'file'], { degraded: 1 }],
  [['a', 'leaving', 'file'], {}],
])('copies at %j are %j', (nodes, wanted) => {
  const states = countStates([rowOf(...nodes)], NODES, 2);
  expect(states).toEqual({
    kept: 1,
    degraded: 0,
    away: 0,
    lost: 0,
    inFile: 0,
    inDoubt: 0,
    hot: 0,
    ...wanted,
  });
});

test('as long as nobody has told of the nodes copies count wherever they are', () => {
  const states = countStates([rowOf('x', 'y'), rowOf('x')], undefined, 2);
  expect(states).toMatchObject({ kept: 2, degraded: 1, away: 0, lost: 0 });
});
