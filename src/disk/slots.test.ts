import { expect, test } from 'vitest';
import { hasPassed, nextGeneration, SLOTS_MAX, SlotOwners } from './slots.js';
import { copyOf, Death, dyingAfter, freshTable, openTable } from './testing/mapping.js';

const OWNER = { client: 2 ** 52 + 1, token: 2 ** 50 + 3, identity: 'boot/4026531836/17/12345' };

test('owners are found again by the next process', () => {
  const { mapping, table } = freshTable();
  expect([table.owners.firstFree(), table.owners.taken()]).toEqual([0, []]);
  table.owners.take(0, OWNER);
  table.owners.take(5, { ...OWNER, token: 1, identity: 'x'.repeat(200) });
  const { owners } = openTable(copyOf(mapping));
  expect([owners.taken(), owners.firstFree()]).toEqual([[0, 5], 1]);
  expect(owners.owner(0)).toEqual(OWNER);
  expect(owners.owner(5)?.identity).toHaveLength(200);
  owners.free(0);
  expect([owners.owner(0), owners.taken(), owners.firstFree()]).toEqual([undefined, [5], 0]);
});

test('a process that dies while it gives a slot has given it, or not', () => {
  for (let stores = 0; ; stores++) {
    const { mapping } = freshTable();
    try {
      openTable(mapping, dyingAfter(stores)).owners.take(3, OWNER);
      expect(stores).toBeGreaterThan(3);
      return;
    } catch (error) {
      if (!(error instanceof Death)) throw error;
    }
    expect(openTable(mapping).owners.owner(3)).toBeUndefined();
  }
});

test('all slots can be taken, and no one twice', () => {
  const owners = new SlotOwners(new Int32Array(SLOTS_MAX * 64), 0);
  for (let slot = 0; slot < SLOTS_MAX; slot++) owners.take(owners.firstFree(), OWNER);
  expect([owners.firstFree(), owners.taken().length]).toEqual([-1, SLOTS_MAX]);
  expect(() => owners.take(7, OWNER)).toThrow('two threads');
});

test('a step has passed when it is over, or began in the generations asked for', () => {
  const last = -1;
  const first = nextGeneration(last);
  expect(first).toBe(1);
  // Raised twice, over the end of the numbers.
  const current = nextGeneration(first);
  const seen = [0, last - 1, last, first, current, current + 1, current + 2 ** 31];
  const passed = seen.map((generation) => hasPassed(generation, last, current));
  expect(passed).toEqual([true, false, true, true, true, false, false]);
});
