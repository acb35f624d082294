/**
 * Events to stderr: one line of JSON each, or a line for people where one looks at a terminal. The
 * fields are described in docs/logs.md. What repeats itself too often is counted instead.
 */

import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Log, LogLevel } from '../runtime.js';

const STDERR = 2;
const RANKS: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Of one event so many are written in a window; then one at its end, with how many were not. */
const WINDOW_MS = 10_000;
const WINDOW_EVENTS_MAX = 10;
/** Events that are told apart; beyond that all windows begin anew. */
const WINDOWS_MAX = 1_000;

/** `auto`: text where stderr is a terminal. */
export type LogFormat = 'json' | 'text' | 'auto';

export interface LogOptions {
  /** Events below it are dropped. */
  readonly level: LogLevel;
  readonly format?: LogFormat;
  /** Added to every event; tells processes and threads of one terminal apart. */
  readonly role: string;
  /** Replaced in tests. */
  readonly say?: (line: string) => void;
  readonly now?: () => number;
}

type Fields = Record<string, unknown>;

interface Window {
  readonly sinceMs: number;
  written: number;
  dropped: number;
}

export function createLog(options: LogOptions): Log {
  const {
    level: least,
    format = 'auto',
    say = sayToStderr,
    now = () => performance.now(),
  } = options;
  const isText = format === 'text' || (format === 'auto' && isatty(STDERR));
  const windows = new Map<string, Window>();
  const repeats = (key: string): number => {
    const nowMs = now();
    const window = windows.get(key);
    if (window === undefined || nowMs - window.sinceMs >= WINDOW_MS) {
      if (windows.size >= WINDOWS_MAX) windows.clear();
      windows.set(key, { sinceMs: nowMs, written: 1, dropped: 0 });
      return window?.dropped ?? 0;
    }
    if (window.written >= WINDOW_EVENTS_MAX) {
      window.dropped++;
      return -1;
    }
    window.written++;
    return 0;
  };
  return {
    write(level, message, fields = {}) {
      if (RANKS[level] < RANKS[least]) return;
      const dropped = repeats(`${level} ${message}`);
      if (dropped < 0) return;
      const all = dropped === 0 ? fields : { ...fields, dropped };
      say(isText ? forPeople(level, message, options, all) : asJson(level, message, options, all));
    },
  };
}

/** Written at once, in threads too: the last words before a crash are the most wanted ones. */
function sayToStderr(line: string): void {
  try {
    writeSync(STDERR, line);
  } catch {
    // Nobody reads any more, or not fast enough: no reason to stop.
  }
}

function asJson(level: LogLevel, message: string, { role }: LogOptions, fields: Fields): string {
  const { code = 'EVENT', ...rest } = fields;
  const event = { time: new Date().toISOString(), level, role, code, message };
  return `${JSON.stringify({ ...event, ...rest, ...event }, plain)}\n`;
}

function forPeople(level: LogLevel, message: string, { role }: LogOptions, fields: Fields): string {
  const time = new Date().toISOString().slice(11, 23);
  const { code, ...others } = fields;
  const rest = Object.entries(others).map(([name, value]) => ` ${name}=${shown(value)}`);
  const shownCode = code === undefined ? '' : ` ${shown(code)}`;
  return `${time} ${level.padEnd(5)} ${role}:${shownCode} ${message}${rest.join('')}\n`;
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, plain);
}

/** JSON has neither bigints nor errors. */
function plain(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Error ? (value.stack ?? value.message) : value;
}
