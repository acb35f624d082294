import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SCHEMA } from '../controller/metadata/schema.js';
import { nodeDatabases } from '../runtime/node/node-database.js';
import { decodeBackup, encodeBackup, restoreMetadata, writeBackup } from './backup-file.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-backup-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const MADE_AT = new Date('2026-01-31T12:00:00Z');

async function copyOfOne(): Promise<Uint8Array> {
  const database = await nodeDatabases.open(undefined, 'any', SCHEMA);
  await database.commit([
    { put: 'counters', row: { name: 'commit', next: 7 } },
    { put: 'files', row: { key: 'a', space: 1, address: 2, length: 3, sha256: '' } },
  ]);
  const copy = await database.copy();
  await database.close();
  return copy;
}

test('a back-up comes back with its rows, marked as older than the truth', async () => {
  const path = join(folder, 'file');
  writeBackup(path, encodeBackup(await copyOfOne(), MADE_AT));
  const found = decodeBackup(readFileSync(path));
  if (typeof found === 'string') throw new Error(found);
  expect(found.madeAt).toBe('2026-01-31T12:00:00.000Z');
  const data = join(folder, 'data');
  // What an interrupted attempt left.
  await nodeDatabases.restore(data, 'controller-draft', found.copy);
  await restoreMetadata(data, found);
  expect(readdirSync(data)).toEqual(['controller.sqlite']);
  const database = await nodeDatabases.open(data, 'controller', SCHEMA);
  expect(database.select('files')).toHaveLength(1);
  expect(database.select('counters')).toEqual([
    { name: 'commit', next: 7 },
    { name: 'restoring', next: 1 },
  ]);
  await expect(restoreMetadata(data, found)).rejects.toThrow('exists already');
  await database.close();
  await expect(restoreMetadata(data, found)).rejects.toThrow('exists already');
});

test('what was damaged, cut, or is something else is refused with a reason', async () => {
  const whole = encodeBackup(await copyOfOne(), MADE_AT);
  for (const at of [0, 20, 60, whole.length - 1, Math.floor(whole.length / 2)]) {
    const damaged = Uint8Array.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 0x20;
    expect([at, typeof decodeBackup(damaged)]).toEqual([at, 'string']);
  }
  expect(decodeBackup(whole.subarray(0, whole.length - 1))).toContain('bytes');
  expect(decodeBackup(new Uint8Array(0))).toBe('it is no back-up');
  const later = Buffer.from(whole).toString('latin1').replace('"version":1', '"version":2');
  expect(decodeBackup(Buffer.from(later, 'latin1'))).toContain('version 2');
});
