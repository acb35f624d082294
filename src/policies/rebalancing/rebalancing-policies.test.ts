import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { BEGINS_ABOVE, evenUsed, GOES_ON_ABOVE } from './even-used.js';
import { usedShare, type BalancedNode } from './rebalancing.js';
import {
  isRebalancingPolicyName,
  REBALANCING_POLICY_DEFAULT,
  REBALANCING_POLICY_NAMES,
  rebalancingPolicy,
} from './rebalancing-policies.js';

const LENT = 1_000;

/** Regions of these sizes at each of the nodes. */
function rack(sizes: readonly (readonly number[])[], lent = sizes.map(() => LENT)): BalancedNode[] {
  return sizes.map((regions, node) => ({
    node: `n${node}`,
    bytesLent: lent[node] ?? LENT,
    bytesUsed: regions.reduce((a, b) => a + b, 0),
    regions: regions.map((bytes, i) => ({ key: 1_000 * node + i, bytes })),
  }));
}

/** What moves, until nothing does; what is used changes a little all the time. */
function play(nodes: BalancedNode[], rounds: number, noise = 0, seed = 1) {
  const prng = new Prng(seed);
  const moved: number[] = [];
  let isUnderWay = false;
  let state = nodes;
  for (let round = 0; round < rounds; round++) {
    const seen = state.map((node) => {
      return { ...node, bytesUsed: node.bytesUsed + (prng.fraction() - 0.5) * noise };
    });
    const answer = evenUsed({ nodes: seen, isUnderWay });
    isUnderWay = answer !== undefined;
    if (answer === undefined) continue;
    moved.push(answer.key);
    const region = state.flatMap(({ regions }) => regions).find(({ key }) => key === answer.key);
    if (region === undefined) throw new Error('no such region');
    state = state.map((node) => {
      if (node.node !== answer.from && node.node !== answer.to) return node;
      const others = node.regions.filter(({ key }) => key !== answer.key);
      const isSource = node.node === answer.from;
      const bytesUsed = node.bytesUsed + (isSource ? -region.bytes : region.bytes);
      return { ...node, regions: isSource ? others : [...others, region], bytesUsed };
    });
  }
  const shares = state.map((node) => usedShare(node));
  return { moved, spread: Math.max(...shares) - Math.min(...shares) };
}

test('names are checked, and the default does nothing', () => {
  expect(REBALANCING_POLICY_NAMES).toContain(REBALANCING_POLICY_DEFAULT);
  expect(rebalancingPolicy(REBALANCING_POLICY_DEFAULT)).toBeUndefined();
  expect(isRebalancingPolicyName('even-used')).toBe(true);
  expect(isRebalancingPolicyName('toString')).toBe(false);
});

test('many regions on one node spread over the others, each moved once at most', () => {
  const { moved, spread } = play(rack([Array<number>(40).fill(20), [], [], []]), 200);
  expect(spread).toBeLessThanOrEqual(GOES_ON_ABOVE);
  expect(new Set(moved).size).toBe(moved.length);
  expect(moved.length).toBeLessThanOrEqual(30);
});

test('on any rack it comes to an end, and nothing moves that is balanced', () => {
  const prng = new Prng(7);
  for (let seed = 0; seed < 200; seed++) {
    const lent = Array.from({ length: prng.between(1, 6) }, () => prng.between(500, 4_000));
    const sizes = lent.map((most) => {
      const regions = Array.from({ length: prng.between(0, 12) }, () => prng.between(1, 200));
      return regions.filter((_, i) => regions.slice(0, i + 1).reduce((a, b) => a + b) < most);
    });
    const nodes = rack(sizes, lent);
    const { moved } = play(nodes, 400);
    expect(moved.length).toBeLessThan(200);
    const shares = nodes.map((node) => usedShare(node));
    if (Math.max(...shares) - Math.min(...shares) <= BEGINS_ABOVE) expect(moved).toEqual([]);
  }
});

test('what changes a little all the time moves nothing for long', () => {
  const { moved } = play(rack([[200, 150, 100], [150, 150], [300]]), 1_000, 100);
  expect(moved).toEqual([]);
  const full = play(rack([Array<number>(16).fill(50), [], []]), 1_000, 60);
  expect(full.moved.length).toBeLessThanOrEqual(16);
});

test('one large region stays: elsewhere it would be as much in the way', () => {
  expect(play(rack([[800], []]), 100).moved).toEqual([]);
  // What is beside it goes.
  expect(play(rack([[700, 100], []]), 100).moved).toEqual([1]);
});
