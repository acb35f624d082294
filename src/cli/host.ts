/** `memrack host`: a using machine's process, where doors run. */

import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ConfigError } from '../base/config-error.js';
import { isSecured, type NbdTlsFiles } from '../client/host.js';
import { NBD_PORT_DEFAULT, nbdUrl } from '../client/options.js';
import type { RunningHost } from '../doors/host.js';
import {
  configurationOf,
  portFlag,
  type SharedFlags,
  say,
  withConfig,
  withLog,
} from './context.js';
import { type DoorFlags, refuseDoors } from './doors.js';
import { joinAddress, requireOneAddress, warnIfPublic } from './listen.js';
import { machineName } from './memory-node.js';
import { nbdTlsFiles, withNbdTls } from './nbd-tls-flags.js';
import { runInForeground } from './run-role.js';

interface HostFlags extends SharedFlags, DoorFlags, NbdTlsFiles {
  readonly join?: string;
  readonly listen?: string;
  readonly id?: string;
  readonly nbdPort?: string;
  readonly files?: string;
}

export function addHost(program: Command): void {
  withNbdTls(withLog(withConfig(program.command('host'))))
    .description('the process of a using machine: joins the rack and serves block devices over NBD')
    .option('--join <address>', 'HOST:PORT of the controller')
    .option('--listen <address>', 'address to listen on (default 127.0.0.1)')
    .option('--id <name>', 'name in the rack (default: made from the name of the machine)')
    .option('--nbd-port <port>', 'of the NBD door (default 10809; 0: any free one)')
    .option('--files <folder>', 'a folder where devices are files (takes root)')
    .option('--redis-port <port>', 'comes with the Redis door, not in this version')
    .addHelpText('after', '\nExample:\n  memrack host --join 10.0.0.1:7070')
    .action(async (flags: HostFlags) => {
      refuseDoors(flags);
      const configuration = configurationOf(flags);
      const join = flags.join ?? configuration.join;
      if (join === undefined) {
        throw new ConfigError('command line', ['--join: name the controller as HOST:PORT']);
      }
      const listen = flags.listen ?? configuration.listen;
      requireOneAddress(listen);
      warnIfPublic(listen);
      const nbdPort =
        portFlag('nbd-port', flags.nbdPort ?? configuration.nbdPort) ?? NBD_PORT_DEFAULT;
      const id = flags.id ?? configuration.id ?? `${machineName()}-host-${process.pid}`;
      const tls = nbdTlsFiles(flags, configuration);
      const config = {
        id,
        join: [joinAddress(join)],
        listen: `tcp://${listen}:0`,
        machine: hostname(),
        nbd: `tcp://${listen}:${nbdPort}`,
        ...tls,
        ...filesOf(flags.files ?? configuration.files),
      };
      await runInForeground('host', config, (_address, running) => {
        const { nbd = '', files } = running as RunningHost;
        say(`host ${id} serves block devices at ${nbdUrl(nbd, isSecured(tls))}`);
        if (files !== undefined) say(`and as files in ${files}`);
      });
    });
}

function filesOf(folder: string | undefined): { readonly files?: string } {
  return folder === undefined ? {} : { files: resolve(folder) };
}
