import { expect, test } from 'vitest';
import { REGION_OPENINGS_MAX } from './region-table.js';
import { recover } from './table-changes.js';
import { TableFile } from './table-file.js';
import { copyOf, FACTS, freshTable, mappingOf, openTable } from './testing/mapping.js';

test('what was formatted is found again', () => {
  const { mapping, table } = freshTable();
  expect(table.facts).toEqual(FACTS);
  expect(table.incarnation).toBe(0);
  table.raiseIncarnation();
  table.regions.put({ space: 1, region: 2, epoch: 3 });
  const again = openTable(copyOf(mapping));
  expect(again.incarnation).toBe(1);
  expect(again.regions.list()).toEqual([{ space: 1, region: 2, epoch: 3 }]);
});

test('a damaged head is refused with its reason', () => {
  expect(TableFile.open(mappingOf(new ArrayBuffer(8192)))).toContain('no MRKT');
  for (let word = 1; word < 64; word++) {
    const { mapping } = freshTable();
    mapping.words[word] = (mapping.words[word] as number) ^ 0x100;
    expect(typeof TableFile.open(mapping)).toBe('string');
  }
  const { mapping } = freshTable();
  const short = mappingOf(mapping.bytes.slice(0, 4096).buffer);
  expect(TableFile.open(short)).toContain('shorter than its head says');
});

test('regions: granted again with a higher epoch, removed, refused when full', () => {
  const { regions } = freshTable().table;
  for (let region = 1; region <= FACTS.regionEntries; region++) {
    expect(regions.put({ space: 9, region, epoch: 1 })).toBe(true);
  }
  expect(regions.isFull).toBe(true);
  expect(regions.put({ space: 9, region: 99, epoch: 1 })).toBe(false);
  expect(regions.put({ space: 9, region: 5, epoch: 4 })).toBe(true);
  expect(regions.epochOf(9, 5)).toBe(4);
  regions.remove(9, 5);
  expect(regions.holds(9, 5)).toBe(false);
  expect(regions.put({ space: 8, region: 1, epoch: 1 })).toBe(true);
  for (let region = 1; region <= FACTS.regionEntries; region++) regions.remove(9, region);
  expect([regions.holdsAnyOf(9), regions.holdsAnyOf(8), regions.size]).toEqual([false, true, 1]);
});

test('openings of files before stand beside their region, and go with it', () => {
  const { mapping, table } = freshTable();
  const { regions } = table;
  const many = Array.from({ length: 12 }, (_, i) => 2 ** 32 - 1 - i);
  regions.putOpenings(9, 5, [1, 2]);
  regions.putOpenings(9, 5, many);
  regions.put({ space: 9, region: 5, epoch: 3 });
  // Of a process that died before it held the region.
  regions.putOpenings(9, 6, [77]);
  const kept = many.slice(-REGION_OPENINGS_MAX);
  const again = openTable(copyOf(mapping));
  for (const { regions: one } of [table, again]) {
    expect(one.openingsOf(9, 5)).toEqual(kept);
    expect(one.list()).toEqual([{ space: 9, region: 5, epoch: 3 }]);
    expect([one.size, one.holds(9, 6), one.openingsOf(9, 6)]).toEqual([1, false, [77]]);
  }
  expect(recover(again)).toBeUndefined();
  expect(again.regions.openingsOf(9, 6)).toEqual([]);
  expect(again.regions.openingsOf(9, 5)).toEqual(kept);
  again.regions.remove(9, 5);
  expect(again.regions.openingsOf(9, 5)).toEqual([]);
  for (let region = 1; region <= FACTS.regionEntries; region++) {
    expect(again.regions.put({ space: 9, region, epoch: 1 })).toBe(true);
  }
});

test('where there is little room the region comes first, and then the last openings', () => {
  const { mapping, table } = freshTable();
  const { regions } = table;
  const free = 3;
  for (let region = 1; region <= FACTS.regionEntries - free; region++) {
    regions.put({ space: 9, region, epoch: 1 });
  }
  regions.putOpenings(8, 1, [1, 2, 3, 4]);
  expect(regions.put({ space: 8, region: 1, epoch: 1 })).toBe(true);
  expect(regions.openingsOf(8, 1)).toEqual([3, 4]);
  // Others that come later go before them, too.
  for (const left of [[4], []]) {
    expect(regions.isFull).toBe(false);
    expect(regions.put({ space: 7, region: 1 + left.length, epoch: 1 })).toBe(true);
    expect(openTable(copyOf(mapping)).regions.openingsOf(8, 1)).toEqual(left);
    expect(regions.openingsOf(8, 1)).toEqual(left);
  }
  expect(regions.isFull).toBe(true);
  expect(regions.put({ space: 7, region: 9, epoch: 1 })).toBe(false);
  expect(openTable(copyOf(mapping)).regions.size).toBe(FACTS.regionEntries);
});

test('a mark is above every epoch that came here, with a mark or without', () => {
  const { mapping, table } = freshTable();
  const told = { controller: 7, commit: 1, life: 1, nextSpace: 2, nextEpoch: 10, instance: 3 };
  table.raiseMark(told);
  expect(table.mark).toEqual(told);
  // Moves of the next moment, which ended before a heartbeat told of them.
  table.raiseFloor(25);
  expect(table.mark).toEqual({ ...told, nextEpoch: 26 });
  table.noteGivenAway(30);
  expect(openTable(copyOf(mapping)).mark).toEqual({ ...told, nextEpoch: 31 });
  table.raiseMark({ ...told, controller: 8, nextEpoch: 12 });
  expect(table.mark).toMatchObject({ controller: 8, nextEpoch: 31 });
  table.raiseMark({ ...told, controller: 8, nextEpoch: 40 });
  expect(table.mark).toMatchObject({ controller: 8, nextEpoch: 40 });
});
