/**
 * Axes: where a value lies, which ticks an axis has, and what is written at them. An axis of labels
 * has a band of the same width for each.
 */

export type ScaleKind = 'linear' | 'log2' | 'log10' | 'labels';

export interface Tick {
  readonly value: number;
  readonly label: string;
}

export interface Scale {
  readonly kind: ScaleKind;
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly Tick[];
  /** 0 at the beginning of the axis, 1 at its end. */
  readonly at: (value: number) => number;
}

const TICKS_MOST = 8;
/** Of a linear axis, as a part of its largest value: labels have six digits. */
const LEAST_SPAN = 1e-3;

/** Numbers as people read them at an axis: `0.5`, `20`, `1,000`, `20 k`, `4 M`. */
export function tickLabel(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${trimmed(value / 1e9)} G`;
  if (size >= 1e6) return `${trimmed(value / 1e6)} M`;
  if (size >= 1e4) return `${trimmed(value / 1e3)} k`;
  if (size >= 1e3) return trimmed(value).replace(/(\d)(\d{3})$/, '$1,$2');
  return trimmed(value);
}

function trimmed(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** Powers of two of bytes: `4 B`, `1 KiB`, `64 MiB`. */
export function bytesLabel(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(value) / 10)));
  return `${trimmed(value / 2 ** (10 * power))} ${units[power]}`;
}

/** A power of two by its exponent, for axes that are read so: `2⁸`. */
export function powerLabel(value: number): string {
  const exponent = Math.log2(value);
  if (!Number.isInteger(exponent)) return tickLabel(value);
  return `2${[...String(exponent)].map((digit) => SUPERSCRIPTS[digit] ?? digit).join('')}`;
}

const SUPERSCRIPTS: Readonly<Record<string, string>> = {
  '-': '⁻',
  ...Object.fromEntries([...'⁰¹²³⁴⁵⁶⁷⁸⁹'].map((sign, digit) => [String(digit), sign])),
};

export interface ScaleOptions {
  readonly kind: ScaleKind;
  /** For axes with labels alone. */
  readonly labels?: readonly string[];
  /** What a linear axis shows in any case: mostly 0, because parts of an axis make differences. */
  readonly include?: number;
  /** Of powers of two: bytes are read as KiB, counts as powers. */
  readonly powers?: 'bytes' | 'exponents';
}

/** An axis over all these values; those that a logarithm cannot show (0 and less) are left out. */
export function scaleOf(values: readonly number[], options: ScaleOptions): Scale {
  const { kind, labels = [], include, powers = 'exponents' } = options;
  if (kind === 'labels') return labelScale(labels);
  if (kind === 'linear') return linearScale(include === undefined ? values : [...values, include]);
  const shown = values.filter((value) => value > 0);
  if (kind === 'log2') return log2Scale(shown, powers === 'bytes' ? bytesLabel : powerLabel);
  return log10Scale(shown);
}

/** Whether a value can be drawn on the axis at all. */
export function isShown(scale: Scale, value: number): boolean {
  const isLog = scale.kind === 'log2' || scale.kind === 'log10';
  return Number.isFinite(value) && (!isLog || value > 0);
}

/** The middle of the label's band. */
function labelScale(labels: readonly string[]): Scale {
  const count = Math.max(1, labels.length);
  const ticks = labels.map((label, value) => ({ value, label }));
  return { kind: 'labels', min: 0, max: count, ticks, at: (value) => (value + 0.5) / count };
}

function extent(values: readonly number[], otherwise: number): [number, number] {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  return min > max ? [otherwise, otherwise] : [min, max];
}

/** The round step (1, 2 or 5 times a power of ten) with at most this many ticks over `span`. */
export function niceStep(span: number, most = TICKS_MOST): number {
  const rough = span / (most - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((one) => one * power >= rough * (1 - 1e-9)) ?? 10;
  return factor * power;
}

function linearScale(values: readonly number[]): Scale {
  const [low, high] = extent(values, 0);
  const size = Math.max(Math.abs(low), Math.abs(high));
  // Steps that are small against the values would have labels alike, and smaller ones no end.
  const span = high > low ? Math.max(high - low, LEAST_SPAN * size) : Math.max(1, size);
  const step = niceStep(span, TICKS_MOST - 1);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  const ticks: Tick[] = [];
  for (let i = first; i <= last; i += 1) {
    ticks.push({ value: i * step, label: tickLabel(i * step) });
  }
  const min = first * step;
  const max = last * step;
  return { kind: 'linear', min, max, ticks, at: (value) => (value - min) / (max - min) };
}

function logAt(min: number, max: number): (value: number) => number {
  return (value) => Math.log(value / min) / Math.log(max / min);
}

/** Whole powers of two at both ends; ticks at every power, or every second, third, ... */
function log2Scale(values: readonly number[], label: (value: number) => string): Scale {
  const [low, high] = extent(values, 1);
  const first = Math.floor(Math.log2(low) + 1e-9);
  const last = Math.max(first + 1, Math.ceil(Math.log2(high) - 1e-9));
  const stride = Math.ceil((last - first + 1) / TICKS_MOST);
  const ticks: Tick[] = [];
  for (let exponent = first; exponent <= last; exponent += stride) {
    ticks.push({ value: 2 ** exponent, label: label(2 ** exponent) });
  }
  return { kind: 'log2', min: 2 ** first, max: 2 ** last, ticks, at: logAt(2 ** first, 2 ** last) };
}

/** Ends at 1, 2 or 5 times a power of ten; below two decades these are ticks, too. */
function log10Scale(values: readonly number[]): Scale {
  const [low, high] = extent(values, 1);
  const marks: number[] = [];
  const firstPower = Math.floor(Math.log10(low) + 1e-9);
  const lastPower = Math.ceil(Math.log10(high) - 1e-9);
  for (let power = firstPower; power <= lastPower; power += 1) {
    for (const factor of [1, 2, 5]) marks.push(Number((factor * 10 ** power).toPrecision(3)));
  }
  marks.push(Number((10 ** (lastPower + 1)).toPrecision(3)));
  const from = marks.filter((mark) => mark <= low * (1 + 1e-9)).length - 1;
  const to = Math.max(
    from + 1,
    marks.findIndex((mark) => mark >= high * (1 - 1e-9)),
  );
  const within = marks.slice(Math.max(0, from), to + 1);
  const min = within[0] as number;
  const max = within.at(-1) as number;
  const isNarrow = within.length <= TICKS_MOST;
  const isDecade = (mark: number): boolean => Number.isInteger(Number(Math.log10(mark).toFixed(9)));
  const kept = within.filter((mark) => isNarrow || isDecade(mark));
  const ticks = kept.map((value) => ({ value, label: tickLabel(value) }));
  return { kind: 'log10', min, max, ticks, at: logAt(min, max) };
}
