/** `memrack memory-node`: lends this machine's memory to a rack. */

import { hostname } from 'node:os';
import type { Command } from 'commander';
import { ConfigError } from '../base/config-error.js';
import { formatBytes } from '../base/units.js';
import {
  configurationOf,
  countFlag,
  say,
  type SharedFlags,
  memoryFlags,
  withConfig,
} from './context.js';
import { Exit, EXIT } from './exit.js';
import { joinAddress, requireOneAddress, warnIfPublic } from './listen.js';
import { runInForeground } from './run-role.js';

interface MemoryNodeFlags extends SharedFlags {
  readonly join?: string;
  readonly memory?: string;
  readonly pageBytes?: string;
  readonly listen?: string;
  readonly port?: string;
  readonly id?: string;
  readonly replace?: boolean;
  readonly persistent?: string;
}

export function addMemoryNode(program: Command): void {
  withConfig(program.command('memory-node'))
    .description("lends this machine's memory to a rack")
    .option('--join <address>', 'HOST:PORT of the controller')
    .option('--memory <size>', 'how much to lend (default 1GiB)')
    .option('--page-bytes <size>', 'page size, a power of two (default 2MiB)')
    .option('--listen <address>', 'address to listen on (default 127.0.0.1)')
    .option('--port <port>', 'port (default: any free one)')
    .option('--id <name>', 'name in the rack (default: made from the name of the machine)')
    .option('--replace', 'the memory that had this name is gone for good: its contents are lost')
    .option('--persistent <file>', 'comes with persistent memory, not in this version')
    .addHelpText('after', '\nExample:\n  memrack memory-node --join 10.0.0.1:7070 --memory 8GiB')
    .action(memoryNode);
}

async function memoryNode(flags: MemoryNodeFlags): Promise<void> {
  if (flags.persistent !== undefined) {
    const message = '--persistent is not available in this version yet: leave it out to lend DRAM';
    throw new Exit(EXIT.failed, message);
  }
  const configuration = configurationOf(flags);
  const join = flags.join ?? configuration.join;
  if (join === undefined) {
    throw new ConfigError('command line', ['--join: name the controller as HOST:PORT']);
  }
  const listen = flags.listen ?? configuration.listen;
  requireOneAddress(listen);
  const { memoryBytes, pageBytes } = memoryFlags(flags, configuration);
  const port = countFlag('port', flags.port ?? '0', 0, 65_535);
  const id = flags.id ?? configuration.id ?? `${machineName()}-${process.pid}`;
  warnIfPublic(listen);
  const config = {
    id,
    join: [joinAddress(join)],
    listen: `tcp://${listen}:${port}`,
    machine: hostname(),
    replace: flags.replace ?? false,
    memoryBytes,
    pageBytes,
  };
  await runInForeground('supervisor', config, (address) => {
    say(`memory node ${id} lends ${formatBytes(memoryBytes)} at ${address}`);
  });
}

/** The name of the machine with only what a name in the rack may have. */
export function machineName(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 40);
  return /^[A-Za-z0-9]/.test(name) ? name : `node-${name}`;
}
