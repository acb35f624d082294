import { expect, test } from 'vitest';
import { ENTRY_WORDS } from '../../disk/page-table.js';
import { SLOT_DONE, SLOT_ENTRY, slotWord } from '../../disk/slots.js';
import type { RegionRatesParts } from './region-rates.js';
import { RegionRates } from './region-rates.js';

const SPACE = 7;
const PAGES = 16;

/** Entry n is page n of the space; a region has 16 of them. */
function rig(taken: readonly number[] = []) {
  const words = new Int32Array(64);
  const held = { regions: 4 };
  const table = {
    pagesPerRegion: PAGES,
    pages: {
      entries: 256,
      spaceOf: () => SPACE,
      pageOf: (entry: number) => entry / ENTRY_WORDS,
    },
    regions: { holds: (_space: number, region: number) => region < held.regions },
  } as unknown as RegionRatesParts['table'];
  return { rates: new RegionRates({ table, slots: { words, taken } }, 0), words, held };
}

const entry = (region: number): number => region * PAGES * ENTRY_WORDS;

test('samples stand for all: rates are about those of the accesses, in a mean', () => {
  const { rates } = rig();
  for (let second = 1; second <= 60; second++) {
    for (let i = 0; i < 4_000; i++) rates.used(entry(i % 4 === 0 ? 1 : 2));
    rates.look(second * 1_000);
  }
  expect(rates.rateOf(SPACE, 1)).toBeGreaterThan(800);
  expect(rates.rateOf(SPACE, 1)).toBeLessThan(1_200);
  expect(rates.rateOf(SPACE, 2)).toBeGreaterThan(2_700);
  expect(rates.rateOf(SPACE, 2)).toBeLessThan(3_300);
  expect(rates.rateOf(SPACE, 3)).toBe(0);
});

test('forgets with time, however often it looks, and what is not held any more at once', () => {
  const often = rig();
  const seldom = rig();
  for (const { rates } of [often, seldom]) {
    for (let i = 0; i < 10_000; i++) rates.used(entry(1));
    rates.look(1_000);
  }
  for (let at = 1_100; at <= 31_000; at += 100) often.rates.look(at);
  seldom.rates.look(31_000);
  const before = 10_000 / 11;
  for (const { rates } of [often, seldom]) {
    expect(rates.rateOf(SPACE, 1)).toBeLessThan(before / 3);
    expect(rates.rateOf(SPACE, 1)).toBeGreaterThan(before / 40);
  }
  often.held.regions = 0;
  often.rates.look(31_100);
  expect(often.rates.rateOf(SPACE, 1)).toBe(0);
});

test('threads count for themselves; nonsense in a slot is nothing, or no more than much', () => {
  const { rates, words } = rig([0, 1]);
  const say = (slot: number, entryNumber: number, done: number): void => {
    words[slotWord(slot) + SLOT_ENTRY] = entryNumber + 1;
    words[slotWord(slot) + SLOT_DONE] = done;
  };
  say(0, PAGES, -5);
  rates.look(1_000);
  expect(rates.rateOf(SPACE, 1)).toBe(0);
  say(0, PAGES, 1_000_000 - 5);
  for (const wild of [-7, 256, 2 ** 31 - 2]) say(1, wild, 2 ** 30);
  rates.look(2_000);
  expect(rates.rateOf(SPACE, 1)).toBeCloseTo(1_000_000 / 11, 0);
  say(1, 2 * PAGES, 5);
  rates.look(3_000);
  expect(Number.isFinite(rates.rateOf(SPACE, 2))).toBe(true);
});
