import { expect, test } from 'vitest';
import { MessageType } from '../wire/messages.js';
import { SLOW_MAX, Waits } from './waits.js';

test('all are counted by cause, and the last slow ones kept', () => {
  let ms = 1000;
  const waits = new Waits({ now: () => ms, wall: () => ms + 5000 });
  waits.note('call', 999, MessageType.Alloc, 7);
  expect(waits.slow).toEqual([]);
  ms = 1010;
  waits.note('memory', 1000, MessageType.Write, 8);
  const kept = { atMs: 6010, cause: 'memory', type: 'Write', client: 8, waitedMs: 10 };
  expect(waits.slow).toEqual([kept]);
  const count = (counts: readonly number[]) => counts.reduce((sum, one) => sum + one, 0);
  const { memory, call, reader } = waits.seconds;
  expect([memory, call, reader].map(({ counts }) => count(counts))).toEqual([1, 1, 0]);
  expect(call.sum).toBeCloseTo(0.001, 9);
  for (let i = 0; i < SLOW_MAX; i++) waits.note('reader', 0, MessageType.Read, i);
  expect(waits.slow).toHaveLength(SLOW_MAX);
  expect(waits.slow.at(-1)?.client).toBe(SLOW_MAX - 1);
  expect(waits.slow).not.toContainEqual(kept);
});
