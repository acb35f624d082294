// On a real disk: locks are the system's.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import type { Disk, File } from '../../runtime/disk.js';
import { createRuntime } from '../../runtime/node/create-runtime.js';
import type { Runtime } from '../../runtime/runtime.js';
import { lockOf, makeBackup } from './backup-path.js';
import { Backups } from './backups.js';
import type { Behind } from './slab-file.js';

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

const NOTHING: Behind = new Map();

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('a backup is open once, and a lock that was left locks nobody', async () => {
  const [one, other] = [new Backups(runtime), new Backups(runtime)];
  const file = await one.open(path, DEVICE, SLAB_BYTES, 1);
  if (file === undefined) throw new Error('it is not opened');
  expect(await other.open(path, DEVICE, SLAB_BYTES, 1)).toBeUndefined();
  await one.close(DEVICE, file, 1, NOTHING);
  expect(readdirSync(folder)).toEqual(['kept', 'kept.lock']);
  const next = await other.open(path, DEVICE, SLAB_BYTES, 1);
  if (next === undefined) throw new Error('it is not opened again');
  await other.close(DEVICE, next, 1, NOTHING);
});

test('the next writer hears what the one before knew, if nobody was between', async () => {
  const backups = new Backups(runtime);
  const behind: Behind = new Map([[3, new Set([1])]]);
  const serve = async (epoch: number): Promise<Behind | undefined> => {
    const file = await backups.open(path, DEVICE, SLAB_BYTES, epoch);
    if (file === undefined) throw new Error('it is not opened');
    await backups.close(DEVICE, file, epoch, behind);
    return file.known;
  };
  expect(await serve(5)).toBeUndefined();
  expect(await serve(6)).toBe(behind);
  expect(await serve(8)).toBeUndefined();
  backups.passOver(DEVICE, 9);
  expect(await serve(10)).toBe(behind);
  backups.passOver(DEVICE, 12);
  expect(await serve(13)).toBeUndefined();
});

test('a lock whose maker was killed before it was whole is made whole', async () => {
  writeFileSync(lockOf(path), '');
  const [one, other] = [new Backups(runtime), new Backups(runtime)];
  const file = await one.open(path, DEVICE, SLAB_BYTES, 1);
  if (file === undefined) throw new Error('it is not opened');
  expect(await other.open(path, DEVICE, SLAB_BYTES, 1)).toBeUndefined();
  await one.close(DEVICE, file, 1, NOTHING);
});

/** A disk that hangs while it is told to, and a host whose time passes a hundred times as fast. */
function hanging(): { readonly runtime: Runtime; hangs: boolean; readonly letGo: () => void } {
  const FASTER = 100;
  const waiting: (() => void)[] = [];
  const rig = { hangs: false, letGo: () => waiting.splice(0).forEach((run) => run()) };
  const inTime = async <T>(act: () => Promise<T>): Promise<T> => {
    if (rig.hangs) await new Promise<void>((resolve) => waiting.push(resolve));
    return act();
  };
  const slow = (file: File): File => ({
    read: (at, into) => inTime(() => file.read(at, into)),
    write: (at, from) => inTime(() => file.write(at, from)),
    flush: () => inTime(() => file.flush()),
    size: () => file.size(),
    truncate: (bytes) => file.truncate(bytes),
    close: () => file.close(),
  });
  const open: Disk['open'] = (name, mode) => runtime.disk.open(name, mode).then(slow);
  const hanging = {
    ...runtime,
    disk: { ...runtime.disk, open },
    clock: { ...runtime.clock, now: () => runtime.clock.now() * FASTER },
    timers: {
      after: (ms: number, run: () => void) => runtime.timers.after(ms / FASTER, run),
      soon: (run: () => void) => runtime.timers.soon(run),
    },
  };
  return Object.assign(rig, { runtime: hanging });
}

test('the lock of a file stays until its disk has ended what it was asked', async () => {
  const rig = hanging();
  const [hung, other] = [new Backups(rig.runtime), new Backups(runtime)];
  const file = await hung.open(path, DEVICE, SLAB_BYTES, 1);
  if (file === undefined) throw new Error('it is not opened');
  rig.hangs = true;
  expect(await hung.close(DEVICE, file, 1, NOTHING)).toBe(false);
  await hung.closed();
  expect(await file.flush()).not.toBe(Status.Ok);
  expect(await other.open(path, DEVICE, SLAB_BYTES, 1)).toBeUndefined();
  rig.hangs = false;
  rig.letGo();
  await expect.poll(() => other.open(path, DEVICE, SLAB_BYTES, 1)).toBeDefined();
  // What was not flushed once may be gone.
  expect(await hung.open(path, DEVICE, SLAB_BYTES, 1)).toBeUndefined();
});

test('a device whose disk hangs is served without its file', async () => {
  const rig = hanging();
  const [hung, other] = [new Backups(rig.runtime), new Backups(runtime)];
  rig.hangs = true;
  expect(await hung.open(path, DEVICE, SLAB_BYTES, 1)).toBeUndefined();
  rig.hangs = false;
  rig.letGo();
  await expect.poll(() => hung.open(path, DEVICE, SLAB_BYTES, 1)).toBeDefined();
  expect(await other.open(path, DEVICE, SLAB_BYTES, 1)).toBeUndefined();
});

test('something else of that name is left alone', async () => {
  writeFileSync(lockOf(path), 'a letter');
  const backups = new Backups(runtime);
  expect(await backups.open(path, DEVICE, SLAB_BYTES, 1)).toBeUndefined();
});
