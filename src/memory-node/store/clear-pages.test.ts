import { expect, test } from 'vitest';
import type { FrameIndex } from '../../base/brands.js';
import { KiB, MiB } from '../../base/units.js';
import { EntryFlag, NO_FRAME, RIGHTS_MASK } from '../../disk/page-table.js';
import { allocatePages } from '../../disk/table-changes.js';
import { FACTS, freshTable, mappingOf } from '../../disk/testing/mapping.js';
import { clearPages, SCANNED_BYTES_MAX } from './clear-pages.js';
import { Frames } from './frames.js';

const SPACE = 7;
const FRAMES = 4;
const PIECE = 64 * KiB;

/** Pages 16 to 18 of a space; the first two have frames. */
function nodeOf(pageBytes: number) {
  const { table } = freshTable({ ...FACTS, pageBytes, frames: FRAMES });
  const memory = mappingOf(new ArrayBuffer(FRAMES * pageBytes));
  const file = { bytes: FRAMES * pageBytes, map: () => memory } as never;
  const frames = new Frames(file, pageBytes, FRAMES);
  const retired: number[] = [];
  const pool = { retireAll: (some: readonly FrameIndex[]) => void retired.push(...some) };
  table.regions.put({ space: SPACE, region: 0, epoch: 1 });
  allocatePages(table, { space: SPACE, firstPage: 16, pages: 3 }, RIGHTS_MASK, 0);
  const entries = [16, 17, 18].map((page) => table.pages.find(SPACE, page));
  const [one, other] = entries as [number, number, number];
  table.pages.setFrame(one, 2 as FrameIndex);
  table.pages.setFrame(other, 1 as FrameIndex);
  /** Counted from the start of page 16. */
  const clear = (from: number, bytes: number, keepFrom = 3 * pageBytes): boolean => {
    const base = 16 * pageBytes;
    const range = { space: SPACE, start: base + from, end: base + from + bytes };
    return clearPages(
      { table, frames, pool, ownEntry: new Int32Array(1) },
      { ...range, keepFrom: base + keepFrom },
    );
  };
  const frameOf = (page: number) => table.pages.frameOf(entries[page] as number);
  const bytes = (page: number): Uint8Array => {
    const at = frames.offset(frameOf(page) as FrameIndex);
    return memory.bytes.subarray(at, at + pageBytes);
  };
  return { table, entries, retired, clear, frameOf, bytes };
}

test('a large page goes with the last of its bytes, in whichever order they are trimmed', () => {
  const pieces = Array.from({ length: 8 }, (_, i) => i * PIECE);
  for (const order of [
    pieces,
    [...pieces].reverse(),
    [3, 0, 7, 1, 2, 6, 5, 4].map((i) => i * PIECE),
  ]) {
    const node = nodeOf(8 * PIECE);
    node.bytes(0).fill(5);
    node.bytes(1).fill(6);
    for (const [i, at] of order.entries()) {
      expect([at, node.frameOf(0)]).toEqual([at, 2]);
      expect(node.clear(at, PIECE)).toBe(true);
      if (i === order.length - 1) continue;
      const left = order.slice(i + 1);
      const bytes = node.bytes(0);
      expect(pieces.filter((piece) => bytes[piece] !== 0)).toEqual([...left].sort((a, b) => a - b));
    }
    expect([node.frameOf(0), node.retired]).toEqual([NO_FRAME, [2]]);
    expect(node.bytes(1).every((byte) => byte === 6)).toBe(true);
    // There is nothing to do any more.
    expect(node.clear(0, PIECE)).toBe(true);
    expect(node.retired).toEqual([2]);
  }
});

test('one byte keeps its page', () => {
  for (const at of [0, PIECE - 1, 3 * PIECE, 8 * PIECE - 1]) {
    const node = nodeOf(8 * PIECE);
    node.bytes(0)[at] = 1;
    expect(node.clear(PIECE, 2 * PIECE)).toBe(true);
    expect([at, node.frameOf(0)]).toEqual([at, 2]);
  }
  const node = nodeOf(8 * PIECE);
  for (const at of [PIECE, 3 * PIECE - 1]) node.bytes(0)[at] = 1;
  expect(node.clear(PIECE, 2 * PIECE)).toBe(true);
  expect(node.frameOf(0)).toBe(NO_FRAME);
});

test('what is to be kept keeps its frame, and is zeros', () => {
  const node = nodeOf(PIECE);
  for (const page of [0, 1]) node.bytes(page).fill(7);
  expect(node.clear(0, 3 * PIECE, PIECE)).toBe(true);
  expect([node.frameOf(0), node.frameOf(1), node.frameOf(2)]).toEqual([NO_FRAME, 1, NO_FRAME]);
  expect(node.bytes(1).every((byte) => byte === 0)).toBe(true);
});

test('nothing is changed where a page is paused', () => {
  const node = nodeOf(PIECE);
  for (const page of [0, 1]) node.bytes(page).fill(7);
  const entry = node.entries[1] as number;
  node.table.pages.setFlags(entry, node.table.pages.flagsOf(entry) | EntryFlag.PAUSED);
  expect(node.clear(4096, PIECE)).toBe(false);
  expect(node.bytes(0).every((byte) => byte === 7)).toBe(true);
  expect([node.frameOf(0), node.frameOf(1), node.retired]).toEqual([2, 1, []]);
});

test('a page that is too large to be looked through stays, unless all of it is meant', () => {
  const node = nodeOf(2 * SCANNED_BYTES_MAX);
  expect(SCANNED_BYTES_MAX).toBe(4 * MiB);
  expect(node.clear(0, PIECE)).toBe(true);
  expect(node.frameOf(0)).toBe(2);
  expect(node.clear(0, 2 * SCANNED_BYTES_MAX)).toBe(true);
  expect(node.frameOf(0)).toBe(NO_FRAME);
});
