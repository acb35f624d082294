/** What every command shares: flags, configuration, output, the connection to the rack. */

import type { Command } from 'commander';
import type { Rack } from '../apps/library.js';
import { type Column, table } from '../apps/terminal.js';
import { ConfigError } from '../base/config-error.js';
import { formatBytes, parseBytes } from '../base/units.js';
import {
  PLACEMENT_POLICY_DEFAULT,
  PLACEMENT_POLICY_NAMES,
} from '../policies/placement/placement-policies.js';
import {
  REBALANCING_POLICY_DEFAULT,
  REBALANCING_POLICY_NAMES,
} from '../policies/rebalancing/rebalancing-policies.js';
import { type Configuration, readConfiguration } from './configuration.js';

/** Of `--placement`. */
export const PLACEMENT_HELP =
  `how a memory node is chosen for new memory: ${PLACEMENT_POLICY_NAMES.join(', ')} ` +
  `(default ${PLACEMENT_POLICY_DEFAULT})`;
/** Of `--rebalancing`. */
export const REBALANCING_HELP =
  'whether regions move from full memory nodes to empty ones by themselves: ' +
  `${REBALANCING_POLICY_NAMES.join(', ')} (default ${REBALANCING_POLICY_DEFAULT})`;
const PAGES_MIN = 2;

export interface SharedFlags {
  readonly rack?: string;
  readonly config?: string;
  readonly output?: 'table' | 'json';
}

/** Adds `--config` to a command that starts something. */
export function withConfig(command: Command): Command {
  return command.option('--config <file>', 'a memrack.json; flags win over it');
}

/** Adds `--log` and `--log-level` to a command that runs roles, whose children log as it does. */
export function withLog(command: Command): Command {
  return command
    .option('--log <format>', 'json or text (default: text on a terminal)', (text) => {
      process.env['MEMRACK_LOG_FORMAT'] = oneOf('json', 'text')(text);
    })
    .option('--log-level <level>', 'debug, info, warn or error (default warn)', (text) => {
      process.env['MEMRACK_LOG'] = oneOf('debug', 'info', 'warn', 'error')(text);
    });
}

/** Adds what every command that speaks to a rack has. */
export function withRack(command: Command): Command {
  return withConfig(command).option(
    '--rack <url>',
    'address of the rack: memrack://HOST:PORT (default: MEMRACK_URL, memrack://127.0.0.1:7070)',
  );
}

/** Adds `-o table|json`. */
export function withOutput(command: Command): Command {
  return command.option('-o, --output <format>', 'table or json', oneOf('table', 'json'), 'table');
}

/** Reads a flag that takes one of some words. */
export function oneOf(...allowed: string[]): (text: string) => string {
  return (text) => {
    if (allowed.includes(text)) return text;
    throw new ConfigError('command line', [`${text} is not ${allowed.join(' or ')}`]);
  };
}

/** A flag's size in bytes; refuses what is none. */
export function sizeFlag(name: string, text: string): number {
  const bytes = parseBytes(text);
  if (bytes !== undefined && bytes > 0) return bytes;
  const problem = `--${name}: ${JSON.stringify(text)} is not a size such as 64KiB or 1GiB`;
  throw new ConfigError('command line', [problem]);
}

/** A port, from the command line or the configuration; undefined: none was given. */
export function portFlag(name: string, given: string | number | undefined): number | undefined {
  return given === undefined ? undefined : countFlag(name, String(given), 0, 65_535);
}

/** What a memory node lends, and in which pages: a node needs two of them. */
export function memoryFlags(
  flags: { readonly memory?: string; readonly pageBytes?: string },
  configuration: Configuration,
): { readonly memoryBytes: number; readonly pageBytes: number } {
  const memory = flags.memory ?? configuration.memory;
  const memoryBytes = sizeFlag('memory', memory);
  const pageBytes = sizeFlag('page-bytes', flags.pageBytes ?? configuration.pageBytes);
  if (memoryBytes >= PAGES_MIN * pageBytes) return { memoryBytes, pageBytes };
  const least = `${PAGES_MIN} pages of ${formatBytes(pageBytes)}`;
  const problem = `--memory: ${memory} is less than ${least}, which a memory node needs`;
  throw new ConfigError('command line', [problem]);
}

/** A flag's whole number within bounds. */
export function countFlag(name: string, text: string, least: number, most: number): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (count >= least && count <= most) return count;
  const allowed = `a whole number from ${least} to ${most}`;
  const problem = `--${name}: ${JSON.stringify(text)} is not ${allowed}`;
  throw new ConfigError('command line', [problem]);
}

export function configurationOf(flags: SharedFlags): Configuration {
  return readConfiguration(flags.config);
}

export function rackUrl(flags: SharedFlags): string {
  const fromEnvironment = process.env['MEMRACK_URL'];
  if (flags.rack !== undefined) return flags.rack;
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  return configurationOf(flags).rack;
}

/** Runs `work` with a connection that is closed afterwards, however it went. */
export async function withConnection(
  flags: SharedFlags,
  work: (rack: Rack) => Promise<void>,
): Promise<void> {
  const { timeoutMs, poll } = configurationOf(flags);
  // Not before it is used: `doctor` is to run where a native package cannot be loaded.
  const { connect } = await import('../apps/library.js');
  const rack = await connect(rackUrl(flags), { timeoutMs, poll });
  try {
    await work(rack);
  } finally {
    await rack.close();
  }
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Prints rows as a table or as a JSON array. */
export function printRows<Row>(
  flags: SharedFlags,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): void {
  if (flags.output === 'json') say(JSON.stringify(rows, null, 2));
  else process.stdout.write(table(rows, columns));
}
