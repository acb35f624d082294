/**
 * Allocating, writing and freeing while machines of nodes run short of memory and have it again:
 * what is free goes, what is used and promised stays, what is refused was not done.
 */

import { allocFree, Tenancy } from './alloc-free.js';
import { inLanes, type Workload } from './workload.js';

export const shortMemory: Workload = {
  name: 'short-memory',
  about: 'as alloc-free, on machines whose memory other programs take and give back',
  isBulky: true,
  isShortOfMemory: true,
  frames: [16, 32],
  steps: 480,
  blowCount: [12, 24],
  blows: {
    ...allocFree.blows,
    cut: 10,
    corrupt: 3,
    squeeze: 80,
  },
  async run(client) {
    const spaces = [await client.open('tenants'), await client.open('others')];
    const lanes = client.prng.between(2, 4);
    // Writes over several pages need frames for all of them, promised before the first is sent.
    const tenancies = Array.from({ length: lanes }, () => new Tenancy(client, spaces, 6));
    await inLanes(client, lanes, (lane) => tenancies[lane]?.step() ?? Promise.resolve());
  },
};
