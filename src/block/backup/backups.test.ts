// On a real disk: locks are the system's.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { type Disk, DiskError, type File } from '../../runtime/disk.js';
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
const FIRST = { epoch: 1, heldBefore: 0 };
const CLOSING = { epoch: 1, behind: NOTHING, isSole: true };

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('a backup is open once, and a lock that was left locks nobody', async () => {
  const [one, other] = [new Backups(runtime), new Backups(runtime)];
  const file = await one.open(path, DEVICE, SLAB_BYTES, FIRST);
  if (file === undefined) throw new Error('it is not opened');
  expect(await other.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeUndefined();
  await one.close(DEVICE, file, CLOSING);
  expect(one.unwritten(DEVICE)).toBeUndefined();
  expect(readdirSync(folder)).toEqual(['kept', 'kept.lock']);
  const next = await other.open(path, DEVICE, SLAB_BYTES, FIRST);
  if (next === undefined) throw new Error('it is not opened again');
  await other.close(DEVICE, next, CLOSING);
});

test('the next writer hears what the one before knew, if nobody was between', async () => {
  const backups = new Backups(runtime);
  const behind: Behind = new Map([[3, new Set([1])]]);
  const serve = async (epoch: number, heldBefore = epoch - 1): Promise<Behind | undefined> => {
    const file = await backups.open(path, DEVICE, SLAB_BYTES, { epoch, heldBefore });
    if (file === undefined) throw new Error('it is not opened');
    await backups.close(DEVICE, file, { epoch, behind, isSole: true });
    return file.known;
  };
  expect(await serve(5)).toBeUndefined();
  expect(await serve(6)).toBe(behind);
  expect(await serve(8)).toBeUndefined();
  backups.passOver(DEVICE, { epoch: 9, heldBefore: 8 });
  expect(await serve(10)).toBe(behind);
  backups.passOver(DEVICE, { epoch: 12, heldBefore: 11 });
  expect(await serve(13)).toBeUndefined();
  // Attempts that came to nothing.
  expect(await serve(17, 13)).toBe(behind);
  backups.passOver(DEVICE, { epoch: 19, heldBefore: 17 });
  expect(await serve(22, 19)).toBe(behind);
  expect(await serve(25, 23)).toBeUndefined();
  // Another rack's, or an older one's: epochs there have another meaning.
  expect(await serve(12, 11)).toBeUndefined();
});

test('a lock whose maker was killed before it was whole is made whole', async () => {
  writeFileSync(lockOf(path), '');
  const [one, other] = [new Backups(runtime), new Backups(runtime)];
  const file = await one.open(path, DEVICE, SLAB_BYTES, FIRST);
  if (file === undefined) throw new Error('it is not opened');
  expect(await other.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeUndefined();
  await one.close(DEVICE, file, CLOSING);
});

/** A disk that hangs while it is told to, and a host whose time passes a hundred times as fast. */
interface Hanging {
  hangs: boolean;
  /** In place of the disk's. */
  write?: (() => Promise<void>) | undefined;
  readonly letGo: () => void;
}

function hanging(): Hanging & { readonly runtime: Runtime } {
  const FASTER = 100;
  const waiting: (() => void)[] = [];
  const rig: Hanging = { hangs: false, letGo: () => waiting.splice(0).forEach((run) => run()) };
  const inTime = async <T>(act: () => Promise<T>): Promise<T> => {
    if (rig.hangs) await new Promise<void>((resolve) => waiting.push(resolve));
    return act();
  };
  const slow = (file: File): File => ({
    read: (at, into) => inTime(() => file.read(at, into)),
    write: (at, from) => inTime(() => rig.write?.() ?? file.write(at, from)),
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
  const file = await hung.open(path, DEVICE, SLAB_BYTES, FIRST);
  if (file === undefined) throw new Error('it is not opened');
  rig.hangs = true;
  expect(await hung.close(DEVICE, file, CLOSING)).toBe(false);
  await hung.closed();
  expect(hung.unwritten(DEVICE)).toBe('ending');
  expect(await file.flush()).not.toBe(Status.Ok);
  expect(await other.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeUndefined();
  rig.hangs = false;
  rig.letGo();
  await expect.poll(() => other.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeDefined();
  // What was not flushed once may be gone.
  expect(await hung.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeUndefined();
});

test('a device whose disk hangs is served without its file', async () => {
  const rig = hanging();
  const [hung, other] = [new Backups(rig.runtime), new Backups(runtime)];
  rig.hangs = true;
  expect(await hung.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeUndefined();
  rig.hangs = false;
  rig.letGo();
  await expect.poll(() => hung.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeDefined();
  expect(await other.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeUndefined();
});

test('something else of that name is left alone', async () => {
  writeFileSync(lockOf(path), 'a letter');
  const backups = new Backups(runtime);
  expect(await backups.open(path, DEVICE, SLAB_BYTES, FIRST)).toBeUndefined();
});

test('what a full disk did not take, and is nowhere else, is not read as before it', async () => {
  const rig = hanging();
  const write = (): Promise<void> => Promise.reject(new DiskError('full', 'no room'));
  for (const isSole of [false, true]) {
    const backups = new Backups(rig.runtime);
    const file = await backups.open(path, DEVICE, SLAB_BYTES, FIRST);
    if (file === undefined) throw new Error('it is not opened');
    const taken = file.slab(0);
    expect(await taken.load()).toBe(Status.Ok);
    const put = (value: number): Promise<Status> =>
      new Promise((resolve) => {
        const completed = (_token: number, end: Status): void => resolve(end);
        taken.write(0, new Uint8Array(4096).fill(value), 0, 4096, { completed }, 0, Infinity);
      });
    expect(await put(1)).toBe(Status.Ok);
    expect(await file.flush()).toBe(Status.Ok);
    rig.write = write;
    expect(await put(2)).toBe(Status.Ok);
    await backups.close(DEVICE, file, { ...CLOSING, isSole });
    rig.write = undefined;
    await expect.poll(() => backups.unwritten(DEVICE)).toBe(isSole ? 'failed' : undefined);
    const again = await backups.open(path, DEVICE, SLAB_BYTES, FIRST);
    expect(again === undefined).toBe(isSole);
    if (again !== undefined) await backups.close(DEVICE, again, CLOSING);
  }
});
