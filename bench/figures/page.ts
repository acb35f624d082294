/**
 * The page `docs/figures.md`: of each figure what the dissertation says, the picture, a table of
 * points, and why the curves differ.
 */

import { bytesLabel, powerLabel, tickLabel } from '../plot/scale.js';
import { inDrawingOrder, isOf, pictureFile } from './pictures.js';
import { BUSY_MAX, isProvisional, type MeasuredFigures, ROUNDS_MIN } from './record.js';
import { type Figure, FIGURE_AXES, type Panel, type Series } from './series.js';

/** What people say of one figure. */
export interface Words {
  /** What the dissertation shows and concludes, in our words, with its section. */
  readonly claim: string;
  /** How ours was measured. */
  readonly measured: string;
  /** What the curves show, and why they differ; paragraphs. */
  readonly differences: readonly string[];
}

export interface PageParts {
  readonly measured: readonly MeasuredFigures[];
  /** Of models, the simulator and the text. */
  readonly others: readonly Series[];
  readonly words: (name: Figure['name']) => Words;
  /** Of the models: paragraphs, and the points of a list. */
  readonly constants?: { readonly about: readonly string[]; readonly list: readonly string[] };
}

const COLUMNS_MAX = 100;

/** Words in lines that are not too long; a list's further lines are indented. */
export function wrapped(paragraph: string, indent = ''): string {
  const lines: string[] = [];
  let line = '';
  for (const word of paragraph.split(/\s+/)) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (longer.length > COLUMNS_MAX && line.trim() !== '') {
      lines.push(line);
      line = `${indent}${word}`;
    } else line = longer;
  }
  return [...lines, line].join('\n');
}

export function figuresPage({ measured, others, words, constants }: PageParts): string {
  const series = [...measured.flatMap((one) => one.series), ...others];
  const parts = [HEAD.map((paragraph) => wrapped(paragraph)).join('\n\n'), circumstances(measured)];
  for (const figure of FIGURE_AXES) {
    const mine = series.filter((one) => one.figure === figure.name);
    const run = measured.find(({ figures }) => figures.includes(figure.name));
    if (mine.length > 0) parts.push(section(figure, mine, words(figure.name), run));
  }
  if (constants !== undefined) {
    parts.push('## Constants of the models');
    parts.push(...constants.about.map((paragraph) => wrapped(paragraph)));
    parts.push(constants.list.map((point) => wrapped(`- ${point}`, '  ')).join('\n'));
  }
  return `${parts.join('\n\n')}\n`;
}

const HEAD = [
  '# The figures of Clio, from our code',
  `Clio's dissertation evaluates its hardware in section 4.7. This page has the same figures from
   our code: measured with real processes on one machine, and played in the simulator, beside models
   of RDMA and of Clio's board and beside the few figures that the dissertation's text states
   (nothing is read off its pictures). What matters is the shape: whether latency stays flat, where
   it bends, how long the tail is. The absolute times are those of different worlds: Clio's are of
   an FPGA at the end of a wire, ours are of processes that share two cores and a loopback, with the
   kernel's network stack twice on each way.`,
  '`npm run bench -- figures --docs` measures everything and writes this page, its pictures and ' +
    '`docs/figures.json`; with `--only 4.4,4.7` these figures alone, with `--redraw` it draws ' +
    'what was measured before. [Benchmarks](benchmarks.md) compares us with other software.',
  `In the pictures solid lines are measured, dashed ones simulated, dotted ones models; bare points
   are stated in the text. On the left is our code on this machine: measured, and simulated with the
   processor time that a datagram took here. On the right are the models of hardware, and our
   protocol in a simulated rack whose processors take no time. A measured point is the median of its
   rounds, in which the links take turns; its band, or its whisker, reaches from the lowest to the
   highest round. Bands of models
   and of the simulator reach from the fastest to the slowest hundredth.`,
];

const TITLES = ['figure', 'measured at', 'commit'];
const BUSY_TITLE = 'processors taken by others before';

/** Of all that was measured; what differs between figures stands in a table. */
function circumstances(measured: readonly MeasuredFigures[]): string {
  const lines = ['## Circumstances', ''];
  const [first] = measured;
  if (first === undefined) return [...lines, 'Nothing has been measured yet.'].join('\n');
  const facts = Object.entries(first.machine);
  const isSame = ([key, value]: [string, unknown]): boolean =>
    measured.every(({ machine }) => machine[key] === value);
  for (const [key, value] of facts.filter(isSame)) lines.push(`- ${key}: ${value}`);
  const differing = facts.filter((fact) => !isSame(fact)).map(([key]) => key);
  lines.push(
    '',
    wrapped(
      `Memory node on the first core, clients on the second, link by link in turn. A measurement of
       fewer than ${ROUNDS_MIN} rounds, or on a machine of which others took more than
       ${BUSY_MAX * 100} % just before, is provisional: its times are those of a crowd.`,
    ),
    '',
    `| ${[...TITLES, ...differing].join(' | ')} | rounds | ${BUSY_TITLE} | |`,
    `|${[...TITLES, ...differing].map(() => '---|').join('')}--:|--:|---|`,
  );
  for (const one of measured) {
    const { figures, at, commit, rounds, busyBefore, machine } = one;
    const verdict = isProvisional(one) ? 'provisional' : '';
    const busy = `${(busyBefore * 100).toFixed(0)} %`;
    const when = at.replace(/:\d\d\.\d+Z$/, 'Z');
    const own = differing.map((key) => String(machine[key]));
    const cells = [figures.join(', '), when, commit, ...own, rounds, busy, verdict];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

/** Said with the figure itself: who looks at one picture does not look at the circumstances. */
function standing(run: MeasuredFigures | undefined): string[] {
  if (run === undefined) return ['**Not measured yet**: the curves are of the simulator alone.'];
  if (!isProvisional(run)) return [];
  const busy = (run.busyBefore * 100).toFixed(0);
  return [
    `**Provisional**: ${run.rounds} rounds, while others took ${busy} % of the processors. What
     these times show is mostly how long a process waited for its turn; read no shape into them.`,
  ];
}

function section(
  figure: Figure,
  series: readonly Series[],
  words: Words,
  run: MeasuredFigures | undefined,
): string {
  const { name, title } = figure;
  const parts = [
    `## ${name} ${title}`,
    wrapped(`The dissertation: ${words.claim}`),
    wrapped(`Measured: ${words.measured}`),
    ...standing(run).map((paragraph) => wrapped(paragraph)),
    `![${title}](figures/${pictureFile(name)})`,
    tableOf(figure, inDrawingOrder(series)),
    ...words.differences.map((paragraph) => wrapped(paragraph)),
  ];
  const notes = new Set(
    series.flatMap(({ system, kind, note }) =>
      note === undefined || kind === 'measured' ? [] : [`${system} (${kind}): ${note}.`],
    ),
  );
  if (notes.size > 0) parts.push([...notes].map((note) => wrapped(`- ${note}`, '  ')).join('\n'));
  return parts.join('\n\n');
}

/** First, middle and last point of each curve; of labels all; of a distribution its quantiles. */
export function tableOf(figure: Figure, series: readonly Series[]): string {
  const parts: string[] = [];
  for (const [i, panel] of figure.panels.entries()) {
    const mine = series.filter((one) => isOf(one, panel, i));
    if (mine.length > 0) parts.push(panelTable(figure, panel, mine));
  }
  return parts.join('\n\n');
}

const QUANTILE_COLUMNS = [0.5, 0.9, 0.99, 0.999, 0.9999];

function panelTable(figure: Figure, panel: Panel, series: readonly Series[]): string {
  const isDistribution = figure.name === '4.7';
  const columns = isDistribution ? QUANTILE_COLUMNS : pointsOf(panel, series);
  const heads = columns.map((x) =>
    isDistribution ? `p${Number((x * 100).toFixed(2))}` : headOf(panel, x),
  );
  const unit = isDistribution ? panel.xUnit : panel.yUnit;
  const lines = [`| ${panel.name}; ${unit} | | ${heads.join(' | ')} |`];
  lines.push(`|---|---|${columns.map(() => '--:|').join('')}`);
  for (const one of series) {
    const cells = columns.map((x) => (isDistribution ? latencyAt(one, x) : valueAt(one, x)));
    lines.push(`| ${one.system} | ${one.kind} | ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

function headOf(panel: Panel, x: number): string {
  if (panel.labels !== undefined) return panel.labels[x] ?? '';
  if (panel.xUnit === 'bytes') return bytesLabel(x);
  return panel.xScale === 'log2' && x >= 64 ? powerLabel(x) : tickLabel(x);
}

const POINTS_MOST = 6;

/** Few values of x: of what was measured, or else of most curves, and the last of all. */
function pointsOf(panel: Panel, series: readonly Series[]): number[] {
  if (panel.labels !== undefined) return panel.labels.map((_, i) => i);
  const rising = (values: readonly number[]): number[] =>
    [...new Set(values)].sort((a, b) => a - b);
  const all = rising(series.flatMap(({ x }) => x));
  const measured = rising(series.flatMap(({ kind, x }) => (kind === 'measured' ? x : [])));
  const shared = all.filter(
    (value) => series.filter(({ x }) => x.includes(value)).length * 2 >= series.length,
  );
  const some = measured.length > 0 ? measured : shared.length > 2 ? shared : all;
  const last = all.at(-1) as number;
  const most = some.at(-1) === last ? POINTS_MOST : POINTS_MOST - 1;
  const step = (some.length - 1) / (most - 1);
  const kept =
    some.length <= most ? some : Array.from({ length: most }, (_, i) => some[Math.round(i * step)]);
  return rising([...(kept as number[]), last]);
}

/** Three digits, which is more than the spread allows. */
function short(value: number): string {
  if (value >= 1000) return tickLabel(Number(value.toPrecision(3)));
  return String(Number(value.toPrecision(3)));
}

function valueAt({ x, y, yLow, yHigh, kind }: Series, wanted: number): string {
  const i = x.indexOf(wanted);
  if (i < 0) return '';
  const value = short(y[i] as number);
  const [low, high] = [yLow?.[i], yHigh?.[i]];
  if (kind !== 'measured' || low === undefined || high === undefined) return value;
  return `${value} (${short(low)} to ${short(high)})`;
}

/** The latency by which this part of all requests was answered. */
function latencyAt({ x, y }: Series, part: number): string {
  const i = y.findIndex((quantile) => quantile >= part - 1e-9);
  return i < 0 ? '' : short(x[i] as number);
}
