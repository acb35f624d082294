import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { KiB } from '../../base/units.js';
import { ADDRESS_END, QUEUE_MAX } from '../../wire/limits.js';
import { Conflicts } from './conflicts.js';

const READ = false;
const WRITE = true;

test('readers share a line, a writer has it alone', () => {
  const conflicts = new Conflicts();
  conflicts.enter(1, 100, 8, READ);
  expect(conflicts.mayStart(1, 64, 64, READ)).toBe(true);
  expect(conflicts.mayStart(1, 64, 1, WRITE)).toBe(false);
  expect(conflicts.mayStart(1, 127, 1, WRITE)).toBe(false);
  // The lines beside it, and the same line of another space.
  expect(conflicts.mayStart(1, 0, 64, WRITE)).toBe(true);
  expect(conflicts.mayStart(1, 128, 64, WRITE)).toBe(true);
  expect(conflicts.mayStart(2, 64, 64, WRITE)).toBe(true);
  conflicts.enter(1, 128, 8, WRITE);
  expect(conflicts.mayStart(1, 191, 1, READ)).toBe(false);
  expect(conflicts.mayStart(1, 192, 1, READ)).toBe(true);
  conflicts.leave(1, 100, 8, READ);
  expect(conflicts.mayStart(1, 64, 64, WRITE)).toBe(true);
  conflicts.leave(1, 128, 8, WRITE);
  expect(conflicts.rows).toBe(0);
});

test('every pair of lines of a block, as single lines and as ends of a range', () => {
  for (let first = 0; first < 64; first++) {
    for (let last = first; last < 64; last++) {
      const conflicts = new Conflicts();
      conflicts.enter(5, 4096 + first * 64, (last - first + 1) * 64, WRITE);
      for (const line of [0, first - 1, first, last, last + 1, 31, 32, 63]) {
        const isMet = line >= first && line <= last;
        const may = conflicts.mayStart(5, 4096 + line * 64, 64, READ);
        expect(may, `${line} beside ${first} to ${last}`).toBe(!isMet);
      }
    }
  }
});

test('a piece that is not aligned touches 17 blocks, also at the end of the space', () => {
  const conflicts = new Conflicts();
  const last = ADDRESS_END - 64 * KiB;
  for (const address of [4032, 2 ** 44 - 64 * KiB + 64, last]) {
    conflicts.enter(9, address, 64 * KiB, WRITE);
    expect(conflicts.rows).toBe(address === last ? 16 : 17);
    expect(conflicts.mayStart(9, address, 1, READ)).toBe(false);
    expect(conflicts.mayStart(9, address + 64 * KiB - 1, 1, READ)).toBe(false);
    expect(conflicts.mayStart(9, address - 64, 64, READ)).toBe(true);
    conflicts.leave(9, address, 64 * KiB, WRITE);
  }
  expect(conflicts.rows).toBe(0);
});

test('counts as many operations on one line as a link can hold, and loses none', () => {
  const conflicts = new Conflicts();
  const most = 2 * QUEUE_MAX;
  conflicts.enter(1, 8 * 4096, 8, WRITE);
  for (let i = 0; i < most; i++) {
    conflicts.enter(1, 64, 8, READ);
    if (i % 3 === 0) conflicts.enter(1, 64, 130, WRITE);
  }
  let wrong = 0;
  for (let i = most - 1; i >= 0; i--) {
    if (i % 3 === 0) conflicts.leave(1, 64, 130, WRITE);
    if (conflicts.mayStart(1, 64, 8, WRITE)) wrong++;
    if (conflicts.mayStart(1, 128, 8, READ) !== (i === 0)) wrong++;
    conflicts.leave(1, 64, 8, READ);
  }
  expect(wrong).toBe(0);
  expect(conflicts.mayStart(1, 64, 200, WRITE)).toBe(true);
  expect(conflicts.mayStart(1, 8 * 4096, 8, READ)).toBe(false);
});

test('rows are used again: memory follows what is entered at a time', () => {
  const conflicts = new Conflicts();
  const prng = new Prng(4);
  for (let i = 0; i < 20_000; i++) {
    const address = prng.u53() - (prng.u53() % 4096);
    const at = Math.min(address, ADDRESS_END - 64 * KiB);
    conflicts.enter(i, at, 64 * KiB, WRITE);
    expect(conflicts.mayStart(i, at + 30_000, 8, READ)).toBe(false);
    conflicts.leave(i, at, 64 * KiB, WRITE);
  }
  expect([conflicts.rows, conflicts.capacity]).toEqual([0, 32]);
  // Enough to grow several times, of which every one is found again.
  for (let i = 0; i < 5000; i++) conflicts.enter(i % 7, i * 2 ** 33, 8, WRITE);
  for (let i = 0; i < 5000; i++)
    expect(conflicts.mayStart(i % 7, i * 2 ** 33, 8, READ)).toBe(false);
  for (let i = 0; i < 5000; i++) conflicts.leave(i % 7, i * 2 ** 33, 8, WRITE);
  expect([conflicts.rows, conflicts.capacity]).toEqual([0, 8192]);
});

test('what was not entered cannot leave', () => {
  const conflicts = new Conflicts();
  expect(() => conflicts.leave(1, 0, 8, READ)).toThrow('no such operation');
  conflicts.enter(1, 0, 8, READ);
  expect(() => conflicts.leave(1, 0, 8, WRITE)).toThrow('no such operation');
  expect(() => new Conflicts().enter(1, ADDRESS_END - 4, 8, READ)).toThrow('2^53');
  expect(() => new Conflicts().enter(1, 0, 64 * KiB + 1, READ)).toThrow('piece');
  const other = new Conflicts();
  other.enter(1, 0, 128, WRITE);
  expect(() => other.leave(1, 0, 64, WRITE)).toThrow('left lines');
});
