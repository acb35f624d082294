/** `memrack controller`: the controller of a rack over several machines. */

import { hostname } from 'node:os';
import type { Command } from 'commander';
import { prepareDataFolder } from '../apps/data-folder.js';
import {
  configurationOf,
  countFlag,
  PLACEMENT_HELP,
  REBALANCING_HELP,
  say,
  type SharedFlags,
  withConfig,
  withLog,
} from './context.js';
import { warnIfPublic } from './listen.js';
import { runInForeground } from './run-role.js';

interface ControllerFlags extends SharedFlags {
  readonly listen?: string;
  readonly port?: string;
  readonly data?: string;
  readonly placement?: string;
  readonly rebalancing?: string;
}

export function addController(program: Command): void {
  withLog(withConfig(program.command('controller')))
    .description('the controller of a rack: membership, spaces, placement, the HTTP API')
    .option('--listen <address>', 'address to listen on (default 127.0.0.1)')
    .option('--port <port>', 'port (default 7070; 0: any free one)')
    .option('--data <folder>', 'keep metadata here; without it metadata ends with the process')
    .option('--placement <policy>', PLACEMENT_HELP)
    .option('--rebalancing <policy>', REBALANCING_HELP)
    .addHelpText('after', '\nExample:\n  memrack controller --listen 10.0.0.1 --data metadata')
    .action(async (flags: ControllerFlags) => {
      const configuration = configurationOf(flags);
      const listen = flags.listen ?? configuration.listen;
      const port = countFlag('port', flags.port ?? String(configuration.port), 0, 65_535);
      const data = flags.data ?? configuration.data;
      warnIfPublic(listen);
      const config = {
        listen: `tcp://${listen}:${port}`,
        placement: flags.placement ?? configuration.placement,
        rebalancing: flags.rebalancing ?? configuration.rebalancing,
        machine: hostname(),
        ...(data === undefined ? {} : { data: prepareDataFolder(data) }),
      };
      await runInForeground('controller', config, (address) => {
        const place = address.slice('tcp://'.length);
        say(`controller serves memrack://${place} and http://${place}/v1/status`);
        if (data === undefined) say('metadata is kept in memory only: --data FOLDER keeps it');
      });
    });
}
