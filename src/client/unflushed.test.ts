import { expect, test } from 'vitest';
import { REGION_BYTES } from '../wire/limits.js';
import { Unflushed } from './unflushed.js';

const PAGE = 65536;
const AT = REGION_BYTES;
const NOTHING = { written: [], forgotten: [] };

test('what was written is named once, under the opening of then', () => {
  const unflushed = new Unflushed(PAGE);
  expect(unflushed.take(AT, PAGE)).toEqual(NOTHING);
  unflushed.note(AT + PAGE - 1, 2, 5);
  unflushed.note(AT + 9 * PAGE, 8, 5);
  const written = [{ opening: 5, pages: [0, 1] }];
  expect(unflushed.take(AT, 2 * PAGE)).toEqual({ written, forgotten: [] });
  expect(unflushed.take(AT, 2 * PAGE)).toEqual(NOTHING);
  expect(unflushed.take(AT + 9 * PAGE, 1).written).toEqual([{ opening: 5, pages: [9] }]);
});

test('of each opening it is kept where something was written under it', () => {
  const unflushed = new Unflushed(PAGE);
  unflushed.note(AT, 8, 5);
  unflushed.note(AT + 3 * PAGE, 8, 6);
  unflushed.note(AT, 8, 6);
  // The region has come back to where it was.
  unflushed.note(AT + PAGE, 8, 5);
  expect(unflushed.take(AT + 3 * PAGE, 8).written).toEqual([{ opening: 6, pages: [3] }]);
  expect(unflushed.take(AT, 2 * PAGE).written).toEqual([
    { opening: 5, pages: [0, 1] },
    { opening: 6, pages: [0] },
  ]);
  expect(unflushed.take(AT, 8 * PAGE)).toEqual(NOTHING);
});

test('what could not be flushed is not forgotten', () => {
  const unflushed = new Unflushed(PAGE);
  unflushed.note(AT, 8, 5);
  unflushed.note(AT + PAGE, 8, 6);
  const taken = unflushed.take(AT, 4 * PAGE);
  unflushed.giveBack(AT, taken);
  expect(unflushed.take(AT, 4 * PAGE)).toEqual(taken);
  unflushed.note(AT + 2 * PAGE, 8, 7);
  unflushed.giveBack(AT, taken);
  unflushed.note(AT + 3 * PAGE, 8, 7);
  const { written, forgotten } = unflushed.take(AT, 4 * PAGE);
  expect(new Set(written)).toEqual(new Set([...taken.written, { opening: 7, pages: [2, 3] }]));
  expect(forgotten).toEqual([]);
});

test('a flush of nothing that has failed leaves nothing behind', () => {
  const unflushed = new Unflushed(PAGE);
  for (let i = 0; i < 8; i++) unflushed.note(AT + i * PAGE, 8, 100 + i);
  unflushed.giveBack(AT + 8 * PAGE, { written: [{ opening: 0, pages: [] }], forgotten: [] });
  const taken = unflushed.take(AT, 16 * PAGE);
  expect(taken.forgotten).toEqual([]);
  expect(taken.written).toHaveLength(8);
});

test('of more openings than are kept the oldest are taken for lost', () => {
  const unflushed = new Unflushed(PAGE);
  for (let i = 0; i < 10; i++) unflushed.note(AT + i * PAGE, 8, 100 + i);
  const taken = unflushed.take(AT, 16 * PAGE);
  expect(taken.forgotten).toEqual([0, 1]);
  expect(taken.written.map(({ opening }) => opening)).toEqual(
    [2, 3, 4, 5, 6, 7, 8, 9].map((i) => 100 + i),
  );
  unflushed.giveBack(AT, taken);
  expect(unflushed.take(AT, 2 * PAGE)).toEqual({ written: [], forgotten: [0, 1] });
  // Those that have nothing left take no place.
  for (let i = 0; i < 20; i++) {
    unflushed.note(AT, 8, 200 + i);
    expect(unflushed.take(AT, PAGE)).toMatchObject({ forgotten: [] });
  }
});
