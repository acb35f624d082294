/** `memrack up`: a whole rack in the foreground, on this machine. */

import type { Command } from 'commander';
import { prepareDataFolder } from '../apps/data-folder.js';
import type { LocalRack, RackOptions } from '../apps/rack-processes.js';
import { ConfigError } from '../base/config-error.js';
import { formatBytes } from '../base/units.js';
import type { NbdTlsFiles } from '../client/host.js';
import {
  configurationOf,
  countFlag,
  memoryFlags,
  PLACEMENT_HELP,
  portFlag,
  REBALANCING_HELP,
  type SharedFlags,
  say,
  withConfig,
  withLog,
} from './context.js';
import { donorConfig } from './donor-flags.js';
import { refuseDoors } from './doors.js';
import { complain, Exit } from './exit.js';
import { requireOneAddress, warnIfPublic } from './listen.js';
import { nbdTlsFiles, withNbdTls } from './nbd-tls-flags.js';
import { untilSignal } from './run-role.js';

interface UpFlags extends SharedFlags, NbdTlsFiles {
  readonly nodes?: string;
  readonly memory?: string;
  readonly pageBytes?: string;
  readonly data?: string;
  readonly persistentNodes?: string;
  readonly unprovenFileSystem?: boolean;
  readonly port?: string;
  readonly listen?: string;
  readonly placement?: string;
  readonly rebalancing?: string;
  readonly nbdPort?: string;
  readonly redisPort?: string;
}

export function addUp(program: Command): void {
  withNbdTls(withLog(withConfig(program.command('up'))))
    .description('a whole rack in the foreground: controller, memory nodes and a host')
    .option('--nodes <count>', 'memory nodes (default 3)')
    .option('--memory <size>', 'what each memory node lends (default 1GiB)')
    .option('--page-bytes <size>', 'page size (default 2MiB)')
    .option('--data <folder>', 'keep metadata here, and the memory of persistent nodes')
    .option('--persistent-nodes <count>', 'further nodes, whose memory is files in that folder')
    .option('--unproven-file-system', 'lets the folder be on another file system than ext4, xfs')
    .option('--port <port>', 'of the controller and the HTTP API (default 7070; 0: any free one)')
    .option('--listen <address>', 'address to listen on (default 127.0.0.1)')
    .option('--placement <policy>', PLACEMENT_HELP)
    .option('--rebalancing <policy>', REBALANCING_HELP)
    .option('--nbd-port <port>', 'of the NBD door (default 10809, or any free one; 0: any)')
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
  const persistent = flags.persistentNodes ?? String(configuration.persistentNodes);
  const persistentNodes = countFlag('persistent-nodes', persistent, 0, 16);
  if (persistentNodes > 0 && data === undefined) {
    const why = '--persistent-nodes: name the folder for their files by --data';
    throw new ConfigError('command line', [why]);
  }
  const options = {
    persistentNodes,
    unprovenFileSystem: flags.unprovenFileSystem ?? configuration.unprovenFileSystem,
    listen,
    port: countFlag('port', flags.port ?? String(configuration.port), 0, 65_535),
    nodes: countFlag('nodes', flags.nodes ?? String(configuration.nodes), 1, 64),
    ...memoryFlags(flags, configuration),
    data: data === undefined ? undefined : prepareDataFolder(data),
    placement: flags.placement ?? configuration.placement,
    rebalancing: flags.rebalancing ?? configuration.rebalancing,
    donor: donorConfig({}, configuration),
    nbdPort: portFlag('nbd-port', flags.nbdPort ?? configuration.nbdPort),
    nbdTls: nbdTlsFiles(flags, configuration),
  };
  warnIfPublic(listen);
  // Not before it is used: `doctor` is to run where a native package cannot be loaded.
  const { appRuntime } = await import('../apps/app-runtime.js');
  const { LocalRack, RackFailed } = await import('../apps/rack-processes.js');
  const rack = new LocalRack(appRuntime('up'), options, complain);
  const asked = untilSignal();
  let isUp: boolean;
  try {
    isUp = await Promise.race([rack.start().then(() => true), asked.then(() => false)]);
  } catch (error) {
    if (error instanceof RackFailed) throw new Exit(error.exitCode, error.message);
    throw error;
  }
  if (isUp) announce(rack, options);
  const failure = await Promise.race([rack.failed, asked]);
  await rack.stop();
  if (failure !== undefined) throw new Exit(failure.exitCode, failure.message);
}

function announce(rack: LocalRack, options: RackOptions): void {
  const { nodes, memoryBytes, persistentNodes, data } = options;
  say(`rack is up: ${nodes} memory nodes of ${formatBytes(memoryBytes)}`);
  if (persistentNodes > 0) say(`  on disk    ${persistentNodes} more, in ${data}`);
  say(`  programs   ${rack.url}`);
  say(`  HTTP API   ${rack.httpUrl}/v1/status`);
  say(`  metrics    ${rack.httpUrl}/metrics`);
  say(`  devices    ${rack.nbdUrl}`);
  say('Ctrl-C ends it.');
}
