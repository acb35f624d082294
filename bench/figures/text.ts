/** Curves for the terminal: a line each. */

import { figure } from '../report.js';
import type { Series } from './series.js';

const POINTS_MOST = 8;

/** Up to eight points of each curve, as `x: y`. */
export function measuredText(series: readonly Series[]): string {
  return series
    .map(({ figure: name, panel, system, x, y, yUnit }) => {
      const step = Math.max(1, Math.ceil(x.length / POINTS_MOST));
      const kept = x.flatMap((value, i) => (i % step === 0 ? [[value, y[i] as number]] : []));
      const points = kept.map(
        ([at, value]) => `${figure(at as number)}: ${figure(value as number)}`,
      );
      return `  ${name} ${panel ?? ''}, ${system} (${yUnit})\n    ${points.join('  ')}`;
    })
    .join('\n');
}
