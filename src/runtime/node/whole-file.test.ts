import type * as NodeFs from 'node:fs';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { writeWholeFile } from './whole-file.js';

const told = vi.hoisted(() => [] as string[]);
vi.mock('node:fs', async (original) => {
  const real = await original<typeof NodeFs>();
  return {
    ...real,
    fsyncSync: (fd: number) => {
      told.push(real.fstatSync(fd).isDirectory() ? 'folder' : 'file');
      real.fsyncSync(fd);
    },
    linkSync: (from: string, to: string) => {
      told.push('name');
      real.linkSync(from, to);
    },
  };
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-whole-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('is there whole, for its owner alone, with nothing beside it', () => {
  const place = join(folder, 'one');
  mkdirSync(place);
  writeWholeFile(join(place, 'file'), Buffer.from('first'));
  expect(readdirSync(place)).toEqual(['file']);
  expect(statSync(join(place, 'file')).mode & 0o777).toBe(0o600);
});

test('never takes the place of another, and leaves nothing where it fails', () => {
  const place = join(folder, 'two');
  mkdirSync(place);
  writeWholeFile(join(place, 'file'), Buffer.from('first'));
  expect(() => writeWholeFile(join(place, 'file'), Buffer.from('second'))).toThrow('EEXIST');
  expect(readFileSync(join(place, 'file'), 'utf8')).toBe('first');
  expect(readdirSync(place)).toEqual(['file']);
});

test('flushes the bytes before the name is given, and the folder after it', () => {
  const place = join(folder, 'three');
  mkdirSync(place);
  // What reaches the disk cannot be seen from here; the order of the calls can.
  told.length = 0;
  writeWholeFile(join(place, 'file'), Buffer.from('bytes'));
  expect(told).toEqual(['file', 'name', 'folder']);
});
