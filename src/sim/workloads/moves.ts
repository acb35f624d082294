/**
 * Regions go from node to node all the time, while clients go on with what is in them: by streams,
 * by datagrams, and without the node. What was acknowledged is wherever its region is.
 */

import { Tenancy } from './alloc-free.js';
import { mixed } from './mixed.js';
import { counterPlaces, Registers } from './registers.js';
import { type ClientProgram, inLanes, share, type Workload } from './workload.js';

/** While nothing moves. */
const QUIET_MS = [30, 300] as const;
const QUIET_LOOK_MS = 8;

/** `wakes`: it ends when something is about to move. */
async function rest({ board, prng, sleep }: ClientProgram, wakes: boolean): Promise<void> {
  let leftMs = prng.between(...QUIET_MS);
  if (!wakes) return sleep(leftMs);
  for (; board.isQuiet && leftMs > 0; leftMs -= QUIET_LOOK_MS) await sleep(QUIET_LOOK_MS);
}

async function play(client: ClientProgram, wakes: boolean): Promise<void> {
  const spaces = [await client.open('moving'), await client.open('moving-too')];
  await share(client, spaces, 4, counterPlaces);
  const words = new Registers(client, spaces);
  const tenancies = [new Tenancy(client, spaces, 4), new Tenancy(client, spaces, 2)];
  await inLanes(client, client.prng.between(3, 6), async (lane) => {
    // Now and then for a moment longer than a move takes: so that some meet clients, and some not.
    if (client.board.isQuiet) await rest(client, wakes);
    else if (client.prng.chance(500_000)) await client.sleep(client.prng.between(1, 12));
    const isTrain = client.prng.chance(200_000);
    await (tenancies[lane]?.step() ?? (isTrain ? words.train() : words.step()));
  });
}

export const moves: Workload = {
  name: 'moves',
  about: 'regions that go from node to node, whose processes die and stand still meanwhile',
  isBulky: true,
  frames: [24, 48],
  steps: 1_200,
  isMoving: true,
  blowCount: [4, 10],
  blows: {
    cut: 5,
    partition: 2,
    'pause-node': 1,
    'pause-client': 2,
    'kill-node': 2,
    'kill-client': 3,
    'kill-controller': 2,
    'crash-controller': 1,
    'kill-supervisor': 1,
  },
  run: (client) => play(client, false),
};

/** Copies are put back in the middle of moves, too, which the copies do not know. */
export const restoredMoves: Workload = {
  ...moves,
  name: 'restored-moves',
  about: 'regions that move while the controller is put back on older copies of its database',
  steps: 900,
  blowCount: [12, 24],
  blows: {
    cut: 4,
    partition: 4,
    'pause-node': 3,
    'kill-node': 6,
    'kill-controller': 4,
    'pause-controller': 3,
    'copy-metadata': 40,
    'put-back-metadata': 12,
  },
};

export const datagramMoves: Workload = {
  ...moves,
  name: 'datagram-moves',
  about: 'regions that move while clients send datagrams, and go over between links',
  isByDatagrams: true,
};

export const oneSidedMoves: Workload = {
  ...moves,
  name: 'one-sided-moves',
  about: 'regions that move away from under clients that reach memory without its node',
  isOneSided: true,
  run: (client) => play(client, true),
  frames: [24, 64],
  blows: {
    ...moves.blows,
    'stop-in-step': 10,
    'pause-in-step': 6,
    'kill-in-step': 4,
  },
};

/** Moves come beside everything else, too. */
export const movingMixed: Workload = {
  ...mixed,
  name: 'moving-mixed',
  about: 'everything at once, and regions that move',
  blows: { ...mixed.blows, 'move-region': 40, 'strike-in-move': 15 },
};
