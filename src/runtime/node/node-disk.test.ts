import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DiskError } from '../disk.js';
import { nodeDisk as disk } from './node-disk.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-disk-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('writes, reads back, cuts and renames', async () => {
  const path = join(folder, 'a/b');
  await disk.makeFolder(join(folder, 'a'));
  const file = await disk.open(path, 'create');
  await file.write(4, Uint8Array.of(1, 2, 3));
  await file.flush();
  expect(await file.size()).toBe(7);
  const into = new Uint8Array(10).fill(9);
  expect(await file.read(2, into)).toBe(5);
  expect([...into]).toEqual([0, 0, 1, 2, 3, 9, 9, 9, 9, 9]);
  await file.truncate(5);
  expect(await file.size()).toBe(5);
  await file.close();
  await disk.rename(path, join(folder, 'c'));
  await disk.flushDirectory(folder);
  expect((await disk.list(folder)).sort()).toEqual(['a', 'c']);
  await disk.remove(join(folder, 'c'));
  expect(await disk.list(join(folder, 'a'))).toEqual([]);
});

test('errors have a kind', async () => {
  const kindOf = async (promise: Promise<unknown>) => {
    const error = await promise.then(() => undefined).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DiskError);
    return (error as DiskError).kind;
  };
  const path = join(folder, 'once');
  await (await disk.open(path, 'create')).close();
  expect(await kindOf(disk.open(path, 'create'))).toBe('exists');
  expect(await kindOf(disk.open(join(folder, 'none'), 'read'))).toBe('not-found');
  expect(await kindOf(disk.remove(join(folder, 'none')))).toBe('not-found');
  const reader = await disk.open(path, 'read');
  expect(await kindOf(reader.write(0, Uint8Array.of(1)))).toBe('denied');
  await reader.close();
  const full = await disk.open('/dev/full', 'write');
  expect(await kindOf(full.write(0, Uint8Array.of(1)))).toBe('full');
  await full.close();
});
