/** What a program with remote memory took. */

import { type HistogramCounts, quantileOf } from '../../base/histogram.js';
import { formatBytes } from '../../base/units.js';
import type { FileTraffic } from '../../doors/fuse/session.js';

const PAGE_BYTES = 4096;

/** As `--report` writes it: these names are relied upon. */
export interface RunReport {
  readonly exitCode: number;
  readonly seconds: number;
  readonly localBytes: number;
  readonly peakLocalBytes: number;
  /** Of the program's, outside of its local memory, at most at a time. */
  readonly peakRemoteBytes: number;
  readonly swapBytes: number;
  readonly pagesIn: number;
  readonly pagesOut: number;
  /** Of requests, which may be for several pages, until they were answered; 0: there was none. */
  readonly pageInMeanMicros: number;
  readonly pageInP99Micros: number;
  /** Of other programs, in this swap, at most at a time. */
  readonly peakForeignBytes: number;
  /** Processes that the kernel ended because the group was at its limit. */
  readonly killed: number;
  /** Requests for pages that could not be had. */
  readonly failedReads: number;
  /** How often who serves the swap was replaced. */
  readonly takeovers: number;
}

/** Of all who have served, one after the other. */
export function sumTraffic(all: readonly FileTraffic[]): FileTraffic {
  const add = (a: HistogramCounts, b: HistogramCounts): HistogramCounts => ({
    bounds: a.bounds,
    counts: a.counts.map((count, i) => count + (b.counts[i] ?? 0)),
    sum: a.sum + b.sum,
  });
  return all.reduce(
    (sum, one) => ({
      readBytes: sum.readBytes + one.readBytes,
      writtenBytes: sum.writtenBytes + one.writtenBytes,
      failedReads: sum.failedReads + one.failedReads,
      readMicros:
        sum.readMicros.counts.length === 0 ? one.readMicros : add(sum.readMicros, one.readMicros),
    }),
    {
      readBytes: 0,
      writtenBytes: 0,
      failedReads: 0,
      readMicros: { bounds: [], counts: [], sum: 0 },
    },
  );
}

export function pagesOf(bytes: number): number {
  return Math.round(bytes / PAGE_BYTES);
}

export function meanOf({ counts, sum }: HistogramCounts): number {
  const all = counts.reduce((total, count) => total + count, 0);
  return all === 0 ? 0 : sum / all;
}

export function p99Of(histogram: HistogramCounts): number {
  const bound = quantileOf(histogram, 0.99);
  return Number.isNaN(bound) ? 0 : bound;
}

export function reportText(report: RunReport): string {
  const rows: [string, string][] = [
    [
      'local memory',
      `peak ${formatBytes(report.peakLocalBytes)} of ${formatBytes(report.localBytes)}`,
    ],
    [
      'in the rack',
      `peak ${formatBytes(report.peakRemoteBytes)} of ${formatBytes(report.swapBytes)}`,
    ],
    ['pages in', `${report.pagesIn}${timesText(report)}`],
    ['pages out', String(report.pagesOut)],
    ['of others', `peak ${formatBytes(report.peakForeignBytes)} of other programs in this swap`],
  ];
  if (report.killed > 0)
    rows.push(['killed', `${report.killed} by the kernel, for want of memory`]);
  if (report.takeovers > 0) rows.push(['takeovers', `${report.takeovers} of who serves the swap`]);
  const lines = rows.map(([name, text]) => `  ${name.padEnd(14)}${text}`);
  return [`ended with ${report.exitCode} after ${report.seconds.toFixed(1)} s`, ...lines].join(
    '\n',
  );
}

function timesText({ pagesIn, pageInMeanMicros, pageInP99Micros }: RunReport): string {
  if (pagesIn === 0) return '';
  return `; a request took ${pageInMeanMicros.toFixed(0)} us, p99 at most ${pageInP99Micros} us`;
}
