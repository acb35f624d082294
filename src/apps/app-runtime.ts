/** The real runtime of our programs: it knows the files that start roles and threads. */

import { fileURLToPath } from 'node:url';
import type { LogFormat } from '../runtime/node/node-log.js';
import type { LogLevel } from '../runtime/runtime.js';
import {
  createRuntime,
  type NodeRuntime,
  type NodeRuntimeOptions,
} from '../runtime/node/create-runtime.js';

/** Of the environment, because the processes that a role starts log as it does. */
const LOG_LEVEL_VARIABLE = 'MEMRACK_LOG';
const LOG_FORMAT_VARIABLE = 'MEMRACK_LOG_FORMAT';
const LOG_LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'];
const LOG_FORMATS: readonly string[] = ['json', 'text'];

/** By default what needs attention. */
function logLevel(): LogLevel {
  const wanted = process.env[LOG_LEVEL_VARIABLE] ?? '';
  return LOG_LEVELS.includes(wanted) ? (wanted as LogLevel) : 'warn';
}

function logFormat(): LogFormat {
  const wanted = process.env[LOG_FORMAT_VARIABLE] ?? '';
  return LOG_FORMATS.includes(wanted) ? (wanted as LogFormat) : 'auto';
}

export function runtimeOptions(source: string): NodeRuntimeOptions {
  return {
    source,
    logLevel: logLevel(),
    logFormat: logFormat(),
    rolesEntry: fileURLToPath(new URL('./role.js', import.meta.url)),
    threadsEntry: fileURLToPath(new URL('./thread.js', import.meta.url)),
  };
}

export function appRuntime(source: string): NodeRuntime {
  return createRuntime(runtimeOptions(source));
}
