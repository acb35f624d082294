/** How a command ends: the exit codes, and what is said about a failure. */

import { CommanderError } from 'commander';
import { paint } from '../apps/terminal.js';

export const EXIT = {
  done: 0,
  failed: 1,
  /** Wrong use, or a bad configuration. */
  wrongUse: 2,
  /** Refused, or not found. */
  refused: 3,
  unreachable: 4,
  /** Of `run`, where the program itself was not run. */
  notRun: 125,
} as const;

/** Thrown by a command that has said everything itself. */
export class Exit extends Error {
  readonly code: number;

  constructor(code: number, message = '') {
    super(message);
    this.code = code;
  }
}

const CODES: Readonly<Record<string, number>> = {
  NotFound: EXIT.refused,
  Exists: EXIT.refused,
  Denied: EXIT.refused,
  Conflict: EXIT.refused,
  Busy: EXIT.refused,
  NoSpace: EXIT.refused,
  Invalid: EXIT.wrongUse,
  Unavailable: EXIT.unreachable,
};

interface Coded {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** Says what failed, why and what to do, and gives the exit code. */
export function failWith(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.wrongUse;
  if (error instanceof Exit) {
    if (error.message !== '') complain(error.message);
    return error.code;
  }
  const { name, message, code } = error as Coded;
  if (name === 'ConfigError') {
    complain(message);
    return EXIT.wrongUse;
  }
  if (name === 'MemrackError') {
    complain(message);
    return CODES[code ?? ''] ?? EXIT.failed;
  }
  if (code !== undefined || name === 'NetworkError' || name === 'MemoryError') complain(message);
  else complain(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return EXIT.failed;
}

export function complain(message: string): void {
  process.stderr.write(`${paint(process.stderr, 'red', 'memrack:')} ${message}\n`);
}
