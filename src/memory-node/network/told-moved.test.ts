import { expect, test } from 'vitest';
import { ToldMoved } from './told-moved.js';

test('who was told that a region has moved is served there again after a fence', () => {
  const told = new ToldMoved();
  told.note(1, 7, 0);
  expect([told.has(1, 7, 1), told.has(1, 8, 1), told.has(2, 7, 1)]).toEqual([true, false, false]);
  told.forget(1);
  expect([told.hasAny(1), told.has(1, 7, 1)]).toEqual([false, false]);
});

test('who makes no fence is served again after a while', () => {
  const told = new ToldMoved();
  told.note(1, 7, 0);
  expect([told.has(1, 7, 9_999), told.has(1, 7, 10_000), told.hasAny(1)]).toEqual([
    true,
    false,
    false,
  ]);
});
