/**
 * Nodes are drained, end when they hold nothing any more, and come back, while clients go on. No
 * memory that holds something ever ends here: whatever is lost, is lost by mistake.
 */

import { Tenancy } from './alloc-free.js';
import { moves, oneSidedMoves } from './moves.js';
import { counterPlaces, Registers } from './registers.js';
import { type ClientProgram, inLanes, share, type Workload } from './workload.js';

/** With pauses in which a whole node can be emptied. */
async function play(client: ClientProgram): Promise<void> {
  const spaces = [await client.open('drained'), await client.open('drained-too')];
  await share(client, spaces, 4, counterPlaces);
  const words = new Registers(client, spaces);
  const tenancies = [new Tenancy(client, spaces, 4), new Tenancy(client, spaces, 2)];
  await inLanes(client, client.prng.between(4, 10), async (lane) => {
    if (client.prng.chance(500_000)) await client.sleep(client.prng.between(1, 30));
    await (tenancies[lane]?.step() ?? words.step());
  });
}

const BLOWS: Workload['blows'] = {
  'drain-node': 40,
  'move-region': 12,
  cut: 4,
  partition: 2,
  'pause-client': 1,
  'kill-node': 2,
  'kill-client': 2,
  'kill-controller': 1,
  'crash-controller': 1,
};

export const drains: Workload = {
  ...moves,
  isMoving: false,
  isBulky: false,
  name: 'drains',
  about: 'memory nodes that are drained, end, and come back',
  steps: 640,
  blowCount: [15, 40],
  blows: BLOWS,
  run: play,
};

export const oneSidedDrains: Workload = {
  ...oneSidedMoves,
  isMoving: false,
  isBulky: false,
  name: 'one-sided-drains',
  about: 'memory nodes that are drained under clients that reach memory without its node',
  steps: 640,
  blowCount: [15, 40],
  run: play,
  blows: { ...BLOWS, 'stop-in-step': 10, 'pause-in-step': 6, 'kill-in-step': 4 },
};
