/**
 * Disks in remote memory, over NBD: clients write, read, zero and trim sectors of their own and of
 * all, while hosts and memory nodes come and go, and nodes want memory back. Every sector is a
 * register.
 */

import { planOf } from '../../block/slabs.js';
import { PIECE_BYTES } from '../../replication/layout.js';
import { SECTOR_BYTES } from '../../wire/limits.js';
import type { ObservedDevice, SectorRange } from '../observed-device.js';
import { Resizing } from './resizing.js';
import { type ClientProgram, inLanes, type Workload } from './workload.js';

/** Sectors from a place on that are used. */
const SECTORS_EACH = 16;
const PIECE_SECTORS = PIECE_BYTES / SECTOR_BYTES;
const COUNTS = [1, 1, 2, 8, 16];
const LANES = [2, 6] as const;
const FUA = 1;

/** Around the borders of blocks, pieces, areas and slabs. */
function placesOf({ shape, sectors }: ObservedDevice): number[] {
  const { dataBytes } = planOf(1, shape.slabBytes).layout;
  const places: number[] = [];
  for (let slab = 0; slab < sectors * SECTOR_BYTES; slab += dataBytes) {
    for (const at of [0, PIECE_BYTES - 4096, dataBytes - 4096]) {
      const sector = (slab + at) / SECTOR_BYTES;
      if (sector + SECTORS_EACH <= sectors) places.push(sector);
    }
  }
  // What is used must not overlap: else one write says two things of a sector.
  return [...places.filter((one) => one < sectors - SECTORS_EACH), sectors - 1];
}

/** All of the memory that the range begins in. */
function pieceOf(device: ObservedDevice, { lane, first }: SectorRange): SectorRange {
  const from = first - (first % PIECE_SECTORS);
  return { lane, first: from, count: Math.min(PIECE_SECTORS, device.sectors - from) };
}

async function step(
  client: ClientProgram,
  devices: readonly ObservedDevice[],
  lane: number,
  restsPerMillion: number,
): Promise<void> {
  const { prng } = client;
  const device = prng.pick(devices);
  const from = prng.pick(placesOf(device)) + (prng.chance(500_000) ? prng.below(SECTORS_EACH) : 0);
  const first = Math.min(from, device.sectors - 1);
  const range = { lane, first, count: Math.min(prng.pick(COUNTS), device.sectors - first) };
  const kind = prng.below(100);
  const flags = prng.chance(200_000) ? FUA : 0;
  const ended = await (kind < 45
    ? device.read(range)
    : kind < 85
      ? device.write(range, flags)
      : kind < 90
        ? device.zero(range, flags)
        : kind < 95
          ? device.trim(kind < 92 ? pieceOf(device, range) : range, flags)
          : device.flush());
  if (ended?.code !== 'Ok') await client.sleep(prng.between(1, 50));
  else if (prng.chance(restsPerMillion)) await client.sleep(prng.between(1, 100));
}

async function run(client: ClientProgram, restsPerMillion = 200_000): Promise<void> {
  const devices = (await client.devices?.()) ?? [];
  await inLanes(client, client.prng.between(...LANES), (lane) => {
    return step(client, devices, lane, restsPerMillion);
  });
  for (const device of devices) device.close();
}

/** Who is stopped for another size does not know whether there is a next step. */
async function runResizing(client: ClientProgram): Promise<void> {
  Resizing.inherit(client);
  const devices = (await client.devices?.()) ?? [];
  const lanes = client.prng.between(...LANES);
  const resizing = new Resizing(client, devices, lanes);
  const inLane = async (_: unknown, lane: number): Promise<void> => {
    await resizing.before(false);
    while (client.step()) {
      await resizing.before();
      await step(client, devices, lane, 200_000);
    }
    resizing.left();
  };
  await Promise.all(Array.from({ length: lanes }, inLane));
  for (const device of devices) device.close();
}

/** In files, too: now and then all memory goes. */
export const keptDevices: Workload = {
  name: 'kept-devices',
  about: 'block devices with a file behind them, which lose all memory at times',
  isBulky: true,
  hasDevices: true,
  haveBackups: true,
  isShortOfMemory: true,
  frames: [96, 128],
  steps: 1_300,
  blowCount: [8, 14],
  blows: {
    cut: 15,
    partition: 4,
    'pause-node': 8,
    'kill-node': 8,
    'kill-client': 5,
    'kill-controller': 4,
    'pause-controller': 4,
    'kill-host': 6,
    'pause-host': 6,
    'lose-copies': 15,
    'lose-all-memory': 30,
    'cut-power': 12,
    squeeze: 20,
  },
  // So that copies are there again before the next ones are lost.
  run: (client) => run(client, 800_000),
};

export const devices: Workload = {
  name: 'devices',
  about: 'block devices over NBD, whose hosts and memory nodes come and go',
  isBulky: true,
  hasDevices: true,
  isShortOfMemory: true,
  frames: [96, 128],
  steps: 1_300,
  blowCount: [9, 18],
  blows: {
    cut: 20,
    corrupt: 5,
    partition: 10,
    split: 8,
    'pause-node': 15,
    'pause-client': 3,
    'kill-node': 15,
    'kill-client': 5,
    'kill-controller': 8,
    'pause-controller': 4,
    'crash-controller': 3,
    'stop-controller': 2,
    'kill-host': 8,
    'pause-host': 10,
    'lose-copies': 15,
    squeeze: 15,
  },
  run: (client) => run(client),
};

/**
 * Hosts on the machines of nodes: what they read, write and trim there is done in steps over shared
 * memory, while the node moves on, dies, or gives memory back.
 */
export const nearDevices: Workload = {
  ...devices,
  name: 'near-devices',
  about: 'block devices whose hosts share machines, and memory, with the nodes',
  areHostsNear: true,
  blows: {
    cut: 10,
    partition: 8,
    'pause-node': 20,
    'pause-client': 3,
    'kill-node': 20,
    'kill-client': 5,
    'kill-controller': 6,
    'pause-controller': 4,
    'kill-host': 10,
    'pause-host': 15,
    'kill-host-in-copy': 10,
    'lose-copies': 20,
    squeeze: 20,
  },
};

/** Devices grow and shrink, too. */
export const resizedDevices: Workload = {
  ...devices,
  name: 'resized-devices',
  about: 'block devices that get other sizes while hosts and memory nodes come and go',
  blowCount: [6, 12],
  run: runResizing,
};
