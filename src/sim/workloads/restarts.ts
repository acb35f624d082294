/**
 * Processes of the rack die all the time: nodes that come back with their memory, nodes that come
 * back empty, controllers. What was acknowledged is there, or it is named as lost.
 */

import { Tenancy } from './alloc-free.js';
import { counterPlaces, Registers } from './registers.js';
import { inLanes, share, type Workload } from './workload.js';

export const restarts: Workload = {
  name: 'restarts',
  about: 'nodes, supervisors and controllers that die and come back, with memory and without',
  isBulky: false,
  frames: [12, 32],
  steps: 900,
  blows: {
    cut: 5,
    corrupt: 0,
    partition: 5,
    'pause-node': 5,
    'pause-client': 0,
    'kill-node': 40,
    'kill-supervisor': 15,
    'kill-client': 5,
    'kill-controller': 20,
    'pause-controller': 5,
    'crash-node': 5,
    'crash-controller': 10,
    'stop-node': 6,
    'stop-controller': 6,
  },
  async run(client) {
    // Several spaces with like addresses: what is meant for one must never reach another.
    const spaces = [await client.open('here'), await client.open('there')];
    const own = await client.open('own');
    await share(client, spaces, 4, counterPlaces);
    const words = new Registers(client, spaces);
    const lanes = client.prng.between(2, 8);
    const tenancy = new Tenancy(client, [own], 3);
    await inLanes(client, lanes, (lane) => (lane === 0 ? tenancy.step() : words.step()));
  },
};
