import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import { EntryFlag, PageTable, spaceWord } from '../../disk/page-table.js';
import { RegionTable } from '../../disk/region-table.js';
import { ADDRESS_END, REGION_BYTES } from '../../wire/limits.js';
import { Translator } from './translator.js';
import { Windows } from './windows.js';

const CLIENT = 2 ** 53 - 1;
const RW = EntryFlag.READ | EntryFlag.WRITE;

function make(pageBytes: number, space: number) {
  const pages = new PageTable(new Int32Array(4096 * 4), 0, 4096);
  const regions = new RegionTable(new Int32Array(4096 * 4), 0, 4096);
  const windows = new Windows(3);
  const window = windows.openFor(CLIENT, space, spaceWord(space, 0), RW);
  const epoch = windows.epochOf(window);
  const translator = new Translator(pages, windows, regions, pageBytes);
  const look = (address: number, bytes = 1, needed: number = EntryFlag.READ) =>
    translator.entryOf(
      window,
      CLIENT,
      epoch,
      (address % 2 ** 32) | 0,
      Math.floor(address / 2 ** 32),
      bytes,
      needed,
    );
  return { pages, regions, windows, translator, look };
}

test('every address of 53 bits is translated as whole numbers would be, at every page size', () => {
  for (let shift = 16; shift <= 30; shift++) {
    const pageBytes = 2 ** shift;
    const space = 2 ** 27 - 1 - shift;
    const { pages, translator, look, regions } = make(pageBytes, space);
    const random = new Prng(shift);
    for (let i = 0; i < 200; i++) {
      const any = random.u53() % (i % 2 === 0 ? ADDRESS_END : 2 ** 33);
      const address = i === 0 ? ADDRESS_END - 1 : any;
      const page = Math.floor(address / pageBytes);
      expect(translator.offsetInPage((address % 2 ** 32) | 0)).toBe(address % pageBytes);
      if (pages.find(space, page) >= 0) continue;
      const region = Math.floor(address / REGION_BYTES);
      if (!regions.holds(space, region)) expect(look(address)).toBe(-Status.NotFound);
      regions.put({ space, region, epoch: 1 });
      expect(look(address)).toBe(-Status.NotAllocated);
      const entry = pages.insert(space, page, RW);
      expect(look(address)).toBe(entry);
      const left = pageBytes - (address % pageBytes);
      expect([look(address, left), look(address, left + 1)]).toEqual([entry, -Status.Invalid]);
      expect([look(address, 0), look(address, 2 ** 32 - 1)]).toEqual([-14, -14]);
    }
  }
});

test('what a window and a page both allow is allowed', () => {
  const { pages, regions, windows, translator } = make(65536, 1);
  regions.put({ space: 1, region: 1, epoch: 1 });
  const page = 16384;
  const entry = pages.insert(1, page, 0);
  for (const ofWindow of [0, 2, 4, 6]) {
    const window = windows.openFor(5, 1, spaceWord(1, 0), ofWindow);
    for (const ofPage of [0, 2, 4, 6]) {
      pages.setFlags(entry, ofPage | EntryFlag.VALID);
      for (const needed of [2, 4, 6]) {
        const isAllowed = (ofWindow & ofPage & needed) === needed;
        const seen = translator.entryOf(
          window,
          5,
          windows.epochOf(window),
          page * 65536,
          0,
          8,
          needed,
        );
        expect(seen).toBe(isAllowed ? entry : -Status.Denied);
      }
    }
  }
});

test('windows: one per space and rights, limited, closed with their client or space', () => {
  const windows = new Windows(1, 3);
  const open = (client: number, space: number, rights = RW): number =>
    windows.openFor(client, space, spaceWord(space, 0), rights);
  expect([open(1, 1), open(1, 1), open(1, 1, 2), open(2, 1)]).toEqual([0, 0, 1, 2]);
  expect(open(2, 2)).toBe(-1);
  expect(windows.close(2, 0)).toBe(false);
  expect(windows.close(0, 7)).toBe(false);
  windows.closeClient(1);
  expect([windows.open, windows.clients[0], windows.clients[1]]).toEqual([1, 0, 0]);
  expect([open(3, 1), open(3, 2)]).toEqual([0, 1]);
  windows.closeSpace(1);
  expect(windows.open).toBe(1);
  expect(windows.clients[1]).toBe(3);
});

test('no opening of a number is taken for another one', () => {
  const { pages, regions, windows, translator } = make(65536, 9);
  regions.put({ space: 1, region: 1, epoch: 1 });
  regions.put({ space: 2, region: 1, epoch: 1 });
  const page = 16384;
  pages.insert(1, page, RW);
  const second = pages.insert(2, page, RW);
  const small = new Windows(3, 1);
  const look = (window: number, epoch: number) =>
    new Translator(pages, small, regions, 65536).entryOf(window, 5, epoch, 2 ** 30, 0, 8, RW);
  const first = small.openFor(5, 1, spaceWord(1, 0), RW);
  const before = small.epochOf(first);
  // The client was forgotten, and came back with another space first.
  small.closeClient(5);
  expect(small.openFor(5, 2, spaceWord(2, 0), RW)).toBe(first);
  expect(look(first, before)).toBe(-Status.Stale);
  expect(look(first, small.epochOf(first))).toBe(second);
  expect([translator.checkWindow(0, CLIENT, windows.epochOf(0)), windows.open]).toEqual([0, 1]);
});

test('a thousand lives of a node have no epoch in common for a million openings each', () => {
  const first = Array.from({ length: 1000 }, (_, life) => {
    const windows = new Windows(life + 1, 1);
    return windows.epochOf(windows.openFor(1, 1, spaceWord(1, 0), RW));
  }).sort((a, b) => a - b);
  const gaps = first.map((epoch, i) => (first[i + 1] ?? (first[0] ?? 0) + 2 ** 32) - epoch);
  expect(Math.min(...gaps)).toBeGreaterThan(1e6);
});
