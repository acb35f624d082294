/** A figure measured with one round: what measures the figures for the docs still works. */

import { expect, it } from 'vitest';
import { LINKS, systemOver } from '../../bench/figures/measure/clients.js';
import { MEASUREMENTS, measure } from '../../bench/figures/measured.js';

it('measures reads and writes by size over every link', async () => {
  const bySize = MEASUREMENTS.find(({ figures }) => figures.includes('4.10'));
  const series = await measure(bySize as (typeof MEASUREMENTS)[number], 1);
  for (const figure of ['4.10', '4.11']) {
    const mine = series.filter((one) => one.figure === figure);
    expect(mine.map(({ system }) => system)).toEqual(LINKS.map(systemOver));
    for (const { kind, x, y } of mine) {
      expect(kind).toBe('measured');
      expect([x[0], x.at(-1)]).toEqual([4, 2 ** 20]);
      expect(y.every((us) => us > 0)).toBe(true);
    }
  }
});
