/** `memrack device create|list|remove|resize|uri`: block devices. */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { formatBytes } from '../base/units.js';
import {
  countFlag,
  printRows,
  type SharedFlags,
  say,
  sizeFlag,
  withConnection,
  withOutput,
  withRack,
} from './context.js';
import { DEVICE_COLUMNS, SEEN_DEVICE } from './device-table.js';

interface CreateFlags extends SharedFlags {
  readonly size: string;
  readonly replicas: string;
  readonly slab?: string;
  readonly backup?: string;
}

const COPIES_MAX = 3;

export function addDevice(program: Command): void {
  const device = program.command('device').description('block devices, served over NBD');
  device.addHelpText('after', '\nExample:\n  memrack device create swap --size 4GiB --replicas 2');
  withOutput(withRack(device.command('create')))
    .description('make a block device')
    .argument('<name>')
    .requiredOption('--size <size>', 'how much it holds; memory is taken when it is written to')
    .option('--replicas <count>', 'copies of everything, at different memory nodes: 1 to 3', '1')
    .option('--slab <size>', 'in which parts memory is taken: 64MiB to 1GiB (default: by its size)')
    .option('--backup <file>', 'kept there, too, by the host of this machine, a little behind')
    .addHelpText('after', '\nExample:\n  memrack device create disk --size 1GiB --replicas 2')
    .action(create);
  withOutput(withRack(device.command('list')))
    .description('all block devices: their slabs, who serves them, what was done there')
    .addHelpText('after', '\nExample:\n  memrack device list')
    .action(list);
  withOutput(withRack(device.command('remove')))
    .description('remove a block device and all that is on it')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  memrack device remove disk')
    .action(remove);
  withOutput(withRack(device.command('resize')))
    .description('give a block device another size')
    .argument('<name>')
    .requiredOption('--size <size>', 'how much it is to hold; it grows at any time')
    .option('--force', 'lose what was written beyond a smaller size')
    .addHelpText('after', '\nExample:\n  memrack device resize disk --size 2GiB')
    .action(resize);
  withRack(device.command('uri'))
    .description('print the address under which NBD clients reach it')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  nbdinfo "$(memrack device uri disk)"')
    .action(uri);
}

async function create(name: string, flags: CreateFlags): Promise<void> {
  const { createDevice } = await import('../block/manage.js');
  const bytes = sizeFlag('size', flags.size);
  const copies = countFlag('replicas', flags.replicas, 1, COPIES_MAX);
  const slab = flags.slab === undefined ? {} : { slabBytes: sizeFlag('slab', flags.slab) };
  await withConnection(flags, async (rack) => {
    const backup = flags.backup === undefined ? undefined : resolve(flags.backup);
    const made = await createDevice(rack.core, { name, bytes, copies, backup, ...slab });
    const facts = { name, bytes, replicas: copies, slabBytes: made.slabBytes, backup };
    if (flags.output === 'json') say(JSON.stringify(facts));
    else {
      const what = `${copies} ${copies === 1 ? 'copy' : 'copies'}`;
      const file = backup === undefined ? '' : `, and ${backup}`;
      say(`made ${name}: ${formatBytes(bytes)}, ${what}${file}`);
    }
  });
}

async function list(flags: SharedFlags): Promise<void> {
  const { seeDevices } = await import('../block/manage.js');
  await withConnection(flags, async (rack) => {
    const devices = SEEN_DEVICE.array().parse(await seeDevices(rack.core));
    printRows(flags, devices, DEVICE_COLUMNS);
  });
}

async function remove(name: string, flags: SharedFlags): Promise<void> {
  const { removeDevice } = await import('../block/manage.js');
  await withConnection(flags, async (rack) => {
    const left = await removeDevice(rack.core, name);
    if (flags.output === 'json') say(JSON.stringify({ name, backupLeft: left }));
    else say(`removed ${name}${left === undefined ? '' : `; its backup was not here: ${left}`}`);
  });
}

interface ResizeFlags extends SharedFlags {
  readonly size: string;
  readonly force?: boolean;
}

async function resize(name: string, flags: ResizeFlags): Promise<void> {
  const { resizeDevice } = await import('../block/resize.js');
  const bytes = sizeFlag('size', flags.size);
  await withConnection(flags, async (rack) => {
    await resizeDevice(rack.core, name, bytes, flags.force === true);
    if (flags.output === 'json') say(JSON.stringify({ name, bytes }));
    else say(`resized ${name}: ${formatBytes(bytes)}`);
  });
}

async function uri(name: string, flags: SharedFlags): Promise<void> {
  const { deviceUri } = await import('../block/manage.js');
  await withConnection(flags, async (rack) => say(await deviceUri(rack.core, name)));
}
