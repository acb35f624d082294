/**
 * A picture: charts in columns, each column with one legend for all of its charts. Without a
 * background, so that it can be read on light pages and on dark ones; all words are text.
 */

import { type Chart, chartSvg, lineSvg, type Look, markerSvg, swatchSvg } from './chart.js';
import { INK } from './palette.js';
import { element, escaped, pixels, text, widthOf } from './svg.js';

export interface Column {
  /** Stands above its charts. */
  readonly heading: string;
  readonly charts: readonly Chart[];
}

export interface Picture {
  /** For readers who do not see it. */
  readonly title: string;
  readonly columns: readonly Column[];
}

export interface LegendEntry {
  readonly name: string;
  readonly look: Look;
  readonly isBar: boolean;
  readonly x: number;
  readonly y: number;
}

export const COLUMN_WIDTH = 440;
const CHART_HEIGHT = 270;
const COLUMN_GAP = 20;
const HEADING_HEIGHT = 30;
const LEGEND_LINE = 19;
const SAMPLE_WIDTH = 22;
const LEGEND_SIZE = 11.5;
const FONT = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Arial, sans-serif';

/** One entry per name, in rows that fit into the column; places are within the column. */
export function legendOf(charts: readonly Chart[], width = COLUMN_WIDTH): LegendEntry[] {
  const entries: LegendEntry[] = [];
  const seen = new Set<string>();
  let x = 8;
  let y = LEGEND_LINE / 2;
  for (const chart of charts) {
    for (const { name, look } of chart.curves) {
      if (seen.has(name)) continue;
      seen.add(name);
      const needed = SAMPLE_WIDTH + 6 + widthOf(name, LEGEND_SIZE) + 14;
      if (x > 8 && x + needed > width) {
        x = 8;
        y += LEGEND_LINE;
      }
      entries.push({ name, look, isBar: chart.x.scale === 'labels', x, y });
      x += needed;
    }
  }
  return entries;
}

function legendHeight(entries: readonly LegendEntry[]): number {
  return Math.max(0, ...entries.map(({ y }) => y)) + LEGEND_LINE;
}

function legendSvg(entries: readonly LegendEntry[], left: number, top: number): string {
  return entries
    .map(({ name, look, isBar, x, y }) => {
      const from = left + x;
      const at = top + y;
      const words = text(from + SAMPLE_WIDTH + 6, at + 4, name, { fill: INK, size: LEGEND_SIZE });
      if (isBar) return swatchSvg(from, at, look) + words;
      const d = `M${pixels(from)} ${pixels(at)}L${pixels(from + SAMPLE_WIDTH)} ${pixels(at)}`;
      const line = look.line === 'none' ? '' : lineSvg(d, look);
      const marker = look.isBare === true ? '' : markerSvg(from + SAMPLE_WIDTH / 2, at, look);
      return line + marker + words;
    })
    .join('');
}

export function pictureSvg(picture: Picture): string {
  const columns = picture.columns.filter(({ charts }) => charts.length > 0);
  const rows = Math.max(0, ...columns.map(({ charts }) => charts.length));
  const legends = columns.map(({ charts }) => legendOf(charts));
  const legendsTop = HEADING_HEIGHT + rows * CHART_HEIGHT + 6;
  const width = columns.length * COLUMN_WIDTH + Math.max(0, columns.length - 1) * COLUMN_GAP;
  const height = legendsTop + Math.max(0, ...legends.map(legendHeight));
  const parts: string[] = [];
  for (const [i, { heading, charts }] of columns.entries()) {
    const x = i * (COLUMN_WIDTH + COLUMN_GAP);
    parts.push(text(x + 4, 18, heading, { fill: INK, size: 14, weight: 'bold' }));
    for (const [row, chart] of charts.entries()) {
      const y = HEADING_HEIGHT + row * CHART_HEIGHT;
      parts.push(chartSvg(chart, { x, y, width: COLUMN_WIDTH, height: CHART_HEIGHT - 8 }));
    }
    parts.push(legendSvg(legends[i] ?? [], x, legendsTop));
  }
  const attributes = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${pixels(width)} ${pixels(height)}`,
    width,
    height,
    'font-family': FONT,
    role: 'img',
  };
  const title = element('title', {}, escaped(picture.title));
  return `${element('svg', attributes, `\n${title}\n${parts.join('\n')}\n`)}\n`;
}
