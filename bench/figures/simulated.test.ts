import { expect, test } from 'vitest';
import { constantsList, explanations } from './explanations.js';
import { FIGURES, misfit } from './series.js';
import { simulatedSeries } from './simulated.js';
import { statedSeries } from './stated.js';

test('curves of models, of the simulator and of the text fit their figures', async () => {
  const names = ['4.10', '4.11', '4.13', '4.14'] as const;
  const series = await simulatedSeries(names);
  for (const name of names) {
    const kinds = new Set(series.filter(({ figure }) => figure === name).map(({ kind }) => kind));
    expect([...kinds].sort(), name).toEqual(['model', 'paper', 'simulated']);
  }
  expect(series.every(({ figure }) => names.some((name) => name === figure))).toBe(true);
});

test('what is stated fits, and names its source', () => {
  for (const series of statedSeries()) {
    expect(misfit(series)).toBeUndefined();
    expect(series.note).toMatch(/\b4\.\d\.\d\b|artifact/);
  }
});

test('the same curves come out again', async () => {
  expect(await simulatedSeries(['4.14'])).toEqual(await simulatedSeries(['4.14']));
});

test('every figure is explained, and every constant has a source', () => {
  for (const name of FIGURES) expect(explanations[name].length, name).toBeGreaterThan(0);
  for (const constant of constantsList())
    expect(constant).toMatch(/, (stated|derived|fitted|assumed); .{3,}/);
});
