// On a real disk: locks are the system's.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRuntime } from '../../runtime/node/create-runtime.js';
import { lockOf, makeBackup } from './backup-path.js';
import { Backups } from './backups.js';

const runtime = createRuntime({ logLevel: 'error' });
const DEVICE = 7;
const SLAB_BYTES = 1024 * 1024;
let folder: string;
let path: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-backups-'));
  path = join(folder, 'kept');
  await makeBackup(runtime, path, { device: DEVICE, slabBytes: SLAB_BYTES });
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('a backup is open once, and a lock that was left locks nobody', async () => {
  const [one, other] = [new Backups(runtime), new Backups(runtime)];
  const file = await one.open(path, DEVICE, SLAB_BYTES);
  if (file === undefined) throw new Error('it is not opened');
  expect(await other.open(path, DEVICE, SLAB_BYTES)).toBeUndefined();
  await one.close(DEVICE, file);
  expect(readdirSync(folder)).toEqual(['kept', 'kept.lock']);
  const next = await other.open(path, DEVICE, SLAB_BYTES);
  if (next === undefined) throw new Error('it is not opened again');
  await other.close(DEVICE, next);
});

test('a lock whose maker was killed before it was whole is made whole', async () => {
  writeFileSync(lockOf(path), '');
  const [one, other] = [new Backups(runtime), new Backups(runtime)];
  const file = await one.open(path, DEVICE, SLAB_BYTES);
  if (file === undefined) throw new Error('it is not opened');
  expect(await other.open(path, DEVICE, SLAB_BYTES)).toBeUndefined();
  await one.close(DEVICE, file);
});

test('something else of that name is left alone', async () => {
  writeFileSync(lockOf(path), 'a letter');
  const backups = new Backups(runtime);
  expect(await backups.open(path, DEVICE, SLAB_BYTES)).toBeUndefined();
});
