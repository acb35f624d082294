import { describe, expect, it } from 'vitest';
import { checkAll } from './checkers/all.js';
import { type ToyBug, ToyRack } from './testing/toy-rack.js';
import { WORKLOADS } from './workloads/all.js';

async function play(seed: number, bug: ToyBug, workload: (typeof WORKLOADS)[number]) {
  const rack = new ToyRack(seed, bug, 60);
  await rack.run(workload, 3);
  // The last look, which judges the counters.
  for (const allocation of rack.journal.allocations) {
    if (allocation.freeCalledAt !== Infinity) continue;
    const space = rack.observed(allocation.space, 0);
    for (const place of allocation.words.keys()) await readNow(rack, space, allocation, place);
  }
  checkAll(rack.journal, []);
  return rack.journal;
}

async function readNow(
  rack: ToyRack,
  space: ReturnType<ToyRack['observed']>,
  ...[allocation, place]: Parameters<ReturnType<ToyRack['observed']>['readWord']>
): Promise<void> {
  const idle = { name: 'read', steps: 0, about: '', frames: [1, 1], blows: {} };
  const run = async (): Promise<void> => void (await space.readWord(allocation, place));
  await rack.run({ ...idle, run } as never, 1);
}

/** The toy has no directory, no leases, no locks, no disks and no block devices. */
const NOT_IN_TOY = [
  'directory',
  'full-disks',
  'leases',
  'one-sided-leases',
  'kept-leases',
  'kept-datagram-leases',
  'locks',
  'one-sided-locks',
  'datagram-locks',
  'persistent',
  'one-sided-persistent',
  'durable-moves',
  'devices',
  'kept-devices',
  'near-devices',
  'resized-devices',
];
const NAMES = WORKLOADS.map((one) => one.name).filter((name) => !NOT_IN_TOY.includes(name));

describe('the workloads on a toy rack', () => {
  it.each(NAMES)('%s finds nothing wrong', async (name) => {
    const workload = WORKLOADS.find((one) => one.name === name) as (typeof WORKLOADS)[number];
    for (let seed = 1; seed <= 3; seed++) {
      const journal = await play(seed, 'none', workload);
      expect(journal.violations).toEqual([]);
      expect(journal.operations).toBeGreaterThan(700);
    }
  });

  const bugs: [ToyBug, string][] = [
    ['zeroing-skipped', 'alloc-free'],
    ['addition-doubled', 'registers'],
    ['write-lost', 'registers'],
    ['refused-but-applied', 'large'],
    ['given-twice', 'alloc-free'],
    ['late-write', 'registers'],
    ['wrong-place', 'alloc-free'],
  ];
  it.each(bugs)('%s is found', async (bug, name) => {
    const workload = WORKLOADS.find((one) => one.name === name) as (typeof WORKLOADS)[number];
    const rules = new Set<string>();
    for (let seed = 1; seed <= 15 && rules.size === 0; seed++) {
      for (const { rule } of (await play(seed, bug, workload)).violations) rules.add(rule);
    }
    expect([...rules]).not.toEqual([]);
    console.log(`${bug}: ${[...rules].join(', ')}`);
  });
});
