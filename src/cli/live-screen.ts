/**
 * A text that is shown again and again in the same place. On a terminal it takes a screen of its
 * own, which is given back however the process ends; elsewhere each text follows the one before.
 */

import type { Screen } from '../apps/terminal.js';

export interface LiveScreen extends Screen {
  readonly rows?: number | undefined;
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

const OWN_SCREEN = '\u001b[?1049h\u001b[?25l';
const GIVEN_BACK = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const REST_OF_LINE = '\u001b[K';
const REST_OF_SCREEN = '\u001b[J';
const COLUMNS = 80;
const ROWS = 24;

export class Live {
  readonly #screen: LiveScreen;
  readonly #redraw = (): void => this.#draw();
  readonly #giveBack = (): void => this.end();
  #lines: readonly string[] = [];
  #isOwn = false;
  #isFirst = true;

  constructor(screen: LiveScreen) {
    this.#screen = screen;
  }

  show(lines: readonly string[]): void {
    this.#lines = lines;
    if (this.#screen.isTTY === true) {
      this.#take();
      this.#draw();
      return;
    }
    this.#screen.write(`${this.#isFirst ? '' : '\n'}${lines.join('\n')}\n`);
    this.#isFirst = false;
  }

  #take(): void {
    if (this.#isOwn) return;
    this.#isOwn = true;
    this.#screen.write(OWN_SCREEN);
    this.#screen.on('resize', this.#redraw);
    process.on('exit', this.#giveBack);
  }

  /** What does not fit is left out, so that nothing ever scrolls. */
  #draw(): void {
    // A terminal without a size says 0.
    const columns = this.#screen.columns || COLUMNS;
    const rows = this.#screen.rows || ROWS;
    const shown = this.#lines.slice(0, Math.max(1, rows - 1));
    const text = shown.map((line) => `${clip(line, columns)}${REST_OF_LINE}\n`).join('');
    this.#screen.write(`${HOME}${text}${REST_OF_SCREEN}`);
  }

  /** Gives the screen back. Idempotent. */
  end(): void {
    if (!this.#isOwn) return;
    this.#isOwn = false;
    this.#screen.off('resize', this.#redraw);
    process.off('exit', this.#giveBack);
    this.#screen.write(GIVEN_BACK);
  }
}

const ESCAPES = /\u001b\[[0-9;]*m/g;

/** The first `columns` characters that are seen; colours are kept whole. */
export function clip(line: string, columns: number): string {
  let seen = 0;
  let text = '';
  let at = 0;
  for (const match of [...line.matchAll(ESCAPES), undefined]) {
    const plain = line.slice(at, match?.index ?? line.length);
    text += plain.slice(0, Math.max(0, columns - seen)) + (match?.[0] ?? '');
    seen += plain.length;
    at = (match?.index ?? 0) + (match?.[0].length ?? 0);
  }
  return text;
}
