/**
 * Clients allocate, look for zeros, write patterns, read them back, change rights and free, so that
 * frames and addresses go from hand to hand; some take all there is and must be refused cleanly.
 */

import type { Allocation, Ended } from '../journal.js';
import { type ObservedSpace } from '../observed-space.js';
import { type ClientProgram, inLanes, isGiven, type Workload } from './workload.js';

const HELD_MAX = 6;

/** The private allocations of one lane of one client. */
export class Tenancy {
  readonly #client: ClientProgram;
  readonly #spaces: readonly ObservedSpace[];
  readonly #held: { space: ObservedSpace; allocation: Allocation }[] = [];
  readonly #pagesMax: number;

  constructor(client: ClientProgram, spaces: readonly ObservedSpace[], pagesMax: number) {
    this.#client = client;
    this.#spaces = spaces;
    this.#pagesMax = pagesMax;
  }

  async step(): Promise<void> {
    const { prng } = this.#client;
    if (this.#held.length === 0 || (this.#held.length < HELD_MAX && prng.chance(350_000))) {
      await this.#take();
      return;
    }
    const { space, allocation } = prng.pick(this.#held);
    const choice = prng.below(100);
    if (choice < 40) this.#noteLoss(allocation, await this.#write(space, allocation));
    else if (choice < 70) this.#noteLoss(allocation, await this.#read(space, allocation));
    else if (choice < 80) await this.#forbid(space, allocation);
    else await this.giveBack();
  }

  /** Memory must be zeros when it is given, whatever it was before. */
  async #take(): Promise<void> {
    const { prng, pageBytes } = this.#client;
    const space = prng.pick(this.#spaces);
    const given = await space.alloc(pageBytes * prng.between(1, this.#pagesMax));
    if (!isGiven(given)) {
      if (given.code === 'NoSpace' && this.#held.length > 0) await this.giveBack();
      else await this.#client.sleep(prng.between(1, 20));
      return;
    }
    this.#held.push({ space, allocation: given });
    if (prng.chance(500_000)) await space.readRange(given, 0, given.wordCount);
    // A first touch by a small write: the rest of the page must be zeros then too.
    await space.writeWord(given, prng.pick(space.probes(given)));
    await space.readRange(given, 0, Math.min(given.wordCount, pageBytes / 8));
  }

  /** All of it, or a stretch that begins or ends at a word whose history is kept, or any. */
  #stretch(space: ObservedSpace, allocation: Allocation): [number, number] {
    const { prng } = this.#client;
    const count = allocation.wordCount;
    if (prng.chance(200_000)) return [0, count];
    const words = Math.min(count, prng.between(1, prng.pick([1, 16, 512, 8_192, 20_000])));
    const probe = prng.pick(space.probes(allocation));
    const first = prng.pick([probe, probe - words + 1, prng.below(count)]);
    const start = Math.max(0, Math.min(first, count - 1));
    return [start, Math.min(words, count - start)];
  }

  #write(space: ObservedSpace, allocation: Allocation): Promise<Ended> {
    return space.writeRange(allocation, ...this.#stretch(space, allocation));
  }

  #read(space: ObservedSpace, allocation: Allocation): Promise<Ended> {
    return space.readRange(allocation, ...this.#stretch(space, allocation));
  }

  /** What is lost need not be freed. */
  #noteLoss(allocation: Allocation, ended: Ended): void {
    const at = this.#held.findIndex((held) => held.allocation === allocation);
    if (ended.code === 'DataLost' && at >= 0) this.#held.splice(at, 1);
  }

  /** Without awaiting between: calls of one client on the same pages keep their order. */
  async #forbid(space: ObservedSpace, allocation: Allocation): Promise<void> {
    const { prng } = this.#client;
    await space.protect(allocation, prng.pick(['none', 'r'] as const));
    const place = prng.pick(space.probes(allocation));
    await Promise.all([space.writeWord(allocation, place), space.readWord(allocation, place)]);
    await space.protect(allocation, 'rw');
  }

  async giveBack(): Promise<void> {
    const at = this.#client.prng.below(this.#held.length);
    const [held] = this.#held.splice(at, 1);
    if (held !== undefined) await held.space.free(held.allocation);
  }
}

export const allocFree: Workload = {
  name: 'alloc-free',
  about: 'allocating, writing, reading back, protecting and freeing, up to the last frame',
  isBulky: true,
  frames: [8, 16],
  steps: 480,
  blows: {
    cut: 30,
    corrupt: 10,
    partition: 5,
    'pause-node': 10,
    'pause-client': 5,
    'kill-node': 20,
    'kill-supervisor': 0,
    'kill-client': 10,
    'kill-controller': 8,
    'pause-controller': 2,
    'crash-node': 0,
    'crash-controller': 3,
    'stop-node': 0,
    'stop-controller': 2,
  },
  async run(client) {
    const spaces = [await client.open('tenants'), await client.open('others')];
    const lanes = client.prng.between(1, 4);
    const tenancies = Array.from({ length: lanes }, () => new Tenancy(client, spaces, 4));
    await inLanes(client, lanes, (lane) => tenancies[lane]?.step() ?? Promise.resolve());
  },
};
