/**
 * `npm run bench -- figures [--only 4.4,4.7] [--rounds N] [--keep] [--docs] [--redraw]`: measures
 * the figures of Clio's evaluation. `--keep` keeps each in `docs/figures.json` as soon as it has
 * been measured; `--docs` does that and then writes the page with the pictures of all figures;
 * `--redraw` writes the page from what was kept, without measuring anything.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { machine } from '../harness.js';
import { projectRoot } from '../rack.js';
import { MEASUREMENTS, measure } from './measured.js';
import { figuresPage } from './page.js';
import { drawn, pictureFile } from './pictures.js';
import { busyShare, commitOf, merged, readRecord, recordText } from './record.js';
import { FIGURE_AXES, FIGURES, type FigureName } from './series.js';
import { simulatedSeries } from './simulated.js';
import { ABOUT_CONSTANTS, constantsList, explanations } from './explanations.js';
import { measuredText } from './text.js';
import { WORDS } from './words.js';

export interface FigureOptions {
  readonly only: readonly FigureName[];
  readonly rounds: number;
  readonly keep: boolean;
  readonly docs: boolean;
  readonly redraw: boolean;
}

const RECORD = join(projectRoot(), 'docs/figures.json');

/** Throws with a sentence for people. */
export function parseFigures(argv: readonly string[]): FigureOptions {
  let only: readonly FigureName[] = FIGURES;
  let rounds = 5;
  let keep = false;
  let docs = false;
  let redraw = false;
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    if (word === '--rounds') rounds = Number(argv[(i += 1)]);
    else if (word === '--only') only = (argv[(i += 1)] ?? '').split(',').map(figureName);
    else if (word === '--keep') keep = true;
    else if (word === '--docs') keep = docs = true;
    else if (word === '--redraw') redraw = true;
    else throw new Error(`unknown: ${word}; there are --only, --rounds, --keep, --docs, --redraw`);
  }
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number');
  return { only, rounds, keep, docs, redraw };
}

function figureName(word: string): FigureName {
  const name = FIGURES.find((one) => one === word);
  if (name === undefined) throw new Error(`no figure ${word}; there are ${FIGURES.join(', ')}`);
  return name;
}

/** Whether everything went well: one figure that fails does not keep the others. */
export async function runFigures(options: FigureOptions): Promise<boolean> {
  const failed = options.redraw ? 0 : await measureAll(options);
  if (options.docs || options.redraw) await writePage();
  return failed === 0;
}

/** How many failed. */
async function measureAll({ only, rounds, keep }: FigureOptions): Promise<number> {
  const commit = commitOf(projectRoot());
  let failed = 0;
  for (const measurement of MEASUREMENTS) {
    const { figures } = measurement;
    if (!figures.some((name) => only.includes(name))) continue;
    const busyBefore = await busyShare();
    const at = new Date().toISOString();
    const start = performance.now();
    try {
      const series = await measure(measurement, rounds);
      const seconds = ((performance.now() - start) / 1000).toFixed(0);
      console.log(`\nfigure ${figures.join(' and ')}, in ${seconds} s\n${measuredText(series)}`);
      const one = { figures, at, commit, rounds, busyBefore, machine: machine(), series };
      if (keep) writeFileSync(RECORD, recordText(merged(readRecord(RECORD), [one])));
    } catch (error) {
      failed += 1;
      console.error(`figure ${figures.join(' and ')} failed:`, error);
    }
  }
  return failed;
}

/** From what was kept, now or earlier. */
async function writePage(): Promise<void> {
  const docs = join(projectRoot(), 'docs');
  const measured = readRecord(RECORD);
  const others = await simulatedSeries(FIGURES, (line) => console.error(line));
  const all = [...measured.flatMap(({ series }) => series), ...others];
  mkdirSync(join(docs, 'figures'), { recursive: true });
  for (const figure of FIGURE_AXES) {
    writeFileSync(join(docs, 'figures', pictureFile(figure.name)), drawn(figure, all));
  }
  const page = figuresPage({
    measured,
    others,
    words: (name) => {
      const { differences, ...words } = WORDS[name];
      return { ...words, differences: [...differences, ...explanations[name]] };
    },
    constants: { about: ABOUT_CONSTANTS, list: constantsList() },
  });
  writeFileSync(join(docs, 'figures.md'), page);
  console.log('wrote docs/figures.md and docs/figures/');
}
