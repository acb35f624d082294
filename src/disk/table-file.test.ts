import { expect, test } from 'vitest';
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
