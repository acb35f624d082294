/**
 * One chart: axes with their units, a grid, and curves or groups of bars, with how far each value
 * was spread as a band or as whiskers. Legends are the picture's.
 */

import { GRID, GRID_OPACITY, INK, type Marker } from './palette.js';
import { isShown, type Scale, type ScaleKind, scaleOf } from './scale.js';
import { type Attributes, element, pixels, text, widthOf } from './svg.js';

export interface Look {
  readonly colour: string;
  readonly marker: Marker;
  /** How the line is drawn; `none`: only its points. */
  readonly line: 'solid' | 'dashed' | 'dotted' | 'none';
  /** Markers that are outlines: for a second curve of one colour. */
  readonly isHollow?: boolean;
  /** Without markers: for curves of many points. */
  readonly isBare?: boolean;
}

export interface Curve {
  readonly name: string;
  readonly look: Look;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** The spread, as long as `y`. */
  readonly low?: readonly number[];
  readonly high?: readonly number[];
}

export interface Axis {
  /** What is counted, with its unit: `latency (us)`. */
  readonly title: string;
  readonly scale: ScaleKind;
  readonly labels?: readonly string[];
  readonly powers?: 'bytes' | 'exponents';
  /** As `ScaleOptions`. */
  readonly include?: number;
  /** The axis reaches at least over these, so that charts side by side can be compared. */
  readonly over?: readonly number[];
}

export interface Chart {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly curves: readonly Curve[];
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

const MARGIN = { top: 46, right: 20, left: 58 } as const;
const LINE_HEIGHT = 14;
const MARKER_RADIUS = 3.4;
const BAND_OPACITY = 0.16;
const DASHES = { solid: undefined, dashed: '7 4', dotted: '2 4', none: undefined } as const;
const TICK_SIZE = 11;
/** Of a label's band, taken by its bars. */
const BARS_SHARE = 0.8;
const BAR_WIDTH_MAX = 34;

/** Where values lie on the page. */
interface Frame {
  readonly plot: Box;
  readonly x: Scale;
  readonly y: Scale;
  readonly px: (value: number) => number;
  readonly py: (value: number) => number;
}

export function chartSvg(chart: Chart, box: Box): string {
  const frame = frameOf(chart, box);
  const isBars = chart.x.scale === 'labels';
  const marks = isBars
    ? barsSvg(chart.curves, frame)
    : chart.curves.map((curve) => curveSvg(curve, frame)).join('');
  return `<g>${titles(chart, box, frame)}${grid(frame)}${marks}</g>`;
}

function valuesOf(chart: Chart): number[] {
  return chart.curves.flatMap(({ y, low = [], high = [] }) => [...y, ...low, ...high]);
}

function frameOf(chart: Chart, box: Box): Frame {
  const width = box.width - MARGIN.left - MARGIN.right;
  const xs = [...chart.curves.flatMap((curve) => curve.x), ...(chart.x.over ?? [])];
  const x = scaleOf(xs, { ...chart.x, kind: chart.x.scale });
  const ys = [...valuesOf(chart), ...(chart.y.over ?? [])];
  const y = scaleOf(ys, { ...chart.y, kind: chart.y.scale });
  const lines = Math.max(1, ...x.ticks.map(({ label }) => wrapped(label, width, x).length));
  const foot = lines * LINE_HEIGHT + 26;
  const height = box.height - MARGIN.top - foot;
  const plot = { x: box.x + MARGIN.left, y: box.y + MARGIN.top, width, height };
  const px = (value: number): number => plot.x + x.at(value) * width;
  const py = (value: number): number => plot.y + (1 - y.at(value)) * height;
  return { plot, x, y, px, py };
}

/** Words of a label in lines that fit into its band; ticks of numbers stay in one. */
function wrapped(label: string, width: number, scale: Scale): string[] {
  if (scale.kind !== 'labels') return [label];
  const room = width / scale.max - 4;
  const lines: string[] = [];
  for (const word of label.split(' ')) {
    const last = lines.at(-1);
    const longer = last === undefined ? word : `${last} ${word}`;
    if (last !== undefined && widthOf(longer, TICK_SIZE) > room) lines.push(word);
    else lines[Math.max(0, lines.length - 1)] = longer;
  }
  return lines;
}

function titles(chart: Chart, box: Box, { plot }: Frame): string {
  const middle = plot.x + plot.width / 2;
  const bottom = box.y + box.height - 6;
  return [
    text(box.x + 4, box.y + 16, chart.title, { fill: INK, size: 13, weight: 'bold' }),
    text(box.x + 4, box.y + 36, chart.y.title, { fill: INK, size: TICK_SIZE }),
    text(middle, bottom, chart.x.title, { fill: INK, size: TICK_SIZE, anchor: 'middle' }),
  ].join('');
}

function grid({ plot, x, y, px, py }: Frame): string {
  const line: Attributes = { stroke: GRID, 'stroke-opacity': GRID_OPACITY };
  const parts: string[] = [];
  const right = plot.x + plot.width;
  const bottom = plot.y + plot.height;
  for (const { value, label } of y.ticks) {
    const at = py(value);
    parts.push(element('line', { x1: plot.x, x2: right, y1: at, y2: at, ...line }));
    const anchor = 'end';
    parts.push(text(plot.x - 6, at + 4, label, { fill: INK, size: TICK_SIZE, anchor }));
  }
  for (const { value, label } of x.ticks) {
    const at = px(value);
    if (x.kind !== 'labels') {
      parts.push(element('line', { x1: at, x2: at, y1: plot.y, y2: bottom, ...line }));
    }
    for (const [i, words] of wrapped(label, plot.width, x).entries()) {
      const from = bottom + 16 + i * LINE_HEIGHT;
      parts.push(text(at, from, words, { fill: INK, size: TICK_SIZE, anchor: 'middle' }));
    }
  }
  const axis = { stroke: INK, 'stroke-width': 1 };
  parts.push(element('line', { x1: plot.x, x2: right, y1: bottom, y2: bottom, ...axis }));
  parts.push(element('line', { x1: plot.x, x2: plot.x, y1: plot.y, y2: bottom, ...axis }));
  return parts.join('');
}

function pathOf(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${pixels(x)} ${pixels(y)}`).join('');
}

function curveSvg(curve: Curve, frame: Frame): string {
  const { look, x, y, low, high } = curve;
  const kept = x.flatMap((value, i) => {
    const isSeen = isShown(frame.x, value) && isShown(frame.y, y[i] as number);
    return isSeen ? [i] : [];
  });
  const points = kept.map((i) => [frame.px(x[i] as number), frame.py(y[i] as number)] as const);
  const parts: string[] = [];
  if (low !== undefined && high !== undefined && kept.length > 1) {
    const edge = (values: readonly number[]): (readonly [number, number])[] =>
      kept.map((i) => [frame.px(x[i] as number), edgeAt(frame, values[i] as number)] as const);
    const band = `${pathOf([...edge(high), ...edge(low).reverse()])}Z`;
    parts.push(element('path', { d: band, fill: look.colour, 'fill-opacity': BAND_OPACITY }));
  }
  if (look.line !== 'none' && points.length > 1) parts.push(lineSvg(pathOf(points), look));
  if (look.isBare !== true) for (const [at, up] of points) parts.push(markerSvg(at, up, look));
  return parts.join('');
}

/** What cannot be drawn on a logarithmic axis ends at its foot. */
function edgeAt(frame: Frame, value: number): number {
  return isShown(frame.y, value) ? frame.py(value) : frame.plot.y + frame.plot.height;
}

export function lineSvg(d: string, look: Look): string {
  return element('path', {
    d,
    fill: 'none',
    stroke: look.colour,
    'stroke-width': look.isHollow === true ? 1.3 : 2,
    'stroke-linejoin': 'round',
    'stroke-dasharray': DASHES[look.line],
  });
}

export function markerSvg(x: number, y: number, look: Look): string {
  const r = MARKER_RADIUS;
  const fill = look.isHollow === true ? 'none' : look.colour;
  const paint = { fill, stroke: look.colour, 'stroke-width': 1.3 };
  switch (look.marker) {
    case 'circle':
      return element('circle', { cx: x, cy: y, r, ...paint });
    case 'square':
      return element('rect', { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...paint });
    case 'triangle': {
      const top: [number, number] = [x, y - 1.2 * r];
      const d = `${pathOf([top, [x + 1.2 * r, y + r], [x - 1.2 * r, y + r]])}Z`;
      return element('path', { d, ...paint });
    }
    case 'diamond': {
      const side = 1.35 * r;
      const corners: [number, number][] = [
        [x, y - side],
        [x + side, y],
        [x, y + side],
        [x - side, y],
      ];
      return element('path', { d: `${pathOf(corners)}Z`, ...paint });
    }
    case 'cross': {
      const d = `${pathOf([
        [x - r, y - r],
        [x + r, y + r],
      ])}${pathOf([
        [x - r, y + r],
        [x + r, y - r],
      ])}`;
      return element('path', { d, fill: 'none', stroke: look.colour, 'stroke-width': 2 });
    }
  }
}

/** Groups of bars, one bar of each curve at every label that it has. */
function barsSvg(curves: readonly Curve[], frame: Frame): string {
  const band = frame.plot.width / frame.x.max;
  const width = Math.min(BAR_WIDTH_MAX, (band * BARS_SHARE) / Math.max(1, curves.length));
  const parts: string[] = [];
  for (const [place, curve] of curves.entries()) {
    const offset = (place - curves.length / 2) * width;
    for (const [i, label] of curve.x.entries()) {
      const left = frame.px(label) + offset;
      parts.push(barSvg(curve, i, { left, width }, frame));
    }
  }
  return parts.join('');
}

function barSvg(
  { look, y, low, high }: Curve,
  i: number,
  { left, width }: { left: number; width: number },
  frame: Frame,
): string {
  const value = y[i] as number;
  if (!isShown(frame.y, value)) return '';
  const foot = frame.plot.y + frame.plot.height;
  const top = frame.py(value);
  const isPlain = look.line === 'solid';
  const bar = element('rect', {
    x: left + 1,
    y: top,
    width: width - 2,
    height: foot - top,
    fill: look.colour,
    'fill-opacity': isPlain ? 0.85 : 0.35,
    stroke: look.colour,
    'stroke-dasharray': DASHES[look.line],
  });
  if (low === undefined || high === undefined) return bar;
  const middle = left + width / 2;
  const from = edgeAt(frame, low[i] as number);
  const to = edgeAt(frame, high[i] as number);
  return bar + element('line', { x1: middle, x2: middle, y1: from, y2: to, stroke: INK });
}

/** As its bars are painted, for the legend. */
export function swatchSvg(x: number, y: number, look: Look): string {
  const isPlain = look.line === 'solid';
  return element('rect', {
    x,
    y: y - 5,
    width: 22,
    height: 10,
    fill: look.colour,
    'fill-opacity': isPlain ? 0.85 : 0.35,
    stroke: look.colour,
    'stroke-dasharray': DASHES[look.line],
  });
}
