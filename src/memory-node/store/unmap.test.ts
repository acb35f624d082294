import { afterEach, expect, test } from 'vitest';
import type { FrameIndex } from '../../base/brands.js';
import { RIGHTS_MASK } from '../../disk/page-table.js';
import { type StoreWord, storeWord } from '../../disk/layout.js';
import { allocatePages } from '../../disk/table-changes.js';
import { FACTS, freshTable } from '../../disk/testing/mapping.js';
import type { RingConsumer, RingProducer } from '../../runtime/threads.js';
import { memoryNodeFaults } from '../planted.js';
import { FakeSlots } from '../testing/fake-slots.js';
import { type NodeFiles, runStep, type Step } from '../testing/one-sided-thread.js';
import { FramePool } from './frame-pool.js';
import { unmapPages } from './unmap.js';

const SPACE = 7;
const PAGE = 16;
const range = { space: SPACE, firstPage: PAGE, pages: 1 };

afterEach(() => {
  memoryNodeFaults.slotsReadBeforeUnmapping = false;
});

/** A node with one page in frame 3, whose stores may be preceded by something. */
function makeNode() {
  const hook = { before: (): void => {} };
  const store: StoreWord = (words, at, value) => {
    hook.before();
    storeWord(words, at, value);
  };
  const { table, mapping } = freshTable(FACTS, store);
  const fake = new FakeSlots({}, table);
  const retired: number[] = [];
  const ring = { submit: (record: Int32Array) => retired.push(record[0] as number) > 0 };
  const pool = new FramePool({
    frames: FACTS.frames,
    mapped: 1,
    resting: [],
    rest: (frames, done) => fake.quiescence.rest(frames, done),
    zeroed: {} as RingConsumer,
    retired: ring as unknown as RingProducer,
    refillBelow: 0,
    refill: () => {},
  });
  table.regions.put({ space: SPACE, region: 1, epoch: 1 });
  allocatePages(table, range, RIGHTS_MASK, 0);
  table.pages.setFrame(table.pages.find(SPACE, PAGE), 3 as FrameIndex);
  table.windows.open(0, 9, { spaceWord: 0, rights: RIGHTS_MASK, base: 0, end: 2 ** 40 });
  table.alive = 1;
  return { hook, table, mapping, fake, pool, retired };
}

/** The thread runs to its copy before the n-th store of the unmapping. True: it can touch a frame
 * that was let go of. */
function isTouchedAt(store: number): boolean {
  const { hook, table, mapping, fake, pool, retired } = makeNode();
  const slot = fake.attach('a');
  const touched: number[] = [];
  let isCertain = false;
  const begins = (): void => {
    isCertain = true;
  };
  const access = { page: PAGE, kind: 'read' as const, at: [0], begins, found: [] };
  const step: Step = { accesses: [access], made: 0, isVerified: undefined };
  const files: NodeFiles = {
    words: mapping.words,
    pages: table.pages,
    windows: table.windows,
    slots: fake.words,
    frame: (frame) => {
      touched.push(frame);
      return new BigUint64Array(1);
    },
  };
  const window = { window: 0, epoch: 9, space: SPACE, rights: RIGHTS_MASK };
  const run = runStep({ files, slot, incarnation: 1, window, stores: () => {} }, step);
  let left = store;
  hook.before = () => {
    left -= 1;
    if (left !== 0) return;
    while (!isCertain && run.next().done !== true);
    // The window, `alive`, and the frame is looked up.
    run.next();
    run.next();
  };
  unmapPages(table, range, pool);
  hook.before = () => {};
  const isBad = touched.some((frame) => retired.includes(frame));
  while (run.next().done !== true);
  fake.time.pass(500);
  expect(retired).toEqual([3]);
  return isBad;
}

test('wherever a thread comes in between, its frame is not let go of under it', () => {
  const all = Array.from({ length: 20 }, (_, i) => i + 1);
  expect(all.filter(isTouchedAt)).toEqual([]);
  memoryNodeFaults.slotsReadBeforeUnmapping = true;
  expect(all.filter(isTouchedAt)).not.toEqual([]);
});

test('frames of free pages come back when they may, and the counts are right meanwhile', () => {
  const { table, fake, pool, retired } = makeNode();
  const slot = fake.attach('a');
  fake.begin(slot);
  fake.publish(slot, 3);
  expect([unmapPages(table, range, pool), unmapPages(table, range, pool)]).toEqual([1, 0]);
  expect([pool.mapped, pool.resting, pool.free, retired]).toEqual([0, 1, FACTS.frames - 1, []]);
  expect(pool.promise(1, 1, FACTS.frames)).toBe(false);
  fake.end(slot);
  fake.time.pass(500);
  expect([pool.mapped, pool.resting, pool.free, retired]).toEqual([0, 0, FACTS.frames, [3]]);
});

test('frames that rest from the start are neither used nor free', () => {
  const { fake } = makeNode();
  const slot = fake.attach('a');
  fake.begin(slot);
  fake.publish(slot, 2);
  const retired: number[] = [];
  const pool = new FramePool({
    frames: 4,
    mapped: 1,
    resting: [2 as FrameIndex],
    rest: (frames, done) => fake.quiescence.rest(frames, done),
    zeroed: {} as RingConsumer,
    retired: { submit: (r: Int32Array) => retired.push(r[0] as number) > 0 } as RingProducer,
    refillBelow: 0,
    refill: () => retired.push(-1),
  });
  expect([pool.free, pool.resting]).toEqual([2, 1]);
  fake.end(slot);
  fake.time.pass(500);
  // The slow path is told, for nobody else will.
  expect([pool.free, pool.resting, retired]).toEqual([3, 0, [2, -1]]);
});
