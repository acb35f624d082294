/** `memrack memory-node`: lends this machine's memory to a rack. */

import { hostname } from 'node:os';
import { resolve } from 'node:path';
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
  withLog,
} from './context.js';
import type { Configuration } from './configuration.js';
import { donorConfig, type DonorFlags } from './donor-flags.js';
import { joinAddress, requireOneAddress, warnIfPublic } from './listen.js';
import { runInForeground } from './run-role.js';

interface MemoryNodeFlags extends SharedFlags, DonorFlags {
  readonly join?: string;
  readonly memory?: string;
  readonly pageBytes?: string;
  readonly listen?: string;
  readonly port?: string;
  readonly id?: string;
  readonly replace?: boolean;
  readonly persistent?: string;
  readonly create?: boolean;
  readonly unprovenFileSystem?: boolean;
  readonly trustCopy?: boolean;
}

export function addMemoryNode(program: Command): void {
  withLog(withConfig(program.command('memory-node')))
    .description("lends this machine's memory to a rack")
    .option('--join <address>', 'HOST:PORT of the controller')
    .option('--memory <size>', 'how much to lend (default 1GiB)')
    .option('--page-bytes <size>', 'page size, a power of two (default 2MiB)')
    .option('--listen <address>', 'address to listen on (default 127.0.0.1)')
    .option('--port <port>', 'port (default: any free one)')
    .option('--id <name>', 'name in the rack (default: made from the name of the machine)')
    .option('--replace', 'the memory that had this name is gone for good: its contents are lost')
    .option('--lend-above <size>', 'lend only while the machine has so much left')
    .option('--give-back-below <size>', 'give memory back when it has less than this left')
    .option('--control-group <path>', 'watch what this control group has left')
    .option('--persistent <file>', 'lends memory that is this file, and outlives the machine')
    .option('--create', 'makes that file, empty, with all of its place on the disk')
    .option('--unproven-file-system', 'lets the file be on another file system than ext4 and xfs')
    .option('--trust-copy', 'serves an older copy of the file: what was stored since is lost')
    .addHelpText(
      'after',
      '\nExample:\n' +
        '  memrack memory-node --join 10.0.0.1:7070 --memory 8GiB\n' +
        '  memrack memory-node --join 10.0.0.1:7070 --id d1 --persistent /data/d1.mem \\\n' +
        '    --create --memory 8GiB',
    )
    .action(memoryNode);
}

async function memoryNode(flags: MemoryNodeFlags): Promise<void> {
  const configuration = configurationOf(flags);
  const join = flags.join ?? configuration.join;
  if (join === undefined) {
    throw new ConfigError('command line', ['--join: name the controller as HOST:PORT']);
  }
  const listen = flags.listen ?? configuration.listen;
  requireOneAddress(listen);
  const { memoryBytes, pageBytes } = memoryFlags(flags, configuration);
  const port = countFlag('port', flags.port ?? '0', 0, 65_535);
  const persistent = persistentOf(flags, configuration);
  const chosen = flags.id ?? configuration.id;
  if (persistent !== undefined && chosen === undefined) {
    const why = '--id: a file has a name in the rack that stays, so choose one';
    throw new ConfigError('command line', [why]);
  }
  const id = chosen ?? `${machineName()}-${process.pid}`;
  warnIfPublic(listen);
  const config = {
    id,
    join: [joinAddress(join)],
    listen: `tcp://${listen}:${port}`,
    machine: hostname(),
    replace: flags.replace ?? false,
    memoryBytes,
    pageBytes,
    ...donorConfig(flags, configuration),
    ...(persistent === undefined ? {} : { persistent }),
  };
  const lent = persistent === undefined ? formatBytes(memoryBytes) : persistent.path;
  await runInForeground('supervisor', config, (address) => {
    say(`memory node ${id} lends ${lent} at ${address}`);
  });
}

/** Undefined: it lends the memory of this machine. */
function persistentOf(flags: MemoryNodeFlags, configuration: Configuration) {
  const path = flags.persistent ?? configuration.persistent;
  const { create = false, trustCopy = false } = flags;
  if (path === undefined) {
    if (!create && !trustCopy) return undefined;
    throw new ConfigError('command line', ['--persistent: name the file that is meant']);
  }
  const unprovenFileSystem = flags.unprovenFileSystem ?? configuration.unprovenFileSystem;
  return { path: resolve(path), create, trustCopy, unprovenFileSystem };
}

/** The name of the machine with only what a name in the rack may have. */
export function machineName(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 40);
  return /^[A-Za-z0-9]/.test(name) ? name : `node-${name}`;
}
