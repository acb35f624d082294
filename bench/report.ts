/** Tables of bench results, for the terminal and for `docs/benchmarks.md`. */

import type { Comparison, Result, Row, Spread } from './harness.js';

/** With what it holds for. */
export interface Recorded extends Result {
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rounds: number;
  /** Of the checkout, with `+` where files differed from it. */
  readonly commit: string;
}

/** The new results, and of benches that were not run those of before. */
export function merged(
  before: readonly Recorded[],
  fresh: readonly Recorded[],
  order: readonly string[],
): Recorded[] {
  const isOld = ({ bench }: Result) => !fresh.some((one) => one.bench === bench);
  const place = ({ bench }: Result) => order.indexOf(bench);
  return [...before.filter(isOld), ...fresh].sort((a, b) => place(a) - place(b));
}

export function figure(value: number): string {
  if (Number.isNaN(value)) return '-';
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)} G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return size >= 100 ? value.toFixed(0) : value.toFixed(2);
}

function spreadText(spread: Spread): string {
  if (Number.isNaN(spread.median)) return '-';
  return `${figure(spread.median)} (${figure(spread.min)} to ${figure(spread.max)})`;
}

function rowCells(row: Row): string[] {
  const extra = Object.entries(row.extra).map(([key, value]) => `${key} ${figure(value)}`);
  return [row.side, spreadText(row.value), spreadText(row.cpuPerOperation), extra.join(', ')];
}

function ratioCells(one: Comparison): string[] {
  const verdict = one.met === undefined ? '' : one.met ? 'met' : 'MISSED';
  return [`${one.ours} / ${one.peer}`, spreadText(one.ratio), one.goal, verdict];
}

/** Columns padded to the widest cell. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows
    .map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '))
    .map((line) => `  ${line.trimEnd()}`)
    .join('\n');
}

export function resultTable(result: Result): string {
  const head = ['', `${result.unit}: median (min to max)`, 'CPU us/op', ''];
  const lines = [`\n${result.bench}: ${result.what}`];
  lines.push(aligned([head, ...result.rows.map(rowCells)]));
  if (result.comparisons.length > 0) lines.push(aligned(result.comparisons.map(ratioCells)));
  for (const note of result.notes) lines.push(`  note: ${note}`);
  return lines.join('\n');
}

const BEGIN = '<!-- measured: begin -->';
const END = '<!-- measured: end -->';

/** The page with everything between its two marks replaced by these. */
export function resultsPage(page: string, recorded: readonly Recorded[]): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/benchmarks.md lacks ${BEGIN} and ${END}`);
  const sections = recorded.map((one) => `\n${section(one)}`);
  return `${page.slice(0, begin + BEGIN.length)}\n${sections.join('')}${page.slice(end)}`;
}

/** `AMD EPYC, 2 cores, 24 GiB, Linux 6.18.44, Node v20.20.2; 5 rounds, at 9e137cc`. */
function circumstances({ machine, rounds, commit }: Recorded): string {
  const { processor, cores, memoryGiB, kernel, node } = machine;
  const facts = [
    processor,
    `${cores} cores`,
    `${memoryGiB} GiB`,
    `Linux ${kernel}`,
    `Node ${node}`,
  ];
  return `${facts.join(', ')}; ${rounds} rounds, at ${commit}`;
}

function section(result: Recorded): string {
  const lines = [`### ${result.bench}`, '', `${result.what}.`, '', `${circumstances(result)}.`, ''];
  lines.push(`| side | ${result.unit}: median (min to max) | CPU us per operation | more |`);
  lines.push('|---|--:|--:|---|');
  for (const row of result.rows) lines.push(`| ${rowCells(row).join(' | ')} |`);
  if (result.comparisons.length > 0) {
    lines.push('', '| ratio | median (min to max) | goal | |', '|---|--:|---|---|');
    for (const one of result.comparisons) lines.push(`| ${ratioCells(one).join(' | ')} |`);
  }
  for (const note of result.notes) lines.push('', `Note: ${note}.`);
  return `${lines.join('\n')}\n`;
}
