/**
 * Single points that the dissertation's text states in figures, and what was published with Clio's
 * artifact (Documentation/asplos-ae.md of github.com/WukLab/Clio). Nothing is read off pictures.
 */

import type { FigureName, Series } from './series.js';

const SIZES = [4, 64, 256, 1_024, 4_096];

interface Point {
  readonly figure: FigureName;
  readonly panel?: string;
  readonly system: string;
  readonly x: number | readonly number[];
  readonly y: number | readonly number[];
  readonly xUnit: string;
  readonly yUnit: string;
  readonly note: string;
}

const FAULT = 2;
const HIT = 0;
const FAULT_US = 16_800;
const FAULT_FACTOR = 14_100;

const LINE_RATE = 'the most that their testbed gives (4.7.1); drawn over all numbers of threads';
const ARTIFACT = "published with Clio's artifact, not in the text";

const POINTS: readonly Point[] = [
  ...['read', 'write'].map((panel) => ({
    figure: '4.4' as const,
    panel,
    system: 'Clio, artifact',
    x: [1, 1_000],
    y: panel === 'read' ? [2.0, 2.0] : [1.9, 1.9],
    xUnit: 'processes',
    yUnit: 'us',
    note: `${ARTIFACT}: flat from 1 to 1,000 processes, about 2.0 us read and 1.9 us written`,
  })),
  {
    figure: '4.5',
    panel: 'pages',
    system: 'Clio, artifact',
    x: [1, 2 ** 22],
    y: [2.02, 2.15],
    xUnit: 'pages',
    yUnit: 'us',
    note: `${ARTIFACT}: the lowest and the highest of reads over 2^0 to 2^22 pages`,
  },
  {
    figure: '4.6',
    panel: 'read',
    system: 'RDMA, stated',
    x: [HIT, FAULT],
    y: [FAULT_US / FAULT_FACTOR, FAULT_US],
    xUnit: 'label',
    yUnit: 'us',
    note: 'a page fault takes 16.8 ms (4.4.3), 14,100 times an access without (4.2.2)',
  },
  {
    figure: '4.8',
    panel: 'read, async',
    system: 'Clio, stated',
    x: [1, 16],
    y: [9.4, 9.4],
    xUnit: 'threads',
    yUnit: 'Gbit/s',
    note: LINE_RATE,
  },
  {
    figure: '4.8',
    panel: 'write, async',
    system: 'Clio, stated',
    x: [1, 16],
    y: [9.4, 9.4],
    xUnit: 'threads',
    yUnit: 'Gbit/s',
    note: LINE_RATE,
  },
  {
    figure: '4.10',
    system: 'Clio, artifact',
    x: SIZES,
    y: [2.03, 2.21, 2.71, 4.7, 10.1],
    xUnit: 'bytes',
    yUnit: 'us',
    note: ARTIFACT,
  },
  {
    figure: '4.11',
    system: 'Clio, artifact',
    x: SIZES,
    y: [1.87, 2.28, 2.46, 3.19, 10.3],
    xUnit: 'bytes',
    yUnit: 'us',
    note: ARTIFACT,
  },
  {
    figure: '4.12',
    panel: 'allocate',
    system: 'Clio, physical pages, stated',
    x: 2 ** 22,
    y: 20,
    xUnit: 'bytes',
    yUnit: 'us',
    note: 'less than 20 us (4.7.1)',
  },
  {
    figure: '4.13',
    system: 'Clio, stated',
    x: [50, 100],
    y: [0, 60],
    xUnit: 'percent',
    yUnit: 'retries',
    note: 'none below half, at most 60 when close to full (4.4.2, 4.7.1)',
  },
  {
    figure: '4.14',
    panel: 'read',
    system: 'Clio, stated',
    x: 0,
    y: 0.25,
    xUnit: 'label',
    yUnit: 'us',
    note: 'CLib adds 250 ns in total (4.7.1)',
  },
];

export function statedSeries(): Series[] {
  return POINTS.map(({ x, y, ...rest }) => ({
    ...rest,
    kind: 'paper',
    x: typeof x === 'number' ? [x] : x,
    y: typeof y === 'number' ? [y] : y,
  }));
}
