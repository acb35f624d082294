/**
 * Clients keep files in the controller's directory, which dies all the time, while they go on
 * reading and writing memory: what was acknowledged is there, and the data path does not notice.
 */

import { Tenancy } from './alloc-free.js';
import { counterPlaces, Registers } from './registers.js';
import { type ClientProgram, inLanes, share, type Workload } from './workload.js';

const KEYS = 6;

export const directory: Workload = {
  name: 'directory',
  about: 'entries of files put, read and removed while the controller dies and comes back',
  isBulky: false,
  frames: [12, 24],
  steps: 1_050,
  blows: {
    cut: 20,
    corrupt: 10,
    partition: 10,
    'pause-node': 3,
    'pause-client': 3,
    'kill-node': 3,
    'kill-supervisor': 0,
    'kill-client': 5,
    'kill-controller': 30,
    'pause-controller': 10,
    'crash-node': 0,
    'crash-controller': 20,
    'stop-node': 0,
    'stop-controller': 8,
  },
  run: (client) => keepFiles(client, 0),
};

/** Memory comes and goes and moves, so that the controller has to decide all the time. */
export const fullDisks: Workload = {
  ...directory,
  name: 'full-disks',
  about: 'the disk with the metadata is full now and then, while everybody wants changes of it',
  isMoving: true,
  steps: 780,
  blows: {
    cut: 5,
    partition: 5,
    'kill-node': 5,
    'kill-supervisor': 3,
    'kill-client': 5,
    'kill-controller': 5,
    'crash-controller': 5,
    'fill-disk': 60,
  },
  run: (client) => keepFiles(client, 2),
};

/** The first lane keeps files; the next ones allocate, the others use what there is. */
async function keepFiles(client: ClientProgram, allocating: number): Promise<void> {
  const files = await client.files();
  const space = await client.open('memory');
  const spaces = [space];
  await share(client, spaces, 2, counterPlaces);
  const words = new Registers(client, spaces);
  const tenancies = Array.from({ length: allocating }, () => new Tenancy(client, spaces, 3));
  const keys = ownKeys(client);
  let next = 1;
  await inLanes(client, client.prng.between(2, 8), async (lane) => {
    const { prng, board } = client;
    // So that a disk is full, and has room again, while they are at it.
    if (allocating > 0 && prng.chance(500_000)) await client.sleep(prng.between(1, 20));
    if (lane > 0) return tenancies[lane - 1]?.step() ?? words.step();
    const choice = prng.below(100);
    const key = prng.pick(keys);
    if (choice < 40) await files.put(space.id, keys.slice(0, prng.between(1, KEYS)), next++);
    else if (choice < 50) await files.remove(key);
    else await files.get(prng.pick(board.keys));
  });
}

function ownKeys(client: ClientProgram): string[] {
  const keys = Array.from({ length: KEYS }, (_, i) => `client-${client.number}/${i}`);
  client.board.keys.push(...keys);
  return keys;
}
