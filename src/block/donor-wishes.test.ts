import { afterEach, expect, test } from 'vitest';
import { DonorWishes, WISH_MS } from './donor-wishes.js';
import { blockFaults } from './planted.js';
import type { CopyUse, DonorWish, SlabNode, UseTold } from './ports.js';

const NOTHING: DonorWish = { round: 0, isShort: false, asked: [], going: [] };

class Rig {
  nowMs = 0;
  /** What the node answers, one after the other; then that it wants nothing. */
  readonly answers: (DonorWish | undefined)[] = [];
  readonly told: UseTold[] = [];
  readonly short: string[] = [];
  readonly copies = new Map<number, CopyUse>();
  used = new Set(['n1']);
  node: SlabNode = {
    ...{ id: 'n1', memoryId: 1, machine: 'm', isServing: true, isLeaving: false },
    ...{ bytesLent: 160, bytesFree: 5, bytesCommitted: 0 },
  };
  readonly wishes = new DonorWishes({
    clock: { now: () => this.nowMs },
    rack: {
      tellUse: (_node, _memoryId, told) => {
        this.told.push(told);
        return Promise.resolve(this.answers.length > 0 ? this.answers.shift() : NOTHING);
      },
    },
    copiesAt: () => this.copies,
    isShort: (node) => this.short.push(node),
  });

  constructor() {
    for (const copy of [1, 2, 3]) {
      this.copies.set(copy, { copy, activity: 10 * copy, isGoing: copy === 3 });
    }
  }

  async look(ms = 1_000): Promise<void> {
    this.nowMs += ms;
    this.wishes.look([this.node], this.used);
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }
}

afterEach(() => {
  blockFaults.wishKept = false;
});

test('a node with room is not called, nor one without copies of the device', async () => {
  const rig = new Rig();
  rig.node = { ...rig.node, bytesFree: 80 };
  await rig.look();
  rig.node = { ...rig.node, bytesFree: 0 };
  rig.used = new Set(['n2']);
  await rig.look();
  expect(rig.told).toEqual([]);
});

test('what is asked is answered at once, in its round, of copies that there are', async () => {
  const rig = new Rig();
  rig.answers.push({ round: 7, isShort: true, asked: [2, 1, 99], going: [3] });
  await rig.look();
  const slabs = [2, 1, 3].map((copy) => rig.copies.get(copy));
  expect(rig.told).toEqual([
    { round: 0, slabs: [] },
    { round: 7, slabs },
  ]);
  expect(rig.short).toEqual(['n1']);
  expect([1, 2, 3].map((copy) => rig.wishes.isToGo(copy))).toEqual([false, false, true]);
});

test('as long as it says that it is short it is called, whatever the controller says', async () => {
  const rig = new Rig();
  rig.answers.push({ ...NOTHING, isShort: true });
  await rig.look();
  rig.node = { ...rig.node, bytesFree: 160 };
  await rig.look();
  expect(rig.told).toHaveLength(2);
  await rig.look();
  expect(rig.told).toHaveLength(2);
});

/** A node that wanted a copy back, and has enough memory again. */
async function wishOfThePast(): Promise<boolean> {
  const rig = new Rig();
  rig.answers.push({ ...NOTHING, isShort: true, going: [1] });
  await rig.look();
  expect(rig.wishes.isToGo(1)).toBe(true);
  for (let ms = 0; ms < WISH_MS; ms += 1_000) await rig.look();
  return rig.wishes.isToGo(1);
}

test('a wish that is not told again is forgotten', async () => {
  expect(await wishOfThePast()).toBe(false);
});

test('that it is kept is seen', async () => {
  blockFaults.wishKept = true;
  expect(await wishOfThePast()).toBe(true);
});

test('calls that are lost forget nothing at once, and one is under way at a time', async () => {
  const rig = new Rig();
  rig.answers.push({ ...NOTHING, isShort: true, going: [1] }, undefined, undefined);
  await rig.look();
  await rig.look();
  await rig.look();
  expect(rig.wishes.isToGo(1)).toBe(true);
  expect(rig.told).toHaveLength(3);
  const slow = new Rig();
  slow.wishes.look([slow.node], slow.used);
  slow.wishes.look([slow.node], slow.used);
  expect(slow.told).toHaveLength(1);
  await slow.look();
});
