/** The real runtime of our programs: it knows the files that start roles and threads. */

import { fileURLToPath } from 'node:url';
import type { LogLevel } from '../runtime/runtime.js';
import {
  createRuntime,
  type NodeRuntime,
  type NodeRuntimeOptions,
} from '../runtime/node/create-runtime.js';

const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'];

/** `MEMRACK_LOG=debug|info|warn|error`; by default what needs attention. */
function logLevel(): LogLevel {
  const wanted = process.env['MEMRACK_LOG'] ?? '';
  return LEVELS.includes(wanted) ? (wanted as LogLevel) : 'warn';
}

export function runtimeOptions(source: string): NodeRuntimeOptions {
  return {
    source,
    logLevel: logLevel(),
    rolesEntry: fileURLToPath(new URL('./role.js', import.meta.url)),
    threadsEntry: fileURLToPath(new URL('./thread.js', import.meta.url)),
  };
}

export function appRuntime(source: string): NodeRuntime {
  return createRuntime(runtimeOptions(source));
}
