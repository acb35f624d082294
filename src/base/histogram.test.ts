import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Histogram } from './histogram.js';

test('each value is in the first bucket whose bound is not below it', () => {
  const histogram = new Histogram(1, 3);
  for (const value of [0, 1, 1.5, 2, 3, 4, 4.1, 1e12]) histogram.add(value);
  histogram.add(2, 10);
  expect(histogram.counts()).toEqual({
    bounds: [1, 2, 4],
    counts: [2, 12, 2, 2],
    sum: 15.6 + 1e12 + 20,
  });
});

test('as a search through the bounds would put it', () => {
  const value = fc.oneof(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.integer({ min: 0, max: 2 ** 22 }).map((units) => units * 1e-6),
  );
  fc.assert(
    fc.property(value, (seconds) => {
      const histogram = new Histogram(1e-6, 20);
      histogram.add(seconds);
      const { bounds, counts } = histogram.counts();
      const at = counts.indexOf(1);
      // Rounding may take a value that is a bound for one just beside it.
      expect(seconds).toBeLessThanOrEqual((bounds[at] ?? Infinity) * (1 + 1e-12));
      if (at > 0) expect(seconds).toBeGreaterThanOrEqual((bounds[at - 1] ?? 0) * (1 - 1e-12));
    }),
  );
});
