/**
 * `npm run bench -- figures [--only 4.4,4.7] [--rounds N] [--docs] [--redraw]`: measures the
 * figures of Clio's evaluation. `--docs` keeps what was measured in `docs/figures.json` and writes
 * the page with the pictures of all figures; `--redraw` does so without measuring anything.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { machine } from '../harness.js';
import { projectRoot } from '../rack.js';
import { MEASUREMENTS, measure } from './measured.js';
import { figuresPage } from './page.js';
import { drawn, pictureFile } from './pictures.js';
import {
  busyShare,
  commitOf,
  type MeasuredFigures,
  merged,
  readRecord,
  recordText,
} from './record.js';
import { FIGURE_AXES, FIGURES, type FigureName } from './series.js';
import { simulatedSeries } from './simulated.js';
import { ABOUT_CONSTANTS, constantsList, explanations } from './explanations.js';
import { measuredText } from './text.js';
import { WORDS } from './words.js';

export interface FigureOptions {
  readonly only: readonly FigureName[];
  readonly rounds: number;
  readonly docs: boolean;
  readonly redraw: boolean;
}

/** Throws with a sentence for people. */
export function parseFigures(argv: readonly string[]): FigureOptions {
  let only: readonly FigureName[] = FIGURES;
  let rounds = 5;
  let docs = false;
  let redraw = false;
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    if (word === '--rounds') rounds = Number(argv[(i += 1)]);
    else if (word === '--only') only = (argv[(i += 1)] ?? '').split(',').map(figureName);
    else if (word === '--docs') docs = true;
    else if (word === '--redraw') redraw = true;
    else throw new Error(`unknown: ${word}; there are --only, --rounds, --docs and --redraw`);
  }
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number');
  return { only, rounds, docs, redraw };
}

function figureName(word: string): FigureName {
  const name = FIGURES.find((one) => one === word);
  if (name === undefined) throw new Error(`no figure ${word}; there are ${FIGURES.join(', ')}`);
  return name;
}

/** Whether everything went well: one figure that fails does not keep the others. */
export async function runFigures(options: FigureOptions): Promise<boolean> {
  const { found, failed } = options.redraw ? { found: [], failed: 0 } : await measureAll(options);
  if (options.docs || options.redraw) await writePage(found);
  return failed === 0;
}

async function measureAll({
  only,
  rounds,
}: FigureOptions): Promise<{ found: MeasuredFigures[]; failed: number }> {
  const commit = commitOf(projectRoot());
  const found: MeasuredFigures[] = [];
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
      found.push({ figures, at, commit, rounds, busyBefore, machine: machine(), series });
    } catch (error) {
      failed += 1;
      console.error(`figure ${figures.join(' and ')} failed:`, error);
    }
  }
  return { found, failed };
}

/** From what was measured now, and earlier of the other figures. */
async function writePage(found: readonly MeasuredFigures[]): Promise<void> {
  const docs = join(projectRoot(), 'docs');
  const record = join(docs, 'figures.json');
  const measured = merged(readRecord(record), found);
  const others = await simulatedSeries(FIGURES, (line) => console.error(line));
  writeFileSync(record, recordText(measured));
  // Drawn from the values as they were kept, so that `--redraw` changes nothing.
  const kept = readRecord(record);
  const all = [...kept.flatMap(({ series }) => series), ...others];
  mkdirSync(join(docs, 'figures'), { recursive: true });
  for (const figure of FIGURE_AXES) {
    writeFileSync(join(docs, 'figures', pictureFile(figure.name)), drawn(figure, all));
  }
  const page = figuresPage({
    measured: kept,
    others,
    words: (name) => {
      const { differences, ...words } = WORDS[name];
      return { ...words, differences: [...differences, ...explanations[name]] };
    },
    constants: { about: ABOUT_CONSTANTS, list: constantsList() },
  });
  writeFileSync(join(docs, 'figures.md'), page);
  console.log('wrote docs/figures.md, docs/figures.json and docs/figures/');
}
