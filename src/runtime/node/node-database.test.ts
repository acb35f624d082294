import { mkdtempSync, rmSync } from 'node:fs';
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
