/**
 * What people see: colours, tables, a progress bar with rate and time left. Without a terminal a
 * bar is one line per 10 %, and nothing is coloured; `NO_COLOR` is honoured.
 */

import { formatBytes } from '../base/units.js';

export interface Screen {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

const COLOURS = { red: 31, green: 32, yellow: 33, cyan: 36, dim: 2, bold: 1 } as const;
export type Colour = keyof typeof COLOURS;

/** Colours the text where the screen is a terminal and nobody has asked for none. */
export function paint(screen: Screen, colour: Colour, text: string): string {
  if (screen.isTTY !== true || (process.env['NO_COLOR'] ?? '') !== '') return text;
  return `\u001b[${COLOURS[colour]}m${text}\u001b[0m`;
}

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  /** Numbers stand to the right. */
  readonly isNumber?: boolean;
}

/** A table as text, one line per row, titles first. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => line(row, columns))];
  const widths = columns.map((_, i) => Math.max(...cells.map((cell) => cell[i]?.length ?? 0)));
  return cells
    .map((cell) => {
      const padded = cell.map((text, i) => {
        const width = widths[i] ?? 0;
        return columns[i]?.isNumber === true ? text.padStart(width) : text.padEnd(width);
      });
      return `${padded.join('  ').trimEnd()}\n`;
    })
    .join('');
}

function line<Row>(row: Row, columns: readonly Column<Row>[]): string[] {
  return columns.map(({ value }) => value(row));
}

/** `1 h 2 min`, `3 min 4 s`, `5.6 s`, `78 ms`, `9 us`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return '?';
  if (ms < 1) return `${Math.round(ms * 1000)} us`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const BAR_CELLS = 24;
const REDRAW_MS = 100;
const STEP = 0.1;

/** How far something is whose size is known: in bytes, unless `show` says otherwise. */
export class Progress {
  readonly #screen: Screen;
  readonly #label: string;
  readonly #total: number;
  readonly #show: (count: number) => string;
  #began = performance.now();
  #done = 0;
  #drawn = -Infinity;
  #step = STEP;

  constructor(screen: Screen, label: string, total: number, show = formatBytes) {
    this.#screen = screen;
    this.#label = label;
    this.#total = total;
    this.#show = show;
  }

  /** Time counts from here instead of from the making. */
  begin(): void {
    this.#began = performance.now();
  }

  add(count: number): void {
    this.#done += count;
    const now = performance.now();
    if (this.#screen.isTTY === true) {
      if (now - this.#drawn < REDRAW_MS) return;
      this.#drawn = now;
      this.#screen.write(`\r\u001b[K${this.#bar()}`);
      return;
    }
    // Without a terminal: nothing for what is over at once, a line per 10 % for the rest.
    if (now - this.#began < 1000 || this.#fraction() < this.#step) return;
    while (this.#step <= this.#fraction()) this.#step += STEP;
    this.#screen.write(`${this.#text()}\n`);
  }

  /** Takes the bar away; the caller says how it went. */
  end(): void {
    if (this.#screen.isTTY === true && this.#drawn > 0) this.#screen.write('\r\u001b[K');
  }

  #fraction(): number {
    return this.#total === 0 ? 1 : Math.min(1, this.#done / this.#total);
  }

  #text(): string {
    const passed = performance.now() - this.#began;
    const rate = passed === 0 ? 0 : (this.#done / passed) * 1000;
    const left = rate === 0 ? Infinity : ((this.#total - this.#done) / rate) * 1000;
    const percent = `${Math.floor(this.#fraction() * 100)} %`.padStart(5);
    const sizes = `${this.#show(this.#done)} of ${this.#show(this.#total)}`;
    const rest = this.#done >= this.#total ? '' : `, ${formatDuration(left)} left`;
    return `${this.#label} ${percent}  ${sizes}  ${this.#show(Math.round(rate))}/s${rest}`;
  }

  #bar(): string {
    const full = Math.round(this.#fraction() * BAR_CELLS);
    const bar = `[${'#'.repeat(full)}${'.'.repeat(BAR_CELLS - full)}]`;
    return `${bar} ${this.#text()}`.slice(0, (this.#screen.columns ?? 80) - 1);
  }
}

/** `0`, `7`, `950`, `12.3k`, `4.5M`. */
export function short(value: number): string {
  if (value < 999.5) return value > 0 && value < 9.95 ? trimmed(value) : String(Math.round(value));
  if (value < 999_500) return `${trimmed(value / 1000)}k`;
  return `${trimmed(value / 1e6)}M`;
}

function trimmed(value: number): string {
  return value.toFixed(1).replace(/\.0$/, '');
}

export function bytesASecond(bytes: number): string {
  return `${formatBytes(Math.round(bytes))}/s`;
}
