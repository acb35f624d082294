/** A bit of everything at once, with every kind of blow. */

import { FaultKind } from '../../runtime/simulated/world.js';
import { Tenancy } from './alloc-free.js';
import { counterPlaces, Registers } from './registers.js';
import { type ClientProgram, inLanes, share, type Workload } from './workload.js';

export const mixed: Workload = {
  name: 'mixed',
  about: 'everything at once',
  isBulky: true,
  frames: [12, 32],
  steps: 900,
  blows: {
    cut: 20,
    corrupt: 10,
    partition: 8,
    'pause-node': 8,
    'pause-client': 5,
    'kill-node': 12,
    'kill-supervisor': 3,
    'kill-client': 8,
    'kill-controller': 8,
    'pause-controller': 3,
    'crash-node': 1,
    'crash-controller': 4,
    'stop-node': 2,
    'stop-controller': 3,
  },
  run: (client) => play(client, ['mixed']),
};

async function play(client: ClientProgram, names: readonly string[]): Promise<void> {
  const spaces = await Promise.all(names.map((name) => client.open(name)));
  await share(client, spaces, 3, counterPlaces);
  const words = new Registers(client, spaces);
  const tenancies = [new Tenancy(client, spaces, 5), new Tenancy(client, spaces, 2)];
  await inLanes(client, client.prng.between(3, 10), (lane) => {
    return tenancies[lane]?.step() ?? words.step();
  });
}

export const datagrams: Workload = {
  ...mixed,
  name: 'datagrams',
  about: 'everything at once, by clients that send datagrams',
  isByDatagrams: true,
  // Two, so that windows of one may be taken for those of the other.
  run: (client) => play(client, ['mixed', 'other']),
};

export const fallingOver: Workload = {
  ...mixed,
  name: 'fall-over',
  about: 'words of all clients, whose nodes are reached by streams or datagrams alone at times',
  isBulky: false,
  isByDatagrams: true,
  isFallingOver: true,
  frames: [16, 48],
  steps: 1_500,
  blows: { ...mixed.blows, cut: 10, 'cut-streams': 60, 'cut-datagrams': 20, 'kill-node': 5 },
};

export const datagramRestarts: Workload = {
  ...fallingOver,
  name: 'datagram-restarts',
  about: 'words of all clients, sent as datagrams to nodes that die and come back all the time',
  isFallingOver: false,
  isByDatagramsAlone: true,
  // Kept, so that they learn of the next process, and windows there, before datagrams do.
  idleStreamMs: [5_000],
  // So that time-outs are long: what was sent to one process is sent again to the next.
  rates: {
    [FaultKind.DatagramDelay]: [50_000, 100_000],
    [FaultKind.DatagramLoss]: [50_000, 100_000],
  },
  steps: 2_500,
  blowCount: [25, 50],
  blows: { cut: 5, 'pause-node': 5, 'pause-client': 5, 'kill-node': 85 },
  run: playWords,
};

/** Nothing but words, and mostly sums: much is under way at every death, and twice is seen. */
async function playWords(client: ClientProgram): Promise<void> {
  const { prng } = client;
  const spaces = [await client.open('words')];
  await share(client, spaces, 2, counterPlaces);
  const words = new Registers(client, spaces);
  await inLanes(client, prng.between(6, 16), () => {
    return prng.chance(800_000) ? words.add() : words.step();
  });
}
