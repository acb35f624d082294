/** Points of a figure, gathered round by round, and the curves that become of them. */

import { spread } from '../../harness.js';
import { FIGURE_AXES, type FigureName, type Series } from '../series.js';

interface Gathered {
  readonly panel: string;
  readonly system: string;
  /** From x to what each round gave. */
  readonly rounds: Map<number, number[]>;
}

/** Each point is the median of its rounds, from the lowest to the highest of them. */
export class Curves {
  readonly #figure: FigureName;
  readonly #curves = new Map<string, Gathered>();

  constructor(figure: FigureName) {
    this.#figure = figure;
  }

  /** One round's value, in the units of the figure's panel. */
  add(panel: string, system: string, x: number, value: number): void {
    const key = `${panel}/${system}`;
    let curve = this.#curves.get(key);
    if (curve === undefined) {
      curve = { panel, system, rounds: new Map() };
      this.#curves.set(key, curve);
    }
    const values = curve.rounds.get(x);
    if (values === undefined) curve.rounds.set(x, [value]);
    else values.push(value);
  }

  /** With x rising; `note` says what was measured. */
  series(note: string): Series[] {
    const panels = FIGURE_AXES.find(({ name }) => name === this.#figure)?.panels ?? [];
    return [...this.#curves.values()].map(({ panel, system, rounds }) => {
      const axes = panels.find(({ name }) => name === panel);
      if (axes === undefined) throw new Error(`figure ${this.#figure} has no panel ${panel}`);
      const points = [...rounds].sort(([a], [b]) => a - b);
      const spreads = points.map(([, values]) => spread(values));
      return {
        figure: this.#figure,
        panel,
        system,
        kind: 'measured',
        x: points.map(([x]) => x),
        y: spreads.map(({ median }) => median),
        yLow: spreads.map(({ min }) => min),
        yHigh: spreads.map(({ max }) => max),
        xUnit: axes.xUnit,
        yUnit: axes.yUnit,
        note,
      };
    });
  }
}
