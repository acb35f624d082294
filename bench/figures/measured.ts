/**
 * The figures measured: real processes of a rack on this machine, over loopback and over shared
 * memory, rounds of the links in turn. Rack on the first core, clients on the second.
 */

import { allocationBySize, retriesWhileFilling } from './measure/allocation.js';
import { byPagesAndWindows, hitAndMiss } from './measure/by-place.js';
import { readsAndWritesBySize } from './measure/by-size.js';
import { byClients } from './measure/crowd.js';
import { distribution } from './measure/distribution.js';
import { goodput } from './measure/goodput.js';
import { imageCompression } from './measure/images.js';
import { breakdown } from './measure/stations.js';
import { type FigureName, misfit, type Series } from './series.js';

export interface Measurement {
  readonly figures: readonly FigureName[];
  readonly run: (rounds: number) => Promise<Series[]>;
}

/** Some figures come out of one run. */
export const MEASUREMENTS: readonly Measurement[] = [
  { figures: ['4.4'], run: byClients },
  { figures: ['4.5'], run: byPagesAndWindows },
  { figures: ['4.6'], run: hitAndMiss },
  { figures: ['4.7'], run: distribution },
  { figures: ['4.8'], run: goodput },
  { figures: ['4.10', '4.11'], run: readsAndWritesBySize },
  { figures: ['4.12'], run: allocationBySize },
  { figures: ['4.13'], run: retriesWhileFilling },
  { figures: ['4.14'], run: breakdown },
  { figures: ['4.16'], run: imageCompression },
];

/** Its curves, each of which fits its figure. */
export async function measure({ run }: Measurement, rounds: number): Promise<Series[]> {
  const series = await run(rounds);
  for (const one of series) {
    const wrong = misfit(one);
    if (wrong !== undefined) throw new Error(wrong);
  }
  return series;
}
