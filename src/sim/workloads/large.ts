/**
 * Transfers of many pieces over pages and nodes in a rack that is nearly full: a large write gets
 * all the frames it needs or none, and what it reserved it gives back.
 */

import { type ClientProgram, inLanes, type Workload } from './workload.js';
import { Tenancy } from './alloc-free.js';

/** More than one node's frames, so that some cannot be served. */
function pagesMax(client: ClientProgram): number {
  return Math.max(4, Math.floor(client.frames / 3));
}

export const large: Workload = {
  name: 'large',
  about: 'transfers over many pages in a rack that is nearly full',
  isBulky: true,
  frames: [8, 20],
  steps: 420,
  blows: {
    cut: 30,
    corrupt: 15,
    partition: 8,
    'pause-node': 10,
    'pause-client': 5,
    'kill-node': 15,
    'kill-supervisor': 0,
    'kill-client': 10,
    'kill-controller': 3,
    'pause-controller': 2,
    'crash-node': 0,
    'crash-controller': 2,
    'stop-node': 0,
    'stop-controller': 1,
  },
  async run(client) {
    const spaces = [await client.open('large')];
    const lanes = client.prng.between(1, 3);
    const tenancies = Array.from({ length: lanes }, () => {
      return new Tenancy(client, spaces, pagesMax(client));
    });
    await inLanes(client, lanes, (lane) => tenancies[lane]?.step() ?? Promise.resolve());
  },
};
