/** `memrack device create|list|remove|resize|limit|uri`: block devices. */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ConfigError } from '../base/config-error.js';
import { formatBytes } from '../base/units.js';
import {
  LIMIT_BYTES_PER_S_MIN,
  LIMIT_REQUESTS_PER_S_MIN,
  WEIGHT_MAX,
} from '../block/device-options.js';
import type { DeviceAllowance } from '../block/rate-limit.js';
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
import { allowanceText, DEVICE_COLUMNS, LIMITS_COLUMN, SEEN_DEVICE } from './device-table.js';

interface CreateFlags extends SharedFlags {
  readonly size: string;
  readonly replicas: string;
  readonly slab?: string;
  readonly backup?: string;
  readonly limitBandwidth?: string;
  readonly limitRate?: string;
  readonly weight?: string;
}

const COPIES_MAX = 3;
const RATE_MAX = 1e9;
const WEIGHT_HELP = 'its part of a host that has more to do than it can: 1 to 100 (default 1)';

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
    .option('--limit-bandwidth <size>', 'the most that is read and written in a second')
    .option('--limit-rate <count>', 'the most requests in a second')
    .option('--weight <count>', WEIGHT_HELP)
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
  withOutput(withRack(device.command('limit')))
    .description('change what a block device may use, also while it is served')
    .argument('<name>')
    .option('--bandwidth <size>', 'the most that is read and written in a second; or: none')
    .option('--rate <count>', 'the most requests in a second; or: none')
    .option('--weight <count>', WEIGHT_HELP)
    .addHelpText('after', '\nExample:\n  memrack device limit disk --bandwidth 200MiB --rate none')
    .action(limit);
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
  const allowance = allowanceFlags({
    ...{ bandwidth: flags.limitBandwidth, rate: flags.limitRate, weight: flags.weight },
  });
  const slab = flags.slab === undefined ? {} : { slabBytes: sizeFlag('slab', flags.slab) };
  await withConnection(flags, async (rack) => {
    const backup = flags.backup === undefined ? undefined : resolve(flags.backup);
    const wish = { name, bytes, copies, backup, allowance, ...slab };
    const made = await createDevice(rack.core, wish);
    const facts = {
      name,
      bytes,
      replicas: copies,
      slabBytes: made.slabBytes,
      backup,
      ...allowance,
    };
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
    printRows(flags, devices, [...DEVICE_COLUMNS, LIMITS_COLUMN]);
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

interface LimitFlags extends SharedFlags {
  readonly bandwidth?: string | undefined;
  readonly rate?: string | undefined;
  readonly weight?: string | undefined;
}

const NONE = 'none';

/** What is named of it; what is `undefined` there is limited no more. */
function allowanceFlags({ bandwidth, rate, weight }: LimitFlags): DeviceAllowance {
  const bytesPerS = bandwidth === NONE ? undefined : bandwidthFlag(bandwidth);
  const requestsPerS = rate === NONE || rate === undefined ? undefined : rateFlag(rate);
  return {
    ...(bandwidth === undefined ? {} : { bytesPerS }),
    ...(rate === undefined ? {} : { requestsPerS }),
    ...(weight === undefined ? {} : { weight: countFlag('weight', weight, 1, WEIGHT_MAX) }),
  };
}

function bandwidthFlag(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = sizeFlag('bandwidth', text);
  if (bytes >= LIMIT_BYTES_PER_S_MIN) return bytes;
  const problem = `--bandwidth: ${text} is less than ${formatBytes(LIMIT_BYTES_PER_S_MIN)}`;
  throw new ConfigError('command line', [problem]);
}

function rateFlag(text: string): number {
  return countFlag('rate', text, LIMIT_REQUESTS_PER_S_MIN, RATE_MAX);
}

async function limit(name: string, flags: LimitFlags): Promise<void> {
  const { allowDevice } = await import('../block/manage.js');
  const changes = allowanceFlags(flags);
  await withConnection(flags, async (rack) => {
    const allowance = await allowDevice(rack.core, name, changes);
    if (flags.output === 'json') say(JSON.stringify({ name, ...allowance }));
    else say(`${name}: ${allowanceText(allowance)}`);
  });
}

async function uri(name: string, flags: SharedFlags): Promise<void> {
  const { deviceUri } = await import('../block/manage.js');
  await withConnection(flags, async (rack) => say(await deviceUri(rack.core, name)));
}
