/** Tables of bench results, for the terminal and for `docs/benchmarks.md`. */

import type { Comparison, Result, Row, Spread } from './harness.js';

export interface Report {
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rounds: number;
  readonly results: readonly Result[];
}

/**
 * The new results, and of benches that were not run those of before, if the machine and the number
 * of rounds are the same.
 */
export function merged(before: Report, report: Report, order: readonly string[]): Report {
  const facts = ({ machine, rounds }: Report) => JSON.stringify([machine, rounds]);
  const isNew = (name: string) => report.results.some(({ bench }) => bench === name);
  const kept =
    facts(before) === facts(report) ? before.results.filter(({ bench }) => !isNew(bench)) : [];
  const place = ({ bench }: Result) => order.indexOf(bench);
  const results = [...kept, ...report.results].sort((a, b) => place(a) - place(b));
  return { ...report, results };
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

/** The page with everything between its two marks replaced by the report. */
export function resultsPage(page: string, report: Report): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/benchmarks.md lacks ${BEGIN} and ${END}`);
  const facts = Object.entries({ ...report.machine, rounds: report.rounds });
  const parts = [`\n${facts.map(([key, value]) => `- ${key}: ${value}`).join('\n')}\n`];
  for (const result of report.results) parts.push(section(result));
  return page.slice(0, begin + BEGIN.length) + parts.join('\n') + page.slice(end);
}

function section(result: Result): string {
  const lines = [`### ${result.bench}`, '', `${result.what}.`, ''];
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
