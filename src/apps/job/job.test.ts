import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readTree, splitTree, type TreeFile } from './tree.js';
import { PACK_BYTES, packFiles } from './write-files.js';

const file = (key: string, bytes: number): TreeFile => ({ key, bytes });

test('a tree is its regular files, up to the limit, and tells what it leaves out', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-tree-'));
  try {
    mkdirSync(join(folder, 'deep/.hidden'), { recursive: true });
    writeFileSync(join(folder, 'a'), 'x'.repeat(100));
    writeFileSync(join(folder, 'deep/b'), '');
    writeFileSync(join(folder, 'deep/.hidden/c'), 'xyz');
    writeFileSync(join(folder, 'large'), 'x'.repeat(1000));
    symlinkSync(join(folder, 'a'), join(folder, 'link'));
    const all = await readTree(folder, { bytesMax: 5000, skipHidden: false });
    expect(all.files.map(({ key }) => key)).toEqual(['a', 'deep/.hidden/c', 'deep/b', 'large']);
    expect(all).toMatchObject({ bytes: 1103, omitted: 0 });
    const some = await readTree(folder, { bytesMax: 500, skipHidden: true });
    expect(some.files.map(({ key }) => key)).toEqual(['a', 'deep/b']);
    expect(some).toMatchObject({ bytes: 100, omitted: 1, omittedBytes: 1000 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a split loses nothing and is about even', () => {
  const files = Array.from({ length: 1000 }, (_, i) => file(`f${i}`, (i * 7919) % 50_000));
  const parts = splitTree(files, 3);
  expect(parts.flat()).toEqual(files);
  const sizes = parts.map((part) => part.reduce((sum, { bytes }) => sum + bytes, 0));
  expect(Math.max(...sizes) / Math.min(...sizes)).toBeLessThan(1.2);
  expect(splitTree([file('only', 5)], 3).flat()).toHaveLength(1);
  expect(splitTree([], 3)).toEqual([[], [], []]);
});

test('files of a pack do not overlap, and only a large file exceeds it', () => {
  const files = [0, 1, 63, 64, 65, PACK_BYTES - 64, PACK_BYTES * 3, 5].map((bytes, i) =>
    file(`f${i}`, bytes),
  );
  const packs = packFiles(files);
  expect(packs.flatMap((pack) => pack.files.map(({ key }) => key))).toEqual(
    files.map(({ key }) => key),
  );
  for (const pack of packs) {
    let end = 0;
    for (const { offset, bytes } of pack.files) {
      expect(offset).toBeGreaterThanOrEqual(end);
      end = offset + bytes;
    }
    expect(end).toBeLessThanOrEqual(pack.bytes);
    expect(pack.bytes <= PACK_BYTES || pack.files.length === 1).toBe(true);
  }
});
