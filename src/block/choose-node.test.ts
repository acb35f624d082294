import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { bestFreeOfTwo } from '../policies/placement/best-free-of-two.js';
import { chooseNode } from './choose-node.js';
import type { CopyPlace, SlabNode } from './ports.js';

/** Two on each machine. */
const NODES: readonly SlabNode[] = ['a1', 'a2', 'b1', 'b2'].map((id) => ({
  ...{ id, memoryId: 1, machine: id.slice(0, 1), isServing: true, isLeaving: false },
  ...{ bytesLent: 100, bytesFree: 50, bytesCommitted: 0 },
}));

const at = (node: string): CopyPlace => ({ copy: 1, node, memoryId: 1, space: 1, address: 0 });

function chosen(beside: readonly string[], tried: readonly string[], nodes = NODES): string[] {
  const prng = new Prng(1);
  const ids = Array.from({ length: 30 }, () => {
    return chooseNode(nodes, beside.map(at), new Set(tried), bestFreeOfTwo, prng)?.id ?? '';
  });
  return [...new Set(ids)].sort();
}

test('apart from the other copies, also from their machines where that can be', () => {
  expect(chosen([], [])).toEqual(['a1', 'a2', 'b1', 'b2']);
  expect(chosen(['a1'], [])).toEqual(['b1', 'b2']);
  expect(chosen(['a1', 'b1'], [])).toEqual(['a2', 'b2']);
  expect(chosen(['a1'], ['b1', 'b2'])).toEqual(['a2']);
  expect(chosen(['a1', 'b1'], ['a2', 'b2'])).toEqual(['']);
});

test('what takes the place of a copy may be on its machine, not on that of the other', () => {
  expect(chosen(['b1'], ['a1'])).toEqual(['a2']);
});

test('not where nothing new goes', () => {
  const leaving = NODES.map((node) => ({ ...node, isLeaving: node.id !== 'b2' }));
  expect(chosen(['a1'], [], leaving)).toEqual(['b2']);
  const away = NODES.map((node) => ({ ...node, isServing: node.id === 'a2' }));
  expect(chosen(['b1'], [], away)).toEqual(['a2']);
});
