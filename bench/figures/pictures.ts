/**
 * The picture of a figure: our code on this machine, measured and simulated with its processor
 * times, beside models of hardware, what the text states, and our protocol where processors take no
 * time. The scales of the two columns differ by a power of ten.
 */

import type { Axis, Chart, Curve, Look } from '../plot/chart.js';
import { COLOURS, MARKERS } from '../plot/palette.js';
import { type Picture, pictureSvg } from '../plot/picture.js';
import type { Figure, FigureName, Kind, Panel, Series } from './series.js';

export const HEADINGS = {
  ours: 'Our code: measured, and simulated',
  others: 'Models, the text, our protocol alone',
} as const;

/** Of the simulator's curves those that belong beside the models: they know no processor time. */
const TIMELESS = /protocol alone/;

const LINES: Readonly<Record<Kind, Look['line']>> = {
  measured: 'solid',
  simulated: 'dashed',
  model: 'dotted',
  paper: 'none',
};

/** A second curve of the same thing: its colour with hollow markers. */
const SECOND = /, (p99)$/;
const FIRST = /, (median)$/;
/** Curves of more points are lines alone. */
const MARKERS_MOST = 24;
/** From 4 bytes to 1 MiB latency spans three decades; the models end at 4 KiB. */
const LOGARITHMIC_MEASURED: readonly FigureName[] = ['4.10', '4.11'];

/** What curves of one colour have in common. */
function subjectOf(system: string): string {
  return system.replace(SECOND, '').replace(FIRST, '');
}

/** The colour and marker of each thing in a picture; all kinds of it have the same. */
function places(series: readonly Series[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const { system } of series) {
    const subject = subjectOf(system);
    if (!found.has(subject)) found.set(subject, found.size);
  }
  return found;
}

function curveOf(series: Series, place: number): Curve {
  const { system, kind, x, y, yLow, yHigh } = series;
  const look: Look = {
    colour: COLOURS[place % COLOURS.length] as string,
    marker: MARKERS[place % MARKERS.length] as Look['marker'],
    line: LINES[kind],
    isHollow: SECOND.test(system),
    isBare: x.length > MARKERS_MOST,
  };
  const name = kind === 'simulated' || kind === 'paper' ? `${system} (${kind})` : system;
  const curve = { name, look, x, y };
  return yLow === undefined || yHigh === undefined ? curve : { ...curve, low: yLow, high: yHigh };
}

function xAxis(panel: Panel): Axis {
  const isCounted = panel.xUnit === 'label' || panel.x.includes(panel.xUnit);
  const title = isCounted || panel.xUnit === 'bytes' ? panel.x : `${panel.x} (${panel.xUnit})`;
  const powers = panel.xUnit === 'bytes' ? 'bytes' : 'exponents';
  const labels = panel.labels ?? [];
  const include = panel.xScale === 'linear' ? { include: 0 } : {};
  return { title, scale: panel.xScale, powers, labels, ...include };
}

function yAxis(panel: Panel, isLogarithmic: boolean): Axis {
  const title = panel.yUnit === panel.y ? panel.y : `${panel.y} (${panel.yUnit})`;
  return { title, scale: isLogarithmic ? 'log10' : panel.yScale, include: 0 };
}

function chartOf(
  figure: Figure,
  panel: Panel,
  series: readonly Series[],
  all: ReadonlyMap<string, number>,
): Chart {
  const isMeasured = series.some(({ kind }) => kind === 'measured');
  const isLogarithmic = isMeasured && LOGARITHMIC_MEASURED.includes(figure.name);
  const curves = series.map((one) => curveOf(one, all.get(subjectOf(one.system)) ?? 0));
  return { title: panel.name, x: xAxis(panel), y: yAxis(panel, isLogarithmic), curves };
}

/** Whether a curve belongs to its figure's `place`th panel; one that names none to the first. */
export function isOf(series: Series, panel: Panel, place: number): boolean {
  return series.panel === undefined ? place === 0 : series.panel === panel.name;
}

const DRAWN: readonly Kind[] = ['measured', 'simulated', 'model', 'paper'];

/** Points that the text states lie on top of curves. */
export function inDrawingOrder(series: readonly Series[]): Series[] {
  return [...series].sort((a, b) => DRAWN.indexOf(a.kind) - DRAWN.indexOf(b.kind));
}

/** A panel of each column is drawn where it has curves. */
export function pictureOf(figure: Figure, series: readonly Series[]): Picture {
  const mine = inDrawingOrder(series.filter((one) => one.figure === figure.name));
  const all = places(mine);
  const column = (heading: string, isWanted: (series: Series) => boolean) => ({
    heading,
    charts: figure.panels.flatMap((panel, i) => {
      const shown = mine.filter((one) => isWanted(one) && isOf(one, panel, i));
      return shown.length === 0 ? [] : [chartOf(figure, panel, shown, all)];
    }),
  });
  return {
    title: `${figure.name}: ${figure.title}`,
    columns: [
      column(HEADINGS.ours, isOnThisMachine),
      column(HEADINGS.others, (one) => !isOnThisMachine(one)),
    ],
  };
}

function isOnThisMachine({ kind, system }: Series): boolean {
  return kind === 'measured' || (kind === 'simulated' && !TIMELESS.test(system));
}

export function pictureFile(name: FigureName): string {
  return `figure-${name.replace('.', '-')}.svg`;
}

export function drawn(figure: Figure, series: readonly Series[]): string {
  return pictureSvg(pictureOf(figure, series));
}
