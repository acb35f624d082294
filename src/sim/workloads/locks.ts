/**
 * Several clients want the same few locks, hold them for longer or shorter than their leases, are
 * stopped and killed with them, and publish what they did under the epoch.
 */

import type { Allocation } from '../journal.js';
import type { ObservedLock, ObservedLocks } from '../observed-locks.js';
import type { ObservedSpace } from '../observed-space.js';
import { type ClientProgram, inLanes, isGiven, type Workload } from './workload.js';

const SPACE = 'locked';
/** The words of the locks; behind each follows the word that carries its epoch. */
const PLACES = [0, 100, 4096];
const LEASES_MS = [10, 50, 200, 1_000];
const WAITS_MS = [0, 20, 500, 3_000];

async function lockPage(client: ClientProgram, space: ObservedSpace): Promise<Allocation> {
  const { board, pageBytes, prng } = client;
  for (;;) {
    const [known] = board.shared;
    if (known !== undefined) return known;
    const given = await space.alloc(pageBytes);
    if (isGiven(given)) {
      given.isOpaque = true;
      board.shared.push(given);
    } else await client.sleep(prng.between(5, 50));
  }
}

async function step(
  client: ClientProgram,
  locks: ObservedLocks,
  allocation: Allocation,
): Promise<void> {
  const { prng } = client;
  const options = { leaseMs: prng.pick(LEASES_MS), waitMs: prng.pick(WAITS_MS) };
  const abort = new AbortController();
  const { signal } = abort;
  if (prng.chance(100_000)) void client.sleep(prng.between(0, 50)).then(() => abort.abort());
  const held = await locks.acquire(allocation, prng.pick(PLACES), { ...options, signal });
  if (held === undefined) return client.sleep(prng.between(1, 20));
  await hold(client, held);
  if (prng.chance(500_000)) await client.sleep(prng.between(0, 10));
}

async function hold(client: ClientProgram, held: ObservedLock): Promise<void> {
  const { prng } = client;
  await held.claim();
  for (let uses = prng.below(4); uses > 0 && !held.isLost(); uses--) {
    await held.publish();
    if (prng.chance(300_000)) await client.sleep(prng.between(0, prng.pick([2, 30, 200])));
  }
  held.isLost();
  await held.release();
}

async function run(client: ClientProgram): Promise<void> {
  const space = await client.open(SPACE);
  const allocation = await lockPage(client, space);
  const own = await client.locks?.(SPACE);
  if (own === undefined) return;
  await inLanes(client, client.prng.between(1, 3), () => step(client, own, allocation));
}

export const locks: Workload = {
  name: 'locks',
  about: 'a few locks that everybody wants, and what is published under their epochs',
  isBulky: false,
  frames: [8, 16],
  steps: 420,
  blows: {
    cut: 30,
    corrupt: 5,
    partition: 20,
    'pause-node': 10,
    'pause-client': 60,
    'kill-node': 15,
    'kill-supervisor': 0,
    'kill-client': 20,
    'kill-controller': 3,
    'pause-controller': 1,
    'crash-node': 0,
    'crash-controller': 1,
    'stop-node': 0,
    'stop-controller': 1,
  },
  run,
};

export const datagramLocks: Workload = {
  ...locks,
  name: 'datagram-locks',
  about: 'the same by clients that send datagrams',
  isByDatagrams: true,
};

export const oneSidedLocks: Workload = {
  name: 'one-sided-locks',
  about: 'the same by threads that reach the words themselves, and are stopped in the middle',
  isBulky: false,
  isOneSided: true,
  frames: [8, 16],
  steps: 420,
  blows: {
    cut: 10,
    partition: 5,
    'pause-node': 5,
    'pause-client': 20,
    'kill-node': 10,
    'kill-client': 10,
    'kill-controller': 2,
    'crash-controller': 1,
    'stop-in-step': 20,
    'pause-in-step': 60,
    'kill-in-step': 30,
  },
  run,
};
