/**
 * The form in which everybody hands over the curves of the figures: models of hardware, our code in
 * the simulator, our code measured, and the few points that the dissertation states in its text.
 *
 * Producers: `simulatedSeries()` in `simulated.ts`, `measuredSeries()` in `measured.ts`. What the
 * page says about each figure stands in `explanations.ts`.
 */

/** Numbers of the dissertation's figures, chapter 4. */
export const FIGURES = [
  '4.4',
  '4.5',
  '4.6',
  '4.7',
  '4.8',
  '4.10',
  '4.11',
  '4.12',
  '4.13',
  '4.14',
  '4.16',
] as const;

export type FigureName = (typeof FIGURES)[number];

/** Where a curve comes from. `paper`: single points that its text states, with their section. */
export type Kind = 'paper' | 'model' | 'simulated' | 'measured';

export interface Series {
  readonly figure: FigureName;
  /** Which of the figure's pictures, by its name in `FIGURE_AXES`; absent: the only one. */
  readonly panel?: string;
  /** Who: `RDMA`, `Clio`, `Memrack over udp`, and what of it: `RDMA, local cluster`. */
  readonly system: string;
  readonly kind: Kind;
  /** For figures with labels, the number of the label in `Panel.labels`. */
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Of the same length as `y`: where the lowest and highest, or two quantiles, lie. */
  readonly yLow?: readonly number[];
  readonly yHigh?: readonly number[];
  readonly xUnit: string;
  readonly yUnit: string;
  /** One sentence: what the curve assumes, and for a stated point its section. */
  readonly note?: string;
}

export interface Panel {
  readonly name: string;
  readonly x: string;
  readonly y: string;
  readonly xUnit: string;
  readonly yUnit: string;
  readonly xScale: 'linear' | 'log2' | 'log10' | 'labels';
  readonly yScale: 'linear' | 'log10';
  /** What stands under the axis instead of numbers; `x` of a series counts in it from 0. */
  readonly labels?: readonly string[];
}

export interface Figure {
  readonly name: FigureName;
  readonly title: string;
  readonly panels: readonly Panel[];
}

const US = { y: 'latency', yUnit: 'us' } as const;
const BY_SIZE = { x: 'request size', xUnit: 'bytes', xScale: 'log2' } as const;

const BY_CLIENTS = {
  x: 'clients',
  xUnit: 'processes',
  xScale: 'linear',
  yScale: 'linear',
} as const;

/** Read, write, read, write: what a picture shows of one access. */
export const ACCESSES = ['TLB hit', 'TLB miss', 'page fault', 'MR miss'] as const;

/** Of a request's way, in its order. */
export const STATIONS = [
  'client',
  'network',
  'network stack of the node',
  'translation',
  'memory access',
  'rest of the node',
] as const;

/** One entry per figure, in order; every series names one panel of its figure. */
export const FIGURE_AXES: readonly Figure[] = [
  {
    name: '4.4',
    title: 'Latency against the number of client processes',
    panels: ['read', 'write'].map((name) => ({
      name,
      x: 'client processes',
      xUnit: 'processes',
      xScale: 'log10',
      yScale: 'linear',
      ...US,
    })),
  },
  {
    name: '4.5',
    title: 'Latency against the number of pages and of memory regions',
    panels: [
      {
        name: 'pages',
        x: 'pages touched',
        xUnit: 'pages',
        xScale: 'log2',
        yScale: 'linear',
        ...US,
      },
      {
        name: 'regions',
        x: 'memory regions or windows',
        xUnit: 'regions',
        xScale: 'log2',
        yScale: 'linear',
        ...US,
      },
    ],
  },
  {
    name: '4.6',
    title: 'Hit, miss and first touch, 16 bytes',
    panels: ['read', 'write'].map((name) => ({
      name,
      x: 'access',
      xUnit: 'label',
      xScale: 'labels',
      yScale: 'log10',
      labels: ACCESSES,
      ...US,
    })),
  },
  {
    name: '4.7',
    title: 'Distribution of latency, 16 bytes',
    panels: ['read', 'write'].map((name) => ({
      name,
      x: 'latency',
      xUnit: 'us',
      xScale: 'log10',
      y: 'part of all requests',
      yUnit: 'quantile',
      yScale: 'linear',
    })),
  },
  {
    name: '4.8',
    title: 'Goodput against client threads, 1 KiB',
    panels: ['read, one at a time', 'write, one at a time', 'read, async', 'write, async'].map(
      (name) => ({
        name,
        x: 'client threads',
        xUnit: 'threads',
        xScale: 'log2',
        y: 'goodput',
        yUnit: 'Gbit/s',
        yScale: 'linear',
      }),
    ),
  },
  {
    name: '4.10',
    title: 'Read latency by size',
    panels: [{ name: 'read', ...BY_SIZE, ...US, yScale: 'linear' }],
  },
  {
    name: '4.11',
    title: 'Write latency by size',
    panels: [{ name: 'write', ...BY_SIZE, ...US, yScale: 'linear' }],
  },
  {
    name: '4.12',
    title: 'Allocation and freeing by size',
    panels: ['allocate', 'free'].map((name) => ({
      name,
      x: 'size',
      xUnit: 'bytes',
      xScale: 'log2',
      yScale: 'log10',
      ...US,
    })),
  },
  {
    name: '4.13',
    title: 'Retries of an allocation as memory fills',
    panels: [
      {
        name: 'retries',
        x: 'memory in use',
        xUnit: 'percent',
        xScale: 'linear',
        y: 'retries per allocation',
        yUnit: 'retries',
        yScale: 'linear',
      },
    ],
  },
  {
    name: '4.14',
    title: 'Where the time of one request goes',
    panels: ['read', 'write'].map((name) => ({
      name,
      x: 'station',
      xUnit: 'label',
      xScale: 'labels',
      yScale: 'linear',
      labels: STATIONS,
      ...US,
    })),
  },
  {
    name: '4.16',
    title: 'Image compression against the number of clients',
    panels: [
      ...['run time, by turns', 'run time, all at once'].map((name) => ({
        name,
        ...BY_CLIENTS,
        y: 'run time of a client',
        yUnit: 'ms',
      })),
      {
        name: 'waiting for memory, by turns',
        ...BY_CLIENTS,
        y: 'waiting for memory, per image',
        yUnit: 'ms',
      },
    ],
  },
];

/** Why a series does not fit its figure; undefined if it does. */
export function misfit(series: Series): string | undefined {
  const panels = FIGURE_AXES.find((figure) => figure.name === series.figure)?.panels ?? [];
  const panel = series.panel === undefined ? panels[0] : panelOf(panels, series.panel);
  const who = `${series.system}, figure ${series.figure}`;
  if (panel === undefined) return `${who}: there is no panel "${series.panel}"`;
  if (panel.xUnit !== series.xUnit || panel.yUnit !== series.yUnit) {
    return `${who}: in ${series.xUnit} and ${series.yUnit}, not ${panel.xUnit} and ${panel.yUnit}`;
  }
  const { x, y, yLow = y, yHigh = y } = series;
  if (x.length === 0) return `${who}: it is empty`;
  if ([y, yLow, yHigh].some((other) => other.length !== x.length)) {
    return `${who}: ${x.length} values of x, another number of y`;
  }
  if (![x, y, yLow, yHigh].every((values) => values.every(Number.isFinite))) {
    return `${who}: a value is no number`;
  }
  return undefined;
}

function panelOf(panels: readonly Panel[], name: string): Panel | undefined {
  return panels.find((panel) => panel.name === name);
}
