/**
 * The controller is put back on older copies of its database, again and again, while clients make
 * spaces and take memory: nothing is decided twice, and nothing that nodes hold is lost.
 */

import type { ObservedSpace } from '../observed-space.js';
import { Tenancy } from './alloc-free.js';
import { counterPlaces, Registers } from './registers.js';
import { inLanes, share, type Workload } from './workload.js';

/** One of so many steps makes a space. */
const NEW_SPACE_EVERY = 12;
const SPACES_MAX = 8;

export const restored: Workload = {
  name: 'restored',
  about: 'a controller that is put back on older copies of its database',
  isBulky: false,
  frames: [12, 32],
  steps: 720,
  blowCount: [12, 24],
  blows: {
    cut: 5,
    partition: 8,
    'pause-node': 5,
    'kill-node': 10,
    'kill-controller': 8,
    'pause-controller': 3,
    'copy-metadata': 30,
    'put-back-metadata': 24,
  },
  async run(client) {
    const { number, prng } = client;
    const spaces = [await client.open('here'), await client.open('there')];
    await share(client, spaces, 4, counterPlaces);
    const words = new Registers(client, spaces);
    // Of no other client, and never opened again: a name that was forgotten would be made anew.
    const own: ObservedSpace[] = [await client.open(`own-${number}-0`)];
    const tenancy = new Tenancy(client, own, 3);
    const lanes = prng.between(2, 5);
    await inLanes(client, lanes, async (lane) => {
      if (lane !== 0) return words.step();
      const isNew = own.length < SPACES_MAX && prng.below(NEW_SPACE_EVERY) === 0;
      if (isNew) own.push(await client.open(`own-${number}-${own.length}`));
      return tenancy.step();
    });
  },
};
