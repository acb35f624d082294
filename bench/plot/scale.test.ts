import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesLabel, isShown, niceStep, powerLabel, scaleOf, tickLabel } from './scale.js';

const labelsOf = (scale: ReturnType<typeof scaleOf>) => scale.ticks.map(({ label }) => label);

describe('what is written at ticks', () => {
  it.each([
    [0, '0'],
    [0.30000000000000004, '0.3'],
    [20, '20'],
    [1000, '1,000'],
    [2500, '2,500'],
    [20_000, '20 k'],
    [4e6, '4 M'],
    [2e9, '2 G'],
    [-1500, '-1,500'],
  ])('%f is %s', (value, label) => {
    expect(tickLabel(value)).toBe(label);
  });

  it('names powers of two by bytes or by their exponent', () => {
    expect([4, 1024, 65_536, 2 ** 20, 2 ** 42].map(bytesLabel)).toEqual([
      '4 B',
      '1 KiB',
      '64 KiB',
      '1 MiB',
      '4 TiB',
    ]);
    expect([1, 16, 2 ** 18, 0.5].map(powerLabel)).toEqual(['2⁰', '2⁴', '2¹⁸', '2⁻¹']);
    expect(powerLabel(3)).toBe('3');
  });
});

describe('axes', () => {
  it('steps linear axes by 1, 2 or 5', () => {
    expect([7, 13, 60, 0.9].map((span) => niceStep(span))).toEqual([1, 2, 10, 0.2]);
    expect(labelsOf(scaleOf([3, 11], { kind: 'linear', include: 0 }))).toEqual([
      '0',
      '2',
      '4',
      '6',
      '8',
      '10',
      '12',
    ]);
  });

  it('ends axes of powers of two at whole powers, and thins their ticks', () => {
    const scale = scaleOf([4, 2 ** 20], { kind: 'log2', powers: 'bytes' });
    expect([scale.min, scale.max]).toEqual([4, 2 ** 20]);
    expect(labelsOf(scale)).toEqual([
      '4 B',
      '32 B',
      '256 B',
      '2 KiB',
      '16 KiB',
      '128 KiB',
      '1 MiB',
    ]);
    expect(scale.at(2 ** 11)).toBeCloseTo(0.5);
  });

  it('has 1, 2 and 5 on short decimal axes, and decades alone on long ones', () => {
    expect(labelsOf(scaleOf([9, 110], { kind: 'log10' }))).toEqual([
      '5',
      '10',
      '20',
      '50',
      '100',
      '200',
    ]);
    expect(labelsOf(scaleOf([1, 1e5], { kind: 'log10' }))).toEqual([
      '1',
      '10',
      '100',
      '1,000',
      '10 k',
      '100 k',
    ]);
  });

  it('leaves out what a logarithm cannot show', () => {
    const scale = scaleOf([0, 10, 100], { kind: 'log10' });
    expect(scale.min).toBe(10);
    expect(isShown(scale, 0)).toBe(false);
    expect(isShown(scale, Number.NaN)).toBe(false);
    expect(isShown(scaleOf([0, 1], { kind: 'linear' }), 0)).toBe(true);
  });

  it('puts labels in the middle of their bands', () => {
    const scale = scaleOf([], { kind: 'labels', labels: ['hit', 'miss'] });
    expect([scale.at(0), scale.at(1)]).toEqual([0.25, 0.75]);
  });

  it('has an axis without values, and one of a single value', () => {
    for (const kind of ['linear', 'log2', 'log10'] as const) {
      for (const values of [[], [7]]) {
        const scale = scaleOf(values, { kind });
        expect(scale.max).toBeGreaterThan(scale.min);
        expect(scale.ticks.length).toBeGreaterThan(1);
      }
    }
  });

  it('has a linear axis of values that hardly differ', () => {
    for (const values of [
      [1e12, 1e12 + 0.001],
      [1e6, 1e6 + 1],
      [-3e9, -3e9 + 1e-6],
    ]) {
      const scale = scaleOf(values, { kind: 'linear' });
      expect(scale.ticks.length).toBeLessThanOrEqual(8);
      expect(new Set(labelsOf(scale)).size).toBe(scale.ticks.length);
    }
  });

  it('covers all values, with few ticks in rising order within it', () => {
    const positive = fc.double({ min: 1e-3, max: 1e12, noNaN: true });
    const kinds = fc.constantFrom('linear' as const, 'log2' as const, 'log10' as const);
    const check = (values: number[], kind: 'linear' | 'log2' | 'log10') => {
      const scale = scaleOf(values, { kind });
      for (const value of values) {
        expect(scale.at(value)).toBeGreaterThanOrEqual(-1e-9);
        expect(scale.at(value)).toBeLessThanOrEqual(1 + 1e-9);
      }
      const places = scale.ticks.map(({ value }) => scale.at(value));
      expect(places).toEqual([...places].sort((a, b) => a - b));
      expect(places[0]).toBeGreaterThanOrEqual(-1e-9);
      expect(places.at(-1)).toBeLessThanOrEqual(1 + 1e-9);
      expect(places.length).toBeLessThanOrEqual(17);
      expect(new Set(labelsOf(scale)).size).toBe(places.length);
    };
    fc.assert(fc.property(fc.array(positive, { minLength: 1, maxLength: 20 }), kinds, check));
  });
});
