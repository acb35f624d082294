// Swap and groups of this machine; takes root, and skips visibly without it.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { MiB } from '../../base/units.js';
import { PagingError } from '../paging.js';
import { nodePaging } from './node-paging.js';
import { swapHeader, swapLabel } from './swap-header.js';

const BYTES = 32 * MiB;
const isRoot = process.getuid?.() === 0;
const hasLoop = isRoot && existsSync('/dev/loop-control');
const hasGroups = isRoot && makesGroups();
if (!hasLoop || !hasGroups) {
  process.stderr.write('skipping a test: needs root, loop devices and control groups\n');
}

function makesGroups(): boolean {
  try {
    return nodePaging.makeGroup(`memrack-look-${process.pid}`).remove();
  } catch {
    return false;
  }
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'memrack-paging-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function fileOf(bytes: number): string {
  const path = join(folder(), 'memrack-swap');
  writeFileSync(path, Buffer.alloc(bytes));
  return path;
}

const until = async (isSo: () => boolean): Promise<void> => {
  for (let i = 0; i < 200 && !isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
  expect(isSo()).toBe(true);
};

test('the header of swap says how long it is, and whose', () => {
  const page = Buffer.from(swapHeader(BYTES, new Uint8Array(16).fill(7), 'memrack-1'));
  expect([page.readUInt32LE(1028), swapLabel(page)]).toEqual([BYTES / 4096 - 1, 'memrack-1']);
  expect(swapLabel(Buffer.alloc(4096))).toBeUndefined();
  expect(() => swapHeader(4096, new Uint8Array(16), 'memrack')).toThrow('10 to 2^32 pages');
});

test.runIf(hasLoop)('what was made swap is found by the system, used, and given back', async () => {
  const loop = nodePaging.attachLoop(fileOf(BYTES));
  const dio = (): string => readFileSync(`/sys/block/${basename(loop.path)}/loop/dio`, 'utf8');
  const isThere = (): boolean => existsSync(`/sys/block/${basename(loop.path)}/loop/dio`);
  onTestFinished(async () => void (await nodePaging.swapOff(loop.path)));
  expect(dio().trim()).toBe('1');
  expect(() => nodePaging.swapOn(loop.path, 5)).toThrow(PagingError);
  nodePaging.formatSwap(loop.path, 'memrack-test');
  expect(execFileSync('blkid', ['-o', 'value', '-s', 'LABEL', loop.path]).toString().trim()).toBe(
    'memrack-test',
  );
  nodePaging.swapOn(loop.path, 5);
  const area = nodePaging.swapAreas().find(({ path }) => path === loop.path);
  expect(area).toMatchObject({ bytes: BYTES - 4096, priority: 5 });
  // With its last user it goes.
  loop.leave();
  expect(isThere()).toBe(true);
  expect(await nodePaging.swapOff(loop.path)).toBeUndefined();
  await until(() => !isThere());
  expect((await nodePaging.swapOff(loop.path))?.message).toMatch(/swapoff/);
});

test.runIf(hasGroups)('a group holds a program to its limit, and ends it', async () => {
  const group = nodePaging.makeGroup(`memrack-test-${process.pid}`);
  onTestFinished(() => {
    group.kill();
    return until(() => group.remove());
  });
  expect(() => nodePaging.makeGroup(group.name)).toThrow(/EEXIST/);
  group.limit(64 * MiB);
  const [shell = '', ...words] = [...group.enter, 'sleep', '60'];
  const child = spawn(shell, words, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('exit', (_code, signal) => resolve(signal)));
  await until(() => group.processes().includes(child.pid as number));
  expect(group.remove()).toBe(false);
  expect(group.use().peakLocalBytes).toBeLessThanOrEqual(64 * MiB);
  group.kill();
  expect(await ended).toBe('SIGKILL');
  await until(() => group.remove());
});

test('a command that is not there is told as a shell tells it', async () => {
  if (!hasGroups) return;
  const group = nodePaging.makeGroup(`memrack-none-${process.pid}`);
  onTestFinished(() => until(() => group.remove()));
  const [shell = '', ...words] = [...group.enter, '/no/such/program'];
  const child = spawn(shell, words, { stdio: 'ignore' });
  expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(127);
});
