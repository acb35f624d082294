import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import type { Candidate } from './candidate.js';
import { isNearEnough } from './near.js';
import {
  isPlacementPolicyName,
  PLACEMENT_POLICY_DEFAULT,
  PLACEMENT_POLICY_NAMES,
  placementPolicy,
  type PlacementPolicyName,
} from './placement-policies.js';

const REGION = 1024;

function nodes(lent: readonly number[]): Candidate[] {
  return lent.map((bytesLent, i) => ({
    node: `n${i}`,
    bytesFree: bytesLent,
    bytesCommitted: 0,
    bytesPromised: 0,
    bytesLent,
    regions: 0,
  }));
}

/** Places `count` regions one after the other, the controller's accounting included. */
function place(name: PlacementPolicyName, lent: readonly number[], count: number, seed = 7) {
  const chance = new Prng(seed);
  const policy = placementPolicy(name);
  const candidates = nodes(lent);
  for (let turn = 0; turn < count; turn++) {
    const chosen = policy({ candidates, chance, turn });
    const before = candidates[chosen];
    if (before === undefined) throw new Error(`${name} chose ${chosen}`);
    candidates[chosen] = {
      ...before,
      bytesPromised: before.bytesPromised + REGION,
      regions: before.regions + 1,
    };
  }
  return candidates.map((candidate) => candidate.regions);
}

const spread = (counts: readonly number[]) => Math.max(...counts) - Math.min(...counts);

test('names are checked, and the default is one of them', () => {
  expect(PLACEMENT_POLICY_NAMES).toContain(PLACEMENT_POLICY_DEFAULT);
  expect(isPlacementPolicyName('best-free-of-two')).toBe(true);
  expect(isPlacementPolicyName('toString')).toBe(false);
  expect(isPlacementPolicyName('')).toBe(false);
});

test('every policy answers an index within bounds, for any number of nodes', () => {
  for (const name of PLACEMENT_POLICY_NAMES) {
    for (let count = 1; count <= 9; count++) {
      const counts = place(name, Array<number>(count).fill(100 * REGION), 50, count);
      expect(counts.reduce((a, b) => a + b)).toBe(50);
    }
  }
});

test('the same seed gives the same places', () => {
  for (const name of PLACEMENT_POLICY_NAMES) {
    expect(place(name, [9, 9, 9, 9], 40)).toEqual(place(name, [9, 9, 9, 9], 40));
  }
});

test('on equal nodes two choices keep the counts close, and closer than chance does', () => {
  const lent = Array<number>(32).fill(1000 * REGION);
  let two = 0;
  let six = 0;
  let chance = 0;
  for (let seed = 1; seed <= 10; seed++) {
    two += spread(place('best-free-of-two', lent, 3200, seed));
    six += spread(place('best-free-of-k', lent, 3200, seed));
    chance += spread(place('random', lent, 3200, seed));
  }
  expect(spread(place('round-robin', lent, 3200))).toBe(0);
  expect(six).toBeLessThanOrEqual(two);
  expect(two * 3).toBeLessThan(chance);
  expect(two / 10).toBeLessThan(8);
});

test('by free memory a larger node takes more until what is left is even', () => {
  const [large = 0, ...small] = place(
    'best-free-of-two',
    [40 * REGION, 10 * REGION, 10 * REGION],
    30,
  );
  expect(large).toBeGreaterThanOrEqual(15);
  expect(spread(small)).toBeLessThanOrEqual(5);
});

test('by load the used share becomes even', () => {
  const counts = place('least-loaded-of-two', [400 * REGION, 100 * REGION, 100 * REGION], 300);
  const shares = counts.map((count, i) => count / ([400, 100, 100][i] ?? 1));
  expect(Math.max(...shares) - Math.min(...shares)).toBeLessThan(0.2);
});

test('a wish for a node counts while a quarter of it is left, whatever else it is near to', () => {
  const [node] = nodes([64 * REGION]);
  if (node === undefined) throw new Error('no node');
  const isNear = (facts: Partial<Candidate>) => isNearEnough({ ...node, ...facts }, REGION);
  expect(isNear({})).toBe(true);
  expect(isNear({ bytesFree: 16 * REGION + 1 })).toBe(true);
  expect(isNear({ bytesFree: 16 * REGION })).toBe(false);
  // Allocated and not used yet, or granted since the last heartbeat.
  expect(isNear({ bytesCommitted: 48 * REGION })).toBe(false);
  expect(isNear({ bytesCommitted: 47 * REGION })).toBe(true);
  expect(isNear({ bytesCommitted: 47 * REGION, bytesPromised: 2 * REGION })).toBe(false);
  // A node smaller than a region is not full by one.
  const small = { bytesLent: REGION / 4, bytesFree: REGION / 4 };
  expect(isNear({ ...small, bytesPromised: REGION })).toBe(true);
  expect(isNear({ ...small, bytesPromised: 12 * REGION })).toBe(false);
});
