/** The choice of addresses against a naive one, and how often full buckets hinder it. */
import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { bucketOf, ENTRIES_PER_BUCKET, pageWord, spaceWord } from '../../disk/page-table.js';
import { AddressChooser } from './address-chooser.js';

const PAGES = 64;
const MASK = 15;

/** The obvious one: every start is tried, every bucket counted anew. */
class Naive {
  readonly taken = new Set<number>();

  fits(first: number, count: number): boolean {
    const pages = Array.from({ length: count }, (_, i) => first + i);
    const isOneRegion = Math.floor(first / PAGES) === Math.floor((first + count - 1) / PAGES);
    if (!isOneRegion || pages.some((page) => this.taken.has(page))) return false;
    const counts = new Array<number>(MASK + 1).fill(0);
    for (const page of [...this.taken, ...pages]) {
      const bucket = bucketOf(pageWord(page), spaceWord(1, page), MASK);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    return counts.every((used) => used <= ENTRIES_PER_BUCKET);
  }

  fitsSomewhere(region: number, count: number): boolean {
    const starts = Array.from({ length: PAGES }, (_, i) => region * PAGES + i);
    return starts.some((first) => this.fits(first, count));
  }
}

test('finds a range exactly when there is one, meets wishes, and never overfills', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Prng(seed);
    const commitLimit = 150 + (random.u32() % 150);
    const chooser = new AddressChooser({ pagesPerRegion: PAGES, bucketMask: MASK, commitLimit });
    for (let region = 1; region <= 5; region++) chooser.addRegion(1, region);
    const naive = new Naive();
    const held: [first: number, count: number][] = [];
    for (let step = 0; step < 200; step++) {
      if (random.u32() % 4 === 0 && held.length > 0) {
        const [range] = held.splice(random.u32() % held.length, 1);
        const [first, count] = range ?? [0, 0];
        chooser.release(1, first, count);
        for (let page = first; page < first + count; page++) naive.taken.delete(page);
        continue;
      }
      const region = 1 + (random.u32() % 5);
      const count = 1 + (random.u32() % 12);
      const wish = random.u32() % 2 === 0 ? 0 : region * PAGES + (random.u32() % PAGES);
      const first = chooser.choose(1, region, count, wish);
      const label = `seed ${seed}, step ${step}`;
      const isRoom = naive.taken.size + count <= commitLimit;
      expect(first >= 0, label).toBe(isRoom && naive.fitsSomewhere(region, count));
      if (first < 0) continue;
      expect(naive.fits(first, count), label).toBe(true);
      if (wish !== 0 && naive.fits(wish, count)) expect(first, label).toBe(wish);
      for (let page = first; page < first + count; page++) naive.taken.add(page);
      held.push([first, count]);
      expect(chooser.committed).toBe(naive.taken.size);
    }
    chooser.dropRegion(1, 1);
    for (const page of naive.taken) if (page < 2 * PAGES) naive.taken.delete(page);
    expect(chooser.committed).toBe(naive.taken.size);
  }
});

/**
 * Clio, figure 4.13: retries per allocation as the physical memory fills up, with a page table of
 * twice the frames as there, and with four times as here.
 */
test.each([
  [2, 0.5, 0.1],
  [4, 0.9, 0.1],
])('a table of %i entries per frame hardly retries below a fill of %f', (factor, fill, limit) => {
  const frames = 16384;
  const bucketMask = (factor * frames) / ENTRIES_PER_BUCKET - 1;
  const commitLimit = 2 * frames;
  const chooser = new AddressChooser({ pagesPerRegion: 512, bucketMask, commitLimit });
  let retries = 0;
  let allocations = 0;
  for (let region = 1; chooser.committed < fill * frames; region++) {
    chooser.addRegion(1, region);
    while (chooser.choose(1, region, 8, 0) >= 0) {
      retries += chooser.retries;
      allocations += 1;
    }
    expect(chooser.committed).toBeGreaterThan(0);
  }
  expect(retries / allocations).toBeLessThan(limit);
});

test('a table that is nearly full retries more, and then says that there is no room', () => {
  const bucketMask = 63;
  const entries = (bucketMask + 1) * ENTRIES_PER_BUCKET;
  const chooser = new AddressChooser({ pagesPerRegion: 4096, bucketMask, commitLimit: entries });
  chooser.addRegion(1, 1);
  let retries = 0;
  while (chooser.choose(1, 1, 4, 0) >= 0) retries += chooser.retries;
  expect(retries).toBeGreaterThan(10);
  expect(chooser.committed).toBeGreaterThan(0.8 * entries);
  expect(chooser.choose(1, 1, 1, 0) >= 0 || chooser.retries > 0).toBe(true);
});
