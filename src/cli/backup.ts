/** `memrack backup FILE`, `memrack restore FILE --data DIR`: the metadata of a rack as one file. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { prepareDataFolder } from '../apps/data-folder.js';
import { formatBytes } from '../base/units.js';
import { say, type SharedFlags, withOutput, withRack } from './context.js';
import { Exit, EXIT } from './exit.js';
import { fetchFromController } from './operator.js';

interface RestoreFlags extends SharedFlags {
  readonly data: string;
}

export function addBackup(program: Command): void {
  withOutput(withRack(program.command('backup')))
    .description('keep the metadata of a running rack (spaces, regions, files) in a new file')
    .argument('<file>')
    .addHelpText('after', '\nExample:\n  memrack backup /var/backups/rack-monday')
    .action(backup);
  withOutput(program.command('restore'))
    .description('put the metadata of a back-up where a controller that is started next finds it')
    .argument('<file>')
    .requiredOption('--data <folder>', 'what the controller is started with; without a database')
    .addHelpText('after', '\nExample:\n  memrack restore /var/backups/rack-monday --data /srv/rack')
    .action(restore);
}

/** It needs native packages, which other commands can do without. */
const files = () => import('../apps/backup-file.js');

async function backup(path: string, flags: SharedFlags): Promise<void> {
  const { encodeBackup, writeBackup } = await files();
  const bytes = encodeBackup(await fetchFromController(flags, '/v1/backup'), new Date());
  try {
    writeBackup(path, bytes);
  } catch (error) {
    throw refused(`${path} cannot be written`, error, 'name a new file in a folder that is there');
  }
  if (flags.output === 'json') say(JSON.stringify({ file: resolve(path), bytes: bytes.length }));
  else say(`kept the metadata in ${path} (${formatBytes(bytes.length)})`);
}

async function restore(path: string, flags: RestoreFlags): Promise<void> {
  const { decodeBackup, restoreMetadata } = await files();
  let file: Buffer;
  try {
    file = readFileSync(path);
  } catch (error) {
    throw refused(`${path} cannot be read`, error, 'name a file of memrack backup');
  }
  const found = decodeBackup(file);
  if (typeof found === 'string') throw new Exit(EXIT.refused, `${path} cannot be used: ${found}`);
  const folder = prepareDataFolder(flags.data);
  try {
    await restoreMetadata(folder, found);
  } catch (error) {
    throw refused(`${path} was not restored`, error, 'nothing was changed');
  }
  const { madeAt } = found;
  if (flags.output === 'json') say(JSON.stringify({ data: folder, madeAt }));
  else {
    say(`restored the metadata of ${madeAt} to ${folder}`);
    say('start the controller on it: it asks all its nodes before it decides anything');
  }
}

function refused(what: string, error: unknown, remedy: string): Exit {
  const why = error instanceof Error ? error.message : String(error);
  return new Exit(EXIT.refused, `${what}: ${why}; ${remedy}`);
}
