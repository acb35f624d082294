/**
 * Long writes over each other, as datagrams, over paths whose lengths differ and change: what was
 * cut for a longer path than there is now must neither be lost nor land upon newer writes.
 */

import { defined } from '../../base/assert.js';
import type { Allocation } from '../journal.js';
import type { ObservedSpace } from '../observed-space.js';
import { counterPlaces, Registers } from './registers.js';
import { type ClientProgram, inLanes, isGiven, share, type Workload } from './workload.js';

/** A page of one lane, so that a transfer goes as one part or as many. */
class LongTransfers {
  readonly #client: ClientProgram;
  readonly #space: ObservedSpace;
  #page: Allocation | undefined;

  constructor(client: ClientProgram, space: ObservedSpace) {
    this.#client = client;
    this.#space = space;
  }

  async step(): Promise<void> {
    const { prng, pageBytes } = this.#client;
    if (this.#page === undefined) {
      const given = await this.#space.alloc(pageBytes);
      if (isGiven(given)) this.#page = given;
      else await this.#client.sleep(prng.between(1, 20));
      return;
    }
    const page = this.#page;
    const choice = prng.below(100);
    if (choice < 3) {
      this.#page = undefined;
      await this.#space.free(page);
      return;
    }
    const words = prng.between(page.wordCount >> 3, page.wordCount);
    const first = prng.below(page.wordCount - words + 1);
    const ended = await (choice < 70
      ? this.#space.writeRange(page, first, words)
      : this.#space.readRange(page, first, words));
    if (ended.code === 'DataLost') this.#page = undefined;
  }
}

export const unequalPaths: Workload = {
  name: 'unequal-paths',
  about: 'long writes by datagrams over paths of different lengths, which shrink at times',
  isBulky: true,
  isByDatagrams: true,
  hasUnequalPaths: true,
  frames: [32, 64],
  steps: 900,
  blows: {
    'shrink-path': 80,
    cut: 3,
    partition: 3,
    'pause-node': 5,
    'pause-client': 3,
    'kill-node': 4,
    'kill-client': 2,
  },
  async run(client) {
    const space = await client.open('paths');
    await share(client, [space], 2, counterPlaces);
    const words = new Registers(client, [space]);
    const long = [0, 1, 2, 3].map(() => new LongTransfers(client, space));
    await inLanes(client, 5, (lane) => (lane < 4 ? defined(long[lane]).step() : words.step()));
  },
};
