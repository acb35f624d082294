import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import { EntryFlag, PageTable } from '../../disk/page-table.js';
import { RegionTable } from '../../disk/region-table.js';
import { WINDOW_RECORD_WORDS, WindowTable } from '../../disk/window-table.js';
import { ADDRESS_END, REGION_BYTES } from '../../wire/limits.js';
import { ENTRY_PAUSED, Translator } from './translator.js';
import { NO_PARENT } from './window-tree.js';
import { Windows } from './windows.js';

const CLIENT = 2 ** 53 - 1;
const RW = EntryFlag.READ | EntryFlag.WRITE;

function windowsOf(incarnation: number, entries = 64, random = new Prng(incarnation)) {
  const words = new Int32Array(entries * WINDOW_RECORD_WORDS);
  const table = new WindowTable(words, 0, entries);
  const entropy = {
    u32: () => random.u32(),
    u53: () => random.u53(),
    fraction: () => random.u32() / 2 ** 32,
  };
  return new Windows({ table, incarnation, entropy });
}

function make(pageBytes: number, space: number) {
  const pages = new PageTable(new Int32Array(4096 * 4), 0, 4096);
  const regions = new RegionTable(new Int32Array(4096 * 4), 0, 4096);
  const windows = windowsOf(3);
  const window = windows.openFor(CLIENT, space, RW);
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

test('nobody knows here what is not in a region that is being handed over', () => {
  const { pages, regions, look } = make(65536, 1);
  regions.put({ space: 1, region: 1, epoch: 1 });
  const entry = pages.insert(1, 16384, RW);
  const [known, other] = [2 ** 30, 2 ** 30 + 65536];
  regions.setHanding(1, 1, true);
  // Its target may have it by then, and allocate there.
  expect([look(known), look(other)]).toEqual([entry, -Status.Unavailable]);
  regions.setHanding(1, 1, false);
  expect([look(known), look(other)]).toEqual([entry, -Status.NotAllocated]);
});

test('what a window and a page both allow is allowed', () => {
  const { pages, regions, windows, translator } = make(65536, 1);
  regions.put({ space: 1, region: 1, epoch: 1 });
  const page = 16384;
  const entry = pages.insert(1, page, 0);
  for (const ofWindow of [0, 2, 4, 6]) {
    const window = windows.openFor(5, 1, ofWindow);
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
  const windows = windowsOf(1, 3);
  const open = (client: number, space: number, rights = RW): number =>
    windows.openFor(client, space, rights);
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

test('a window for all is one for all clients, and goes with its space alone', () => {
  const { pages, regions, windows, translator } = make(65536, 9);
  regions.put({ space: 1, region: 1, epoch: 1 });
  const entry = pages.insert(1, 16384, RW);
  const window = windows.openForAll(1, RW);
  const epoch = windows.epochOf(window);
  const look = (client: number, needed: number) =>
    translator.entryOf(window, client, epoch, 2 ** 30, 0, 8, needed);
  for (let i = 0; i < 1000; i++) expect(windows.openForAll(1, RW)).toBe(window);
  expect([windows.open, windows.shared]).toEqual([2, 0]);
  expect([look(5, RW), look(6, RW)]).toEqual([entry, entry]);
  // Another space, fewer rights: another window.
  const others = [windows.openForAll(2, RW), windows.openForAll(1, EntryFlag.READ)];
  expect(new Set([window, ...others]).size).toBe(3);
  windows.closeClient(5);
  const mayNot = [windows.close(5, window), windows.close(0, window), windows.mayRevoke(window, 5)];
  expect(mayNot).toEqual([false, false, false]);
  // What was cut from it is its own client's, and ends with it.
  const range = { space: 1, rights: RW, base: 2 ** 30, end: 2 ** 30 + 64 };
  const facts = { opener: 5, space: 1, isShared: false, lease: 0, leaseEpoch: 0 };
  const cut = windows.openRange(range, { ...facts, parent: window });
  expect([windows.mayRevoke(cut, 5), windows.mayRevoke(cut, 6)]).toEqual([true, false]);
  windows.closeSpace(1);
  expect([look(5, RW), windows.epochOf(cut), windows.open]).toEqual([-Status.Stale, 0, 2]);
  const again = windows.openForAll(1, RW);
  expect([windows.epochOf(again) === epoch, look(5, RW)]).toEqual([false, -Status.Stale]);
});

test('no opening of a number is taken for another one', () => {
  const { pages, regions, windows, translator } = make(65536, 9);
  regions.put({ space: 1, region: 1, epoch: 1 });
  regions.put({ space: 2, region: 1, epoch: 1 });
  const page = 16384;
  pages.insert(1, page, RW);
  const second = pages.insert(2, page, RW);
  const small = windowsOf(3, 1);
  const look = (window: number, epoch: number) =>
    new Translator(pages, small, regions, 65536).entryOf(window, 5, epoch, 2 ** 30, 0, 8, RW);
  const first = small.openFor(5, 1, RW);
  const before = small.epochOf(first);
  // The client was forgotten, and came back with another space first.
  small.closeClient(5);
  expect(small.openFor(5, 2, RW)).toBe(first);
  expect(look(first, before)).toBe(-Status.Stale);
  expect(look(first, small.epochOf(first))).toBe(second);
  expect([translator.checkWindow(0, CLIENT, windows.epochOf(0)), windows.open]).toEqual([0, 1]);
});

test('a thousand lives of a node have no epoch in common for a million openings each', () => {
  const first = Array.from({ length: 1000 }, (_, life) => {
    const windows = windowsOf(life + 1, 1);
    return windows.epochOf(windows.openFor(1, 1, RW));
  }).sort((a, b) => a - b);
  const gaps = first.map((epoch, i) => (first[i + 1] ?? (first[0] ?? 0) + 2 ** 32) - epoch);
  expect(Math.min(...gaps)).toBeGreaterThan(1e6);
});

const whole = { opener: 5, space: 1, isShared: false, parent: NO_PARENT, lease: 0, leaseEpoch: 0 };
const part = { space: 1, rights: RW, base: 2 ** 30 + 100, end: 2 ** 30 + 200 };

test('a window over a part of a space allows that part and nothing beside it', () => {
  const { pages, regions, windows, translator } = make(65536, 1);
  regions.put({ space: 1, region: 1, epoch: 1 });
  const entry = pages.insert(1, 16384, RW);
  const window = windows.openRange(part, whole);
  const look = (at: number, bytes: number, client = 5) =>
    translator.entryOf(window, client, windows.epochOf(window), 2 ** 30 + at, 0, bytes, RW);
  expect([look(100, 100), look(150, 8), look(199, 1)]).toEqual([entry, entry, entry]);
  for (const [at, bytes] of [
    [99, 8],
    [100, 101],
    [200, 1],
    [0, 8],
    [0, 65536],
  ] as const) {
    expect(look(at, bytes)).toBe(-Status.Denied);
  }
  expect(look(150, 8, 6)).toBe(-Status.Stale);
  pages.setFlags(entry, pages.flagsOf(entry) | EntryFlag.PAUSED);
  expect([look(150, 8), look(99, 8)]).toEqual([ENTRY_PAUSED, -Status.Denied]);
});

test('a shared window is good for whoever names it and its epoch, and outlives its client', () => {
  const { pages, regions, windows, translator } = make(65536, 1);
  regions.put({ space: 1, region: 1, epoch: 1 });
  const entry = pages.insert(1, 16384, RW);
  const window = windows.openRange(part, { ...whole, isShared: true });
  const epoch = windows.epochOf(window);
  const look = (named: number) => translator.entryOf(window, 77, named, 2 ** 30 + 100, 0, 8, RW);
  expect([look(epoch), look(epoch + 1), look(0)]).toEqual([entry, -Status.Stale, -Status.Stale]);
  windows.closeClient(5);
  expect([look(epoch), windows.close(5, window)]).toEqual([entry, false]);
  windows.closeFamily(window);
  expect([look(epoch), look(0)]).toEqual([-Status.Stale, -Status.Stale]);
});

test('what was cut from a window ends with it, but not where its client is only gone', () => {
  const windows = windowsOf(1);
  const root = windows.openFor(1, 1, RW);
  const middle = windows.openRange(part, { ...whole, opener: 2, parent: root });
  const leaf = windows.openRange(part, { ...whole, opener: 3, parent: middle, isShared: true });
  const other = windows.openRange(part, { ...whole, opener: 3, isShared: true });
  const may = (client: number) => windows.mayRevoke(leaf, client);
  expect([may(1), may(2), may(3), may(4)]).toEqual([true, true, true, false]);
  windows.closeClient(2);
  windows.closeClient(3);
  expect([windows.open, windows.shared]).toEqual([3, 2]);
  // Also one whose own parent is no more.
  expect([may(1), may(2)]).toEqual([true, true]);
  expect(windows.close(1, root)).toBe(true);
  expect([windows.open, windows.epochOf(leaf)]).toEqual([1, 0]);
  expect(windows.epochOf(other)).not.toBe(0);
});

test('windows of a lease end when its epoch is raised, with all that was cut from them', () => {
  const windows = windowsOf(1);
  const ofLease = (leaseEpoch: number) =>
    windows.openRange(part, { ...whole, lease: 9, leaseEpoch });
  const old = [ofLease(3), ofLease(4)];
  const cut = windows.openRange(part, { ...whole, parent: old[0] as number, isShared: true });
  const now = ofLease(5);
  const none = windows.openRange(part, whole);
  windows.closeLease(8, 100);
  expect(windows.open).toBe(5);
  windows.closeLease(9, 5);
  expect([...old, cut].map((window) => windows.epochOf(window))).toEqual([0, 0, 0]);
  expect([now, none].map((window) => windows.epochOf(window) > 0)).toEqual([true, true]);
});

test('shared windows leave room for the others; no number has an epoch twice in a row', () => {
  const drawn = [0, 0, 7, 3, 7, 9];
  const random = Object.assign(new Prng(1), { u32: () => drawn.shift() ?? 5 });
  const windows = windowsOf(1, 4, random);
  const open = (isShared: boolean) => windows.openRange(part, { ...whole, isShared });
  expect([open(true), windows.epochOf(0)]).toEqual([0, 7]);
  windows.closeFamily(0);
  expect([open(true), windows.epochOf(0)]).toEqual([0, 9]);
  expect([open(true) > 0, open(true), windows.shared]).toEqual([true, -1, 2]);
  expect([open(false) > 0, open(false) > 0, open(false)]).toEqual([true, true, -1]);
});

test('shared windows whose openers are gone make room, longest first', () => {
  const windows = windowsOf(1, 10);
  const part = { space: 1, rights: RW, base: 0, end: 8 };
  const share = (opener: number, parent = NO_PARENT) => {
    const window = windows.openRange(part, { ...whole, opener, parent, isShared: true });
    return { window, epoch: window < 0 ? 0 : windows.epochOf(window) };
  };
  type Shared = ReturnType<typeof share>;
  const areGood = (...all: Shared[]) =>
    all.map(({ window, epoch }) => windows.isGood(window, 77, epoch));
  const [first, second] = [share(6), share(6)];
  const cut = share(7, first.window);
  const others = [share(5), share(8)];
  expect([windows.shared, share(9).window]).toEqual([windows.sharedMax, -1]);
  windows.closeClient(6);
  expect(areGood(first, second, cut)).toEqual([true, true, true]);
  // Not what the new one is cut from.
  const leaf = share(5, cut.window);
  expect(areGood(first, second, cut, leaf)).toEqual([true, false, true, true]);
  expect(share(5, leaf.window).window).toBe(-1);
  // With all that was cut from it.
  const next = share(5);
  expect(areGood(first, cut, leaf, next, ...others)).toEqual([
    false,
    false,
    false,
    true,
    true,
    true,
  ]);
  expect(windows.shared).toBe(3);
});
