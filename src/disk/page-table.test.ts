import { expect, test } from 'vitest';
import type { FrameIndex } from '../base/brands.js';
import { Prng } from '../base/prng.js';
import { bucketOf, ENTRIES_PER_BUCKET, EntryFlag, PageTable, pageWord } from './page-table.js';
import { spaceWord } from './page-table.js';

const frameOf = (index: number) => index as FrameIndex;

const tableOf = (entries: number) => new PageTable(new Int32Array(entries * 4), 0, entries);

test('an entry is found until it is removed, and gets its frame', () => {
  const table = tableOf(64);
  expect(table.find(3, 77)).toBe(-1);
  const entry = table.insert(3, 77, EntryFlag.READ);
  expect(table.find(3, 77)).toBe(entry);
  expect(table.find(2, 77)).toBe(-1);
  expect(table.frameOf(entry)).toBe(-1);
  table.setFrame(entry, frameOf(0));
  expect(table.frameOf(entry)).toBe(0);
  expect(table.flagsOf(entry)).toBe(EntryFlag.READ | EntryFlag.VALID);
  table.remove(entry);
  expect(table.find(3, 77)).toBe(-1);
});

test('the largest page, space and frame survive', () => {
  const table = tableOf(16);
  const entry = table.insert(2 ** 27 - 1, 2 ** 37 - 1, 0);
  table.setFrame(entry, frameOf(2 ** 23 - 1));
  expect([table.spaceOf(entry), table.pageOf(entry)]).toEqual([2 ** 27 - 1, 2 ** 37 - 1]);
  expect(table.frameOf(entry)).toBe(2 ** 23 - 1);
  expect(table.find(2 ** 27 - 1, 2 ** 37 - 1)).toBe(entry);
});

test('no frame is ever seen in an entry of another page, nor zeros in place of it', () => {
  const seen: string[] = [];
  const words = new Int32Array(64 * 4);
  const table: PageTable = new PageTable(words, 0, 64, (of, at, value) => {
    Atomics.store(of, at, value);
    const [page, , frame, flags] = words.subarray(entry, entry + 4);
    const state = flags === 0 ? 'empty' : (flags as number) < 0 ? 'paused' : 'there';
    seen.push(`${page} ${frame} ${state}`);
  });
  let entry = 0;
  entry = table.insert(1, 77, EntryFlag.READ);
  table.setFrame(entry, frameOf(4));
  seen.length = 0;
  table.remove(entry);
  expect(seen).toEqual(['77 5 paused', '77 0 paused', '77 0 empty']);
});

test('a page inserted again starts without the frame of its former life', () => {
  const table = tableOf(16);
  const entry = table.insert(1, 1, 0);
  table.setFrame(entry, frameOf(5));
  table.remove(entry);
  expect(table.frameOf(table.insert(1, 1, 0))).toBe(-1);
});

test('our own bugs are caught: a page twice, a bucket too full', () => {
  const table = tableOf(16);
  table.insert(1, 1, 0);
  expect(() => table.insert(1, 1, 0)).toThrow('already');
  for (let page = 2; page <= ENTRIES_PER_BUCKET; page++) table.insert(1, page, 0);
  expect(() => table.insert(1, 100, 0)).toThrow('overflows');
});

/** Buckets of a good hash fill like balls thrown at random: mean equals variance. */
test.each([
  ['one run of pages', (i: number) => [1, 512 + i] as const],
  ['every 512th page', (i: number) => [1, 512 * i] as const],
  ['the same pages of many spaces', (i: number) => [1 + (i >> 4), 16384 + (i & 15)] as const],
  ['pages with high bits', (i: number) => [7, 2 ** 36 + i * 2 ** 20] as const],
])('the hash spreads %s', (_, keyOf) => {
  const buckets = 4096;
  const counts = new Int32Array(buckets);
  for (let i = 0; i < buckets * 4; i++) {
    const [space, page] = keyOf(i);
    const bucket = bucketOf(pageWord(page), spaceWord(space, page), buckets - 1);
    counts[bucket] = (counts[bucket] as number) + 1;
  }
  let variance = 0;
  for (const count of counts) variance += (count - 4) ** 2 / buckets;
  expect(variance).toBeGreaterThan(3.4);
  expect(variance).toBeLessThan(4.6);
});

test('random changes agree with a Map', () => {
  for (let seed = 1; seed <= 8; seed++) {
    const random = new Prng(seed);
    const table = tableOf(256);
    const model = new Map<string, { frame: number; flags: number }>();
    const counts = new Uint8Array(16);
    for (let step = 0; step < 2000; step++) {
      const [space, page] = [random.u32() % 3, (random.u32() % 40) + 2 ** 32 - 20];
      const known = model.get(`${space}/${page}`);
      const entry = table.find(space, page);
      expect(entry >= 0, `seed ${seed}`).toBe(known !== undefined);
      const bucket = bucketOf(pageWord(page), spaceWord(space, page), 15);
      if (known === undefined) {
        if (counts[bucket] === ENTRIES_PER_BUCKET) continue;
        table.insert(space, page, step & 6);
        model.set(`${space}/${page}`, { frame: -1, flags: (step & 6) | 1 });
        counts[bucket] = (counts[bucket] as number) + 1;
        continue;
      }
      expect([table.frameOf(entry), table.flagsOf(entry)]).toEqual([known.frame, known.flags]);
      if (random.u32() % 2 === 0) {
        table.setFrame(entry, frameOf(step));
        known.frame = step;
      } else {
        table.remove(entry);
        model.delete(`${space}/${page}`);
        counts[bucket] = (counts[bucket] as number) - 1;
      }
    }
    let seen = 0;
    for (let at = table.next(0); at >= 0; at = table.next(at + 4)) {
      expect(model.has(`${table.spaceOf(at)}/${table.pageOf(at)}`)).toBe(true);
      seen += 1;
    }
    expect(seen).toBe(model.size);
  }
});
