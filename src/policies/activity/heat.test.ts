import { expect, test } from 'vitest';
import { HEAT_MARKS, HEAT_MEAN_MS, isHotNow, meanRate } from './heat.js';

test('a mean is the same however often it is made', () => {
  const once = meanRate(3, 1, 8_000);
  let often = 3;
  for (let i = 0; i < 80; i++) often = meanRate(often, 1, 100);
  expect(often).toBeCloseTo(once, 12);
});

test('a mean comes to the rate, never goes beyond it, and forgets it', () => {
  let mean = 0;
  for (let i = 0; i < 100; i++) {
    const before = mean;
    mean = meanRate(mean, 0.5, 1_000);
    expect(mean).toBeGreaterThan(before);
    expect(mean).toBeLessThanOrEqual(0.5);
  }
  expect(mean).toBeCloseTo(0.5, 4);
  expect(meanRate(mean, 0, HEAT_MEAN_MS)).toBeCloseTo(mean / Math.E, 12);
  expect(meanRate(1, 0, 1e9)).toBe(0);
});

test('a clock that goes back is no time', () => {
  expect(meanRate(0.25, 9, -5_000)).toBe(0.25);
  expect(meanRate(0.25, 9, 0)).toBe(0.25);
});

test('hot from the upper mark on, and until it is below the lower one', () => {
  const { hot, cold } = HEAT_MARKS;
  const between = (hot + cold) / 2;
  expect(isHotNow(false, between)).toBe(false);
  expect(isHotNow(false, hot)).toBe(true);
  expect(isHotNow(true, between)).toBe(true);
  expect(isHotNow(true, cold)).toBe(true);
  expect(isHotNow(true, cold / 2)).toBe(false);
  // What goes up and down between the marks changes nothing.
  let isHot = true;
  for (let i = 0; i < 100; i++) {
    isHot = isHotNow(isHot, i % 2 === 0 ? cold * 1.01 : hot * 0.99);
    expect(isHot).toBe(true);
  }
});
