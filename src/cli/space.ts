/** `memrack space create|list|remove|adopt|regions|move`: address spaces. */

import type { Command } from 'commander';
import { formatBytes } from '../base/units.js';
import type { ConnectOptions, SpaceOptions } from '../apps/library.js';
import { MemrackError } from '../client/error.js';
import {
  countFlag,
  oneOf,
  printRows,
  say,
  type SharedFlags,
  sizeFlag,
  withConnection,
  withOutput,
  withRack,
} from './context.js';
import { askController } from './operator.js';

interface CreateFlags extends SharedFlags {
  readonly kind: string;
  readonly pageBytes?: string;
}

export function addSpace(program: Command): void {
  const space = program.command('space').description('address spaces: create, list, move, remove');
  space.addHelpText('after', '\nExample:\n  memrack space create photos');
  withOutput(withRack(space.command('create')))
    .description('make an address space')
    .argument('<name>')
    .option('--kind <kind>', 'dram, or persistent: on disks', oneOf('dram', 'persistent'), 'dram')
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
  withOutput(withRack(space.command('adopt')))
    .description('take back a space that nodes hold and the metadata does not know')
    .argument('<id>', 'its number, as status names it')
    .argument('[name]', 'what it is called from now on (default: recovered-ID)')
    .addHelpText('after', '\nExample:\n  memrack space adopt 4711 photos')
    .action(adopt);
  withOutput(withRack(space.command('regions')))
    .description('the regions of an address space, and which memory node holds each')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  memrack space regions photos')
    .action(regions);
  withOutput(withRack(space.command('move')))
    .description('move a region to another memory node, while programs go on')
    .argument('<name>', 'of the address space')
    .argument('<region>', 'its number, as `memrack space regions` shows it')
    .argument('<node>', 'the id of the memory node that is to hold it')
    .addHelpText('after', '\nExample:\n  memrack space move photos 1 node-2')
    .action(move);
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

async function adopt(id: string, name: string | undefined, flags: SharedFlags): Promise<void> {
  const body = { id: countFlag('id', id, 1, Number.MAX_SAFE_INTEGER), name: name ?? '' };
  const space = (await askController(flags, 'POST', '/v1/adopted-spaces', {
    body,
  })) as AdoptedSpace;
  if (flags.output === 'json') say(JSON.stringify(space));
  else say(`adopted ${space.name} with ${space.regions} regions`);
}

/** A region of a GiB over a slow network, and nodes that have to be waited for. */
const MOVE_TIMEOUT_MS = 10 * 60_000;

interface RegionRow {
  readonly region: number;
  readonly node: string;
  readonly epoch: number;
  readonly state: string;
}

async function regions(name: string, flags: SharedFlags): Promise<void> {
  const path = `/v1/regions?space=${encodeURIComponent(name)}`;
  printRows(flags, (await askController(flags, 'GET', path)) as RegionRow[], [
    { title: 'region', value: ({ region }) => String(region), isNumber: true },
    { title: 'node', value: ({ node }) => node },
    { title: 'epoch', value: ({ epoch }) => String(epoch), isNumber: true },
    { title: 'state', value: ({ state }) => state },
  ]);
}

async function move(name: string, region: string, to: string, flags: SharedFlags): Promise<void> {
  const number = countFlag('region', region, 0, Number.MAX_SAFE_INTEGER);
  const body = { space: name, region: number, to };
  const start = performance.now();
  await askController(flags, 'POST', '/v1/moves', { body, timeoutMs: MOVE_TIMEOUT_MS });
  const ms = Math.round(performance.now() - start);
  if (flags.output === 'json') say(JSON.stringify({ ...body, ms }));
  else say(`moved region ${number} of ${name} to ${to} in ${ms} ms`);
}

interface AdoptedSpace {
  readonly name: string;
  readonly regions: number;
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
      kind: flags.kind as 'dram' | 'persistent',
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
