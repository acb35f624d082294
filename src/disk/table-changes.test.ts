import { expect, test } from 'vitest';
import type { FrameIndex } from '../base/brands.js';
import { EntryFlag, NONCE_SHIFT, nonceOf } from './page-table.js';
import { allocatePages, freePages, protectPages, recover, verify } from './table-changes.js';
import { allocationPages } from './table-changes.js';
import { storeWord } from './layout.js';
import { TableFile } from './table-file.js';
import { copyOf, Death, dyingAfter, freshTable, openTable } from './testing/mapping.js';

const frameOf = (index: number) => index as FrameIndex;

const RW = EntryFlag.READ | EntryFlag.WRITE;
const at = (firstPage: number, pages: number) => ({ space: 1, firstPage, pages });

/** Two allocations with some frames: what every change below starts from. */
function prepare(table: TableFile): void {
  table.raiseIncarnation();
  table.regions.put({ space: 1, region: 1, epoch: 1 });
  allocatePages(table, at(16, 3), RW, 0);
  allocatePages(table, at(19, 2), RW, 0);
  for (const page of [16, 18, 19])
    table.pages.setFrame(table.pages.find(1, page), frameOf(page - 16));
}

/** All that a client could observe of the pages, as text. */
function picture(table: TableFile): string {
  const lines: string[] = [];
  for (let page = 16; page < 32; page++) {
    const entry = table.pages.find(1, page);
    if (entry < 0) continue;
    lines.push(`${page}: frame ${table.pages.frameOf(entry)} flags ${table.pages.flagsOf(entry)}`);
  }
  return lines.join('\n');
}

const CHANGES: Record<string, { change: (table: TableFile) => void; ends: 'undone' | 'either' }> = {
  'an allocation': { change: (t) => allocatePages(t, at(22, 4), RW, 0), ends: 'undone' },
  'a free': { change: (t) => void freePages(t, at(16, 3), () => {}), ends: 'either' },
  'a protect': { change: (t) => protectPages(t, at(17, 3), EntryFlag.READ), ends: 'either' },
  'a provisional allocation': {
    change: (t) => allocatePages(t, at(22, 4), RW, EntryFlag.PROVISIONAL),
    ends: 'undone',
  },
};

test.each(Object.entries(CHANGES))('%s is never half done after a death', (_, { change, ends }) => {
  const before = freshTable();
  prepare(before.table);
  const old = picture(before.table);
  const whole = openTable(copyOf(before.mapping));
  change(whole);
  const changed = picture(whole);
  let died = true;
  for (let stores = 0; died; stores++) {
    const mapping = copyOf(before.mapping);
    died = dies(() => change(openTable(mapping, dyingAfter(stores))));
    if (!died) break;
    const expected = recoveredPictures(mapping);
    for (const seen of expected) {
      expect(ends === 'undone' ? [old] : [old, changed], `after ${stores} stores`).toContain(seen);
    }
  }
});

/** Recovers, and also dies at every store of the recovery and recovers from that. */
function recoveredPictures(mapping: Parameters<typeof copyOf>[0]): Set<string> {
  const pictures = new Set<string>();
  for (let stores = 0; ; stores++) {
    const again = copyOf(mapping);
    const died = dies(() => recover(openTable(again, dyingAfter(stores))));
    const table = openTable(again);
    expect(recover(table)).toBeUndefined();
    expect(verify(table)).toBeInstanceOf(Uint8Array);
    expect(table.intent.kind).toBe(0);
    pictures.add(picture(table));
    if (!died) return pictures;
  }
}

function dies(run: () => void): boolean {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof Death) return true;
    throw error;
  }
}

test('a region is held with its epoch or not at all, wherever its grant ends', () => {
  const { mapping } = freshTable();
  for (let stores = 0, died = true; died; stores++) {
    const copy = copyOf(mapping);
    died = dies(() => {
      const table = openTable(copy, dyingAfter(stores));
      table.raiseIncarnation();
      table.regions.put({ space: 1, region: 1, epoch: 1 });
      table.regions.put({ space: 2, region: 2, epoch: 2 });
      table.regions.put({ space: 1, region: 1, epoch: 5 });
      table.regions.remove(2, 2);
    });
    const found = openTable(copy)
      .regions.list()
      .map(({ space, region, epoch }) => `${space}/${region}/${epoch}`);
    const good = ['', '1/1/1', '1/1/1 2/2/2', '1/1/5 2/2/2', '1/1/5'];
    expect(good, `after ${stores} stores`).toContain(found.join(' '));
  }
});

test('an allocation ends before the next one, before a gap and with its region', () => {
  const { table } = freshTable();
  prepare(table);
  allocatePages(table, at(30, 2), RW, EntryFlag.CONTINUES);
  allocatePages(table, at(32, 1), RW, EntryFlag.CONTINUATION);
  const pagesOf = (page: number) => allocationPages(table, table.pages.find(1, page));
  expect([pagesOf(16), pagesOf(19), pagesOf(30), pagesOf(32)]).toEqual([3, 2, 2, 1]);
});

test('freed frames are told, once each', () => {
  const { table } = freshTable();
  prepare(table);
  const frames: number[] = [];
  expect(freePages(table, at(16, 16), (frame) => frames.push(frame))).toBe(5);
  expect(frames).toEqual([0, 2, 3]);
  expect(verify(table)).toEqual(new Uint8Array(8));
});

test('what lies in a region that is not held is dropped, and the rest goes on', () => {
  const { table } = freshTable();
  prepare(table);
  table.regions.put({ space: 1, region: 2, epoch: 1 });
  allocatePages(table, at(32, 2), RW, EntryFlag.PROVISIONAL);
  allocatePages(table, at(40, 2), RW, 0);
  table.pages.setFrame(table.pages.find(1, 40), frameOf(5));
  const kept = picture(table);
  table.regions.remove(1, 2);
  expect(recover(table)).toBeUndefined();
  expect(verify(table)).toEqual(Uint8Array.of(1, 0, 1, 1, 0, 0, 0, 0));
  expect(picture(table)).toBe(kept);
  expect([table.pages.find(1, 32), table.pages.find(1, 41)]).toEqual([-1, -1]);
});

test('a page that was being moved goes on, with the frame that it has', () => {
  const { table } = freshTable();
  prepare(table);
  const before = picture(table);
  for (const page of [16, 17]) {
    const entry = table.pages.find(1, page);
    table.pages.setFlags(entry, table.pages.flagsOf(entry) | EntryFlag.PAUSED);
  }
  expect(verify(table)).toEqual(Uint8Array.of(1, 0, 1, 1, 0, 0, 0, 0));
  expect(picture(table)).not.toBe(before);
  expect(recover(table)).toBeUndefined();
  expect(picture(table)).toBe(before);
});

test('pauses are not for the file: those of a region that is handed over are made anew', () => {
  const { mapping, table } = freshTable();
  prepare(table);
  const before = picture(table);
  // No store but passing ones.
  const passing = TableFile.open(mapping, dyingAfter(0), storeWord);
  if (typeof passing === 'string') throw new Error(passing);
  const entry = table.pages.find(1, 17);
  passing.pages.setPaused(entry, true);
  expect(table.pages.flagsOf(entry)).toBe(RW | EntryFlag.VALID | EntryFlag.PAUSED);
  passing.pages.setPaused(entry, false);
  expect(picture(table)).toBe(before);
  table.regions.setHanding(1, 1, true);
  expect(recover(table)).toBeUndefined();
  for (const page of [16, 17, 18, 19, 20]) {
    expect(table.pages.flagsOf(table.pages.find(1, page)) & EntryFlag.PAUSED).not.toBe(0);
  }
  table.regions.setHanding(1, 1, false);
  expect(recover(table)).toBeUndefined();
  expect(picture(table)).toBe(before);
});

test('of what is not confirmed only continuations stay', () => {
  const { table } = freshTable();
  prepare(table);
  const flags = EntryFlag.PROVISIONAL | (77 << NONCE_SHIFT);
  allocatePages(table, at(28, 4), RW, flags | EntryFlag.CONTINUES);
  table.regions.put({ space: 1, region: 2, epoch: 1 });
  allocatePages(table, at(32, 3), RW, flags | EntryFlag.CONTINUATION);
  expect(recover(table)).toBeUndefined();
  expect([table.pages.find(1, 28), table.pages.find(1, 31)]).toEqual([-1, -1]);
  const left = table.pages.find(1, 32);
  expect(allocationPages(table, left)).toBe(3);
  expect(nonceOf(table.pages.flagsOf(left))).toBe(77);
  protectPages(table, at(32, 1), 0);
  expect(nonceOf(table.pages.flagsOf(left))).toBe(77);
});

test('tables that cannot be are refused', () => {
  const damages: Record<string, (table: TableFile) => void> = {
    'the same frame': (t) => t.pages.setFrame(t.pages.find(1, 17), frameOf(0)),
    'does not exist': (t) => t.pages.setFrame(t.pages.find(1, 17), frameOf(8)),
    'does not hold': (t) => t.regions.remove(1, 1),
    'no allocation': (t) => t.pages.remove(t.pages.find(1, 19)),
    'wrong place': (t) => {
      t.pages.words[t.pages.find(1, 18)] = 12345;
    },
  };
  for (const [reason, damage] of Object.entries(damages)) {
    const { table } = freshTable();
    prepare(table);
    damage(table);
    if (reason === 'no allocation') table.pages.remove(table.pages.find(1, 18));
    expect(verify(table)).toContain(reason);
  }
  const { table } = freshTable();
  table.intent.begin({ kind: 2, space: 1, firstPage: 16, pages: 17, rights: 0 });
  expect(recover(table)).toContain('damaged');
});
