/**
 * All curves that need no quiet machine: the models', our code's in the simulator, and the points
 * that are stated. The same on every machine and in every run.
 */

import { MODEL_FIGURES } from './models.js';
import { OUR_FIGURES } from './rack-in-simulator.js';
import { FIGURES, type FigureName, misfit, type Series } from './series.js';
import { statedSeries } from './stated.js';

/** Below two minutes of one core for all figures; `progress` is told what is under way. */
export async function simulatedSeries(
  only: readonly FigureName[] = FIGURES,
  progress: (line: string) => void = () => {},
): Promise<Series[]> {
  const isWanted = (figure: FigureName): boolean => only.includes(figure);
  // Read and write latency by size come out of one run.
  const isRun = (name: string): boolean =>
    isWanted(name as FigureName) || (name === '4.10' && isWanted('4.11'));
  const all = statedSeries();
  for (const [who, figures] of [
    ['models', MODEL_FIGURES],
    ['Memrack in the simulator', OUR_FIGURES],
  ] as const) {
    for (const [name, make] of Object.entries(figures)) {
      if (!isRun(name)) continue;
      progress(`figure ${name}, ${who}`);
      all.push(...(await make()));
    }
  }
  const wanted = all.filter(({ figure }) => isWanted(figure));
  for (const series of wanted) {
    const wrong = misfit(series);
    if (wrong !== undefined) throw new Error(wrong);
  }
  return wanted;
}
