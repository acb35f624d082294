import { expect, test } from 'vitest';
import { IdleAreas } from './idle-areas.js';

/** How long it stays open after a write at `ms` that opens it. */
function openFor(idle: IdleAreas, ms: number): number {
  idle.opened(0, ms);
  idle.written(0, ms);
  let passed = 0;
  while (!idle.isIdle(0, ms + passed)) passed += 250;
  return passed;
}

test('an area is closed a second after the last write', () => {
  const idle = new IdleAreas(2);
  expect(openFor(idle, 5_000)).toBe(1_000);
  idle.opened(0, 40_000);
  idle.written(0, 40_900);
  expect([idle.isIdle(0, 41_800), idle.isIdle(0, 41_900)]).toEqual([false, true]);
});

test('one that is opened again soon stays open for longer each time, up to 16 s', () => {
  const idle = new IdleAreas(2);
  let ms = 5_000;
  const times = [1, 2, 3, 4, 5, 6].map(() => {
    const passed = openFor(idle, ms);
    ms += passed + 500;
    return passed;
  });
  expect(times).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 16_000]);
  // Others know nothing of it.
  idle.opened(1, ms);
  expect(idle.isIdle(1, ms + 1_000)).toBe(true);
});

test('one that was closed for long begins anew', () => {
  const idle = new IdleAreas(1);
  expect(openFor(idle, 5_000)).toBe(1_000);
  expect(openFor(idle, 7_000)).toBe(2_000);
  expect(openFor(idle, 7_000 + 32_000)).toBe(1_000);
});
