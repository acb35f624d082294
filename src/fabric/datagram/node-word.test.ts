import { expect, test } from 'vitest';
import { LIFE_MS, NodeWord } from './node-word.js';

test('only answers to datagrams sent after the incarnation was learned are believed', () => {
  const word = new NodeWord();
  const first = word.number(0);
  const second = word.number(1);
  expect(word.mayBelieve(first)).toBe(true);
  word.adopt(7, 1, 2);
  expect([word.mayBelieve(first), word.mayBelieve(second)]).toEqual([false, false]);
  const third = word.number(2);
  expect(word.mayBelieve(third)).toBe(true);
  expect(word.mayBelieve(third + 1)).toBe(false);
  expect(word.sentAt(third)).toBe(2);
  expect([word.answered(third), word.answered(third)]).toEqual([true, false]);
});

test('a number that was sent long ago is as good as none', () => {
  const word = new NodeWord();
  const first = word.number(5);
  for (let i = 0; i < 8191; i++) word.number(6);
  expect(word.sentAt(first)).toBe(5);
  word.number(7);
  expect(word.sentAt(first)).toBeUndefined();
  expect(word.mayBelieve(first)).toBe(false);
});

test('what is answered makes room for others, what may still be answered does not', () => {
  const word = new NodeWord();
  const waiting: number[] = [];
  for (let i = 0; i < 300; i++) {
    const number = word.number(i);
    if (i % 3 === 0) waiting.push(number);
    else word.answered(number);
  }
  for (const number of waiting) expect(word.sentAt(number)).toBe(number);
  // A second later none of them is waited for: no more is remembered than before.
  for (let i = 0; i < 100_000; i++) word.answered(word.number(2000 + i));
  expect(waiting.map((number) => word.sentAt(number))).toEqual(waiting.map(() => undefined));
  expect(word.sentAt(2 ** 32 - 1)).toBeUndefined();
});

test('a deadline has passed when the node has said so, whatever the time here', () => {
  const word = new NodeWord();
  word.adopt(7, 1, 2);
  expect(word.hasPassed(0)).toBe(false);
  word.heardClock(1000, 50);
  const deadline = word.deadline(60);
  expect(deadline).toBe(1000 + 10 + LIFE_MS);
  expect(word.hasPassed(deadline)).toBe(false);
  word.heardClock(deadline - 1, 1e9);
  expect(word.hasPassed(deadline)).toBe(false);
  // An answer that was overtaken takes nothing back.
  word.heardClock(deadline, 1e9);
  word.heardClock(deadline - 500, 1e9);
  expect(word.hasPassed(deadline)).toBe(true);
});

test('the clock wraps', () => {
  const word = new NodeWord();
  word.heardClock(2 ** 32 - 100, 0);
  const deadline = word.deadline(0);
  expect(deadline).toBe(LIFE_MS - 100);
  expect(word.hasPassed(deadline)).toBe(false);
  word.heardClock(LIFE_MS - 101, 1);
  expect(word.hasPassed(deadline)).toBe(false);
  word.heardClock(LIFE_MS - 100, 1);
  expect(word.hasPassed(deadline)).toBe(true);
});

test('of another incarnation the clock may be behind', () => {
  const word = new NodeWord();
  word.heardClock(90_000, 0);
  word.forgetClock();
  expect(word.hasPassed(5)).toBe(false);
  word.heardClock(10, 5);
  expect([word.deadline(5), word.hasPassed(10), word.hasPassed(11)]).toEqual([
    10 + LIFE_MS,
    true,
    false,
  ]);
});
