/** `memrack up`: a whole rack in the foreground, on this machine. */

import type { Command } from 'commander';
import { prepareDataFolder } from '../apps/data-folder.js';
import { LocalRack, RackFailed } from '../apps/rack-processes.js';
import { formatBytes } from '../base/units.js';
import {
  configurationOf,
  countFlag,
  say,
  type SharedFlags,
  memoryFlags,
  PLACEMENT_HELP,
  withConfig,
} from './context.js';
import { complain, Exit } from './exit.js';
import { requireOneAddress, warnIfPublic } from './listen.js';
import { refuseDoors } from './doors.js';
import { untilSignal } from './run-role.js';

interface UpFlags extends SharedFlags {
  readonly nodes?: string;
  readonly memory?: string;
  readonly pageBytes?: string;
  readonly data?: string;
  readonly port?: string;
  readonly listen?: string;
  readonly placement?: string;
  readonly nbdPort?: string;
  readonly redisPort?: string;
}

export function addUp(program: Command): void {
  withConfig(program.command('up'))
    .description('a whole rack in the foreground: controller, memory nodes and a host')
    .option('--nodes <count>', 'memory nodes (default 3)')
    .option('--memory <size>', 'what each memory node lends (default 1GiB)')
    .option('--page-bytes <size>', 'page size (default 2MiB)')
    .option('--data <folder>', 'keep metadata here; memory itself is lost when the rack ends')
    .option('--port <port>', 'of the controller and the HTTP API (default 7070; 0: any free one)')
    .option('--listen <address>', 'address to listen on (default 127.0.0.1)')
    .option('--placement <policy>', PLACEMENT_HELP)
    .option('--nbd-port <port>', 'comes with block devices, not in this version')
    .option('--redis-port <port>', 'comes with the Redis door, not in this version')
    .addHelpText('after', '\nExample:\n  memrack up --nodes 2 --memory 512MiB')
    .action(up);
}

async function up(flags: UpFlags): Promise<void> {
  refuseDoors(flags);
  const configuration = configurationOf(flags);
  const listen = flags.listen ?? configuration.listen;
  requireOneAddress(listen);
  const data = flags.data ?? configuration.data;
  const options = {
    listen,
    port: countFlag('port', flags.port ?? String(configuration.port), 0, 65_535),
    nodes: countFlag('nodes', flags.nodes ?? String(configuration.nodes), 1, 64),
    ...memoryFlags(flags, configuration),
    data: data === undefined ? undefined : prepareDataFolder(data),
    placement: flags.placement ?? configuration.placement,
  };
  warnIfPublic(listen);
  // Not before it is used: `doctor` is to run where a native package cannot be loaded.
  const { appRuntime } = await import('../apps/app-runtime.js');
  const rack = new LocalRack(appRuntime('up'), options, complain);
  const asked = untilSignal();
  let isUp: boolean;
  try {
    isUp = await Promise.race([rack.start().then(() => true), asked.then(() => false)]);
  } catch (error) {
    if (error instanceof RackFailed) throw new Exit(error.exitCode, error.message);
    throw error;
  }
  if (isUp) announce(rack, options.nodes, options.memoryBytes);
  const failure = await Promise.race([rack.failed, asked]);
  await rack.stop();
  if (failure !== undefined) throw new Exit(failure.exitCode, failure.message);
}

function announce(rack: LocalRack, nodes: number, memoryBytes: number): void {
  say(`rack is up: ${nodes} memory nodes of ${formatBytes(memoryBytes)}`);
  say(`  programs   ${rack.url}`);
  say(`  HTTP API   ${rack.httpUrl}/v1/status`);
  say(`  metrics    ${rack.httpUrl}/metrics`);
  say('Ctrl-C ends it.');
}
