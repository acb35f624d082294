/** Events to stderr: one line of JSON each, or a line for people where one looks at a terminal. */

import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Log, LogLevel } from '../runtime.js';

const STDERR = 2;
const RANKS: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface LogOptions {
  /** Events below it are dropped. */
  readonly level: LogLevel;
  /** Added to every event; tells processes and threads of one terminal apart. */
  readonly source: string;
}

export function createLog(options: LogOptions): Log {
  const lowest = RANKS[options.level];
  const format = isatty(STDERR) ? forPeople : asJson;
  return {
    write(level, message, fields = {}) {
      if (RANKS[level] >= lowest) say(format(level, message, options, fields));
    },
  };
}

/** Written at once, in threads too: the last words before a crash are the most wanted ones. */
function say(line: string): void {
  try {
    writeSync(STDERR, line);
  } catch {
    // Nobody reads any more, or not fast enough: no reason to stop.
  }
}

type Fields = Record<string, unknown>;

function asJson(level: LogLevel, message: string, options: LogOptions, fields: Fields): string {
  const event = { at: new Date().toISOString(), level, source: options.source, message };
  return `${JSON.stringify({ ...fields, ...event }, plain)}\n`;
}

function forPeople(level: LogLevel, message: string, options: LogOptions, fields: Fields): string {
  const time = new Date().toISOString().slice(11, 23);
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${shown(value)}`);
  return `${time} ${level.padEnd(5)} ${options.source}: ${message}${rest.join('')}\n`;
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, plain);
}

/** JSON has neither bigints nor errors. */
function plain(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Error ? (value.stack ?? value.message) : value;
}
