import { afterEach, expect, test } from 'vitest';
import { fabricFaults } from '../planted.js';
import { BUCKET_MS, ChangeRecord, deadlineOf, RECORD_ROWS, Verdict } from './record.js';

afterEach(() => {
  fabricFaults.rowDroppedEarly = false;
});

function add(record: ChangeRecord, id: number, deadline: number, now: number): number {
  const row = record.enter(1, 2, 3, id, deadline, now);
  if (row >= 0) record.setResult(row, 5, id, -id);
  return row;
}

const has = (record: ChangeRecord, id: number, deadline: number) =>
  record.find(1, 2, 3, id, deadline) >= 0;

test('what was entered is found by all of its key, and by nothing else', () => {
  const record = new ChangeRecord({ rows: 8, seed: 9 });
  expect(record.find(1, 2, 3, 4, 100)).toBe(-1);
  const row = record.enter(0xfffffff1, 2, 0x80000003, 0xffffffff, 1100, 200);
  record.setResult(row, 7, -5, 6);
  const find = record.find.bind(record);
  expect(find(0xfffffff1, 2, 0x80000003, 0xffffffff, 1100)).toBe(row);
  expect(find(0xfffffff1 | 0, 2, 0x80000003 | 0, -1, 1100)).toBe(row);
  expect([record.status(row), record.low(row), record.high(row)]).toEqual([7, -5, 6]);
  expect(find(0xfffffff0, 2, 0x80000003, 0xffffffff, 1100)).toBe(-1);
  expect(find(0xfffffff1, 3, 0x80000003, 0xffffffff, 1100)).toBe(-1);
  expect(find(0xfffffff1, 2, 0x80000002, 0xffffffff, 1100)).toBe(-1);
  expect(find(0xfffffff1, 2, 0x80000003, 0xfffffffe, 1100)).toBe(-1);
  // Of the same bucket, and of another one in the same place of the wheel.
  expect(find(0xfffffff1, 2, 0x80000003, 0xffffffff, 1101)).toBe(-1);
  expect(find(0xfffffff1, 2, 0x80000003, 0xffffffff, 1100 + 1024 * BUCKET_MS)).toBe(-1);
});

test('nothing goes before its deadline: a full record says so', () => {
  const record = new ChangeRecord({ rows: 4, seed: 1 });
  for (let id = 0; id < 4; id++) expect(add(record, id, 1000 + id, 500)).toBeGreaterThanOrEqual(0);
  expect(record.makeRoom(500)).toBe(false);
  expect(add(record, 9, 1001, 500)).toBe(-1);
  expect(record.rows).toBe(4);
  // The bucket's last deadline is 1023: none of it goes before.
  expect(record.makeRoom(1022)).toBe(false);
  expect(has(record, 0, 1000)).toBe(true);
  expect(record.makeRoom(1023)).toBe(true);
  expect(record.rows).toBe(0);
  expect(has(record, 0, 1000)).toBe(false);
});

test('what has passed is kept as long as there is room, then goes by the bucket', () => {
  const record = new ChangeRecord({ rows: 8, seed: 1 });
  // Two buckets of four, entered in no order.
  for (const id of [4, 0, 5, 1, 6, 2, 7, 3]) add(record, id, id < 4 ? 1000 + id : 1100 + id, 500);
  for (let id = 0; id < 8; id++) expect(has(record, id, id < 4 ? 1000 + id : 1100 + id)).toBe(true);
  expect(record.verdict(900)).toBe(Verdict.NEVER);
  add(record, 8, 9000, 8500);
  expect(record.rows).toBe(5);
  expect(has(record, 3, 1003)).toBe(false);
  expect(has(record, 4, 1104)).toBe(true);
  // Up to the end of the bucket that was forgotten nothing is known any more.
  expect(record.verdict(900)).toBe(Verdict.LATE);
  expect(record.verdict(1023)).toBe(Verdict.LATE);
  expect(record.verdict(1024)).toBe(Verdict.NEVER);
});

test('a bucket makes way for the one that comes to its place half a minute later', () => {
  const record = new ChangeRecord({ rows: 64, seed: 1 });
  const turn = 1024 * BUCKET_MS;
  add(record, 1, 1000, 500);
  add(record, 2, 1100, 500);
  add(record, 3, 1000 + turn, 500 + turn);
  expect([has(record, 1, 1000), has(record, 2, 1100), has(record, 3, 1000 + turn)]).toEqual([
    false,
    true,
    true,
  ]);
  expect(record.verdict(1000)).toBe(Verdict.LATE);
  expect(record.rows).toBe(2);
});

test('rows are used again, and are found under their new keys only', () => {
  const record = new ChangeRecord({ rows: 4, seed: 3 });
  for (let round = 0; round < 50; round++) {
    const at = 1000 + round * 200;
    for (let i = 0; i < 4; i++) add(record, round * 4 + i, at + i, at - 100);
    for (let i = 0; i < 4; i++) expect(has(record, round * 4 + i, at + i)).toBe(true);
    for (let i = 0; i < 4 && round > 0; i++) {
      expect(has(record, round * 4 - 4 + i, at - 200 + i)).toBe(false);
    }
  }
  expect(record.rows).toBe(4);
});

test('a deadline of the wire is told where the clock wraps, on either side', () => {
  const wrap = 2 ** 32;
  expect(deadlineOf(300, wrap - 200)).toBe(wrap + 300);
  expect(deadlineOf(0xffffff00, wrap + 100)).toBe(wrap - 256);
  expect(deadlineOf(5, 5 * wrap + 5)).toBe(5 * wrap + 5);
  const record = new ChangeRecord({ rows: 4, seed: 3 });
  const now = wrap - 200;
  add(record, 1, deadlineOf(0xffffffff, now), now);
  add(record, 2, deadlineOf(0, now), now);
  // Asked again behind the wrap.
  expect(has(record, 1, deadlineOf(0xffffffff, wrap + 50))).toBe(true);
  expect(has(record, 2, deadlineOf(0, wrap + 50))).toBe(true);
  expect(has(record, 2, 0)).toBe(false);
});

test('memory is taken when it is first needed, and never more', () => {
  const record = new ChangeRecord({ seed: 1 });
  expect(record.find(1, 2, 3, 4, 5)).toBe(-1);
  expect(record.makeRoom(0)).toBe(true);
  expect(record.bytes).toBeLessThan(30_000);
  add(record, 1, 500, 0);
  const { bytes } = record;
  expect(bytes).toBeGreaterThan(RECORD_ROWS * 40);
  expect(bytes).toBeLessThan(RECORD_ROWS * 64);
  for (let id = 2; id < 100_000; id++) add(record, id, 500, 0);
  expect(record.bytes).toBe(bytes);
});

test('with the bug planted a row goes before its deadline', () => {
  const record = new ChangeRecord({ rows: 64, seed: 1 });
  fabricFaults.rowDroppedEarly = true;
  for (let id = 0; id < 40; id++) add(record, id, 1000 + id, 500);
  expect(has(record, 0, 1000)).toBe(false);
});
