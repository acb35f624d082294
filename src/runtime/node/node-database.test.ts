import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schema } from '../database.js';
import { nodeDatabases as databases } from './node-database.js';

const schema = {
  node: { columns: { id: 'text', order: 'integer' }, key: ['id'] },
  region: {
    columns: { space: 'integer', index: 'integer', owner: 'text' },
    key: ['space', 'index'],
  },
} as const satisfies Schema;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-database-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('keeps committed rows, ordered by key, over a reopening', async () => {
  const first = await databases.open(folder, 'rack', schema);
  const large = 2 ** 53 - 1;
  await first.commit([
    { put: 'region', row: { space: 2, index: 10, owner: 'b' } },
    { put: 'region', row: { space: 2, index: 9, owner: 'a' } },
    { put: 'region', row: { space: 1, index: large, owner: '' } },
    { put: 'node', row: { id: 'x"\'', order: -5 } },
  ]);
  await first.commit([
    { put: 'region', row: { space: 2, index: 9, owner: 'c' } },
    { remove: 'node', key: { id: 'x"\'' } },
  ]);
  await first.close();
  const second = await databases.open(folder, 'rack', schema);
  expect(second.select('region')).toEqual([
    { space: 1, index: large, owner: '' },
    { space: 2, index: 9, owner: 'c' },
    { space: 2, index: 10, owner: 'b' },
  ]);
  expect(second.select('region', { space: 2, owner: 'b' })).toHaveLength(1);
  expect(second.select('node')).toEqual([]);
  await second.close();
});

test('a second opening is refused, clearly', async () => {
  const holder = await databases.open(folder, 'held', schema);
  await expect(databases.open(folder, 'held', schema)).rejects.toThrow('another process uses');
  await holder.close();
  await (await databases.open(folder, 'held', schema)).close();
});

test('a table that was declared differently is refused', async () => {
  await (await databases.open(folder, 'changed', schema)).close();
  const other = { node: { columns: { id: 'integer' }, key: ['id'] } } as const;
  await expect(databases.open(folder, 'changed', other)).rejects.toThrow('made by another version');
});

test('without a folder it lives in memory', async () => {
  const database = await databases.open(undefined, 'rack', schema);
  await database.commit([{ put: 'node', row: { id: 'a', order: 1 } }]);
  expect(database.select('node', { id: 'a' })).toEqual([{ id: 'a', order: 1 }]);
  await database.close();
});

test('a batch with a wrong value changes nothing', async () => {
  const database = await databases.open(undefined, 'rack', schema);
  const changes = [
    { put: 'node', row: { id: 'a', order: 1 } },
    { put: 'node', row: { id: 'b', order: 1.5 } },
  ];
  await expect(database.commit(changes)).rejects.toThrow('not a value');
  expect(database.select('node')).toEqual([]);
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('skipping a test: a small disk is mounted by root alone\n');

const PAGE = Buffer.alloc(4_096);

/** Takes all the room that is left, by files that can be removed one by one. */
function fill(place: string): string[] {
  const taken: string[] = [];
  for (;;) {
    const path = join(place, `taken-${taken.length}`);
    try {
      writeFileSync(path, PAGE);
      taken.push(path);
    } catch {
      rmSync(path, { force: true });
      return taken;
    }
  }
}

test.runIf(isRoot)('a full disk refuses a commit wholly, and all later ones', async () => {
  const place = join(folder, 'small');
  mkdirSync(place);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'memrack-test', place]);
  try {
    const first = await databases.open(place, 'rack', schema);
    const put = (id: string) => ({ put: 'node', row: { id, order: 1 } }) as const;
    await first.commit([put('told')]);
    const taken = fill(place);
    const many = Array.from({ length: 2_000 }, (_, i) => put(`refused-${i}`));
    await expect(first.commit(many)).rejects.toMatchObject({ kind: 'full' });
    for (const path of taken) rmSync(path);
    await expect(first.commit([put('later')])).rejects.toMatchObject({ kind: 'full' });
    fill(place);
    await first.close();
    // What is there can be read.
    const second = await databases.open(place, 'rack', schema);
    expect(second.select('node')).toEqual([{ id: 'told', order: 1 }]);
    await second.close();
    await expect(databases.open(place, 'other', schema)).rejects.toMatchObject({ kind: 'full' });
  } finally {
    execFileSync('umount', ['-l', place]);
  }
});
