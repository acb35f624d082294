/**
 * What was measured, with when and under what circumstances, as `docs/figures.json`: so that the
 * page can be drawn anew without measuring, and one figure measured anew without the others.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { FigureName, Series } from './series.js';

export interface Circumstances {
  /** The first of them, then those that came with it. */
  readonly figures: readonly FigureName[];
  /** ISO 8601, of the beginning. */
  readonly at: string;
  /** Of the checkout, with `+` where files differed from it. */
  readonly commit: string;
  readonly rounds: number;
  /** Of the machine's processors, taken by others just before; 0 to 1. */
  readonly busyBefore: number;
  readonly machine: Readonly<Record<string, string | number>>;
}

export interface MeasuredFigures extends Circumstances {
  readonly series: readonly Series[];
}

/** More rounds, and fewer strangers: else a measurement is called provisional. */
export const ROUNDS_MIN = 5;
export const BUSY_MAX = 0.1;

export function isProvisional({ rounds, busyBefore }: Circumstances): boolean {
  return rounds < ROUNDS_MIN || busyBefore > BUSY_MAX;
}

/** Those of `fresh` in place of the earlier ones of the same figures. */
export function merged(
  earlier: readonly MeasuredFigures[],
  fresh: readonly MeasuredFigures[],
): MeasuredFigures[] {
  const isReplaced = ({ figures }: MeasuredFigures): boolean =>
    fresh.some((one) => one.figures[0] === figures[0]);
  const all = [...earlier.filter((one) => !isReplaced(one)), ...fresh];
  const place = ({ figures }: MeasuredFigures): number => Number(figures[0]?.split('.')[1]);
  return all.sort((a, b) => place(a) - place(b));
}

/** Values to five digits: more is noise. */
export function recordText(all: readonly MeasuredFigures[]): string {
  const short = (_: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toPrecision(5)) : value;
  const lines = all.map(({ series, ...circumstances }) => {
    const rows = series.map((one) => `    ${JSON.stringify(one, short)}`).join(',\n');
    const head = JSON.stringify(circumstances, short).slice(0, -1);
    return `  ${head}, "series": [\n${rows}\n  ]}`;
  });
  return `[\n${lines.join(',\n')}\n]\n`;
}

export function readRecord(path: string): MeasuredFigures[] {
  if (!existsSync(path)) return [];
  return JSON.parse(readFileSync(path, 'utf8')) as MeasuredFigures[];
}

export function commitOf(root: string): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const isChanged = git('status', '--porcelain', '--', 'src', 'bench') !== '';
  return git('rev-parse', '--short=10', 'HEAD') + (isChanged ? '+' : '');
}

/** How much of all processors is taken while this process does nothing, over a second. */
export async function busyShare(): Promise<number> {
  const before = cpuTimes();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const after = cpuTimes();
  const all = after.all - before.all;
  return all === 0 ? 0 : 1 - (after.idle - before.idle) / all;
}

function cpuTimes(): { all: number; idle: number } {
  let all = 0;
  let idle = 0;
  for (const { times } of cpus()) {
    idle += times.idle;
    all += times.idle + times.user + times.sys + times.nice + times.irq;
  }
  return { all, idle };
}
