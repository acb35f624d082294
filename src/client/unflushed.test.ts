import { expect, test } from 'vitest';
import { REGION_BYTES } from '../wire/limits.js';
import { Unflushed } from './unflushed.js';

const PAGE = 65536;
const AT = REGION_BYTES;

test('what was written is named once, under the opening of then', () => {
  const unflushed = new Unflushed(PAGE);
  expect(unflushed.take(AT, PAGE)).toEqual({ opening: 0, old: [], pages: [] });
  unflushed.note(AT + PAGE - 1, 2, 5);
  unflushed.note(AT + 9 * PAGE, 8, 5);
  expect(unflushed.take(AT, 2 * PAGE)).toEqual({ opening: 5, old: [], pages: [0, 1] });
  expect(unflushed.take(AT, 2 * PAGE)).toEqual({ opening: 0, old: [], pages: [] });
  expect(unflushed.take(AT + 9 * PAGE, 1).pages).toEqual([9]);
});

test('what was written under an opening of before is told of where it was written', () => {
  const unflushed = new Unflushed(PAGE);
  unflushed.note(AT, 8, 5);
  unflushed.note(AT + 3 * PAGE, 8, 6);
  expect(unflushed.take(AT + 3 * PAGE, 8)).toEqual({ opening: 6, old: [], pages: [3] });
  expect(unflushed.take(AT, 8)).toEqual({ opening: 0, old: [0], pages: [] });
  expect(unflushed.take(AT, 8)).toEqual({ opening: 0, old: [], pages: [] });
});

test('what could not be flushed is not forgotten', () => {
  const unflushed = new Unflushed(PAGE);
  unflushed.note(AT, 8, 5);
  unflushed.note(AT + PAGE, 8, 6);
  const taken = unflushed.take(AT, 4 * PAGE);
  expect(taken).toEqual({ opening: 6, old: [0], pages: [1] });
  unflushed.giveBack(AT, taken);
  expect(unflushed.take(AT, 4 * PAGE)).toEqual(taken);
  unflushed.note(AT + 2 * PAGE, 8, 7);
  unflushed.giveBack(AT, taken);
  expect(unflushed.take(AT, 4 * PAGE)).toEqual({ opening: 7, old: [0, 1], pages: [2] });
});
