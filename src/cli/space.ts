/** `memrack space create|list|remove`: address spaces. */

import type { Command } from 'commander';
import { formatBytes } from '../base/units.js';
import type { ConnectOptions, SpaceOptions } from '../apps/library.js';
import { MemrackError } from '../client/error.js';
import {
  oneOf,
  printRows,
  say,
  type SharedFlags,
  sizeFlag,
  withConnection,
  withOutput,
  withRack,
} from './context.js';

interface CreateFlags extends SharedFlags {
  readonly kind: string;
  readonly pageBytes?: string;
}

export function addSpace(program: Command): void {
  const space = program.command('space').description('address spaces: create, list, remove');
  space.addHelpText('after', '\nExample:\n  memrack space create photos');
  withOutput(withRack(space.command('create')))
    .description('make an address space')
    .argument('<name>')
    .option('--kind <kind>', 'dram; persistent comes later', oneOf('dram', 'persistent'), 'dram')
    .option('--page-bytes <size>', "page size (default: that of the rack's memory nodes)")
    .addHelpText('after', '\nExample:\n  memrack space create photos')
    .action(create);
  withOutput(withRack(space.command('list')))
    .description('all address spaces')
    .addHelpText('after', '\nExample:\n  memrack space list -o json')
    .action((flags: SharedFlags) =>
      withConnection(flags, async (rack) => {
        printRows(flags, await rack.spaces(), [
          { title: 'name', value: ({ name }) => name },
          { title: 'kind', value: ({ kind }) => kind },
          { title: 'pages', value: (row) => formatBytes(row.pageBytes), isNumber: true },
          { title: 'regions', value: ({ regions }) => String(regions), isNumber: true },
          { title: 'state', value: ({ state }) => state },
        ]);
      }),
    );
  withOutput(withRack(space.command('remove')))
    .description('remove an address space and everything in it')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  memrack space remove photos')
    .action((name: string, flags: SharedFlags) =>
      withConnection(flags, async (rack) => {
        await rack.removeSpace(name);
        say(flags.output === 'json' ? JSON.stringify({ name }) : `removed ${name}`);
      }),
    );
}

async function create(name: string, flags: CreateFlags & ConnectOptions): Promise<void> {
  await withConnection(flags, async (rack) => {
    const known = await rack.spaces();
    // The name of one whose removal waits for a node that is away is free.
    if (known.some((space) => space.name === name && space.state !== 'removing')) {
      throw new MemrackError('Exists', `there is a space ${name} already`);
    }
    const options: SpaceOptions = {
      create: true,
      kind: flags.kind as 'dram',
      ...(flags.pageBytes === undefined
        ? {}
        : { pageBytes: sizeFlag('page-bytes', flags.pageBytes) }),
    };
    const space = await rack.space(name, options);
    const facts = { name, id: space.id, pageBytes: space.pageBytes };
    if (flags.output === 'json') say(JSON.stringify(facts));
    else say(`created ${name} with pages of ${formatBytes(space.pageBytes)}`);
  });
}
