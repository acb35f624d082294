/**
 * Clients on the machines of memory nodes, which read and write their memory without them, and
 * others over the network, all on the same few pages: while words are counted and swapped, pages
 * are freed under those who use them, made read-only, moved, and windows handed round and taken
 * back. Whoever is stopped in the middle of a step must harm nobody.
 */

import type { Allocation } from '../journal.js';
import type { ObservedSpace } from '../observed-space.js';
import type { ObservedWindow } from '../observed-window.js';
import { Granting, grantUser } from './granting.js';
import { spaceOf, touch } from './touch.js';
import { counterPlaces, Registers } from './registers.js';
import { type ClientProgram, inLanes, isGiven, share, type Workload } from './workload.js';

/** One client of so many takes memory away. */
const TAKERS_AMONG = 3;
const DOOMED_MAX = 2;
const FORMER_MAX = 4;
/** How often what takes pages away comes when somebody is in the middle of a step. */
const AT_A_STOP_PER_MILLION = 400_000;
const STOPPED_WITHIN_MS = 100;
const GIVEN_AT_ONCE = 3;
const BURSTS_PER_MILLION = 150_000;
const REST_PER_MILLION = 40_000;
const REST_MS = [20, 100, 300] as const;
/** How long the owner of a page that nobody may change looks whether somebody does. */
const LOOK_AGAIN_MS = [0, 1, 30] as const;
/** By then most of those who are stopped have gone on. */
const GONE_ON_WITHIN_MS = 500;

/** Gives a page out, lets everybody work on it, and frees it under them. */
class Dooming {
  readonly #client: ClientProgram;
  readonly #spaces: readonly ObservedSpace[];
  readonly #own: Allocation[] = [];

  constructor(client: ClientProgram, spaces: readonly ObservedSpace[]) {
    this.#client = client;
    this.#spaces = spaces;
  }

  async step(): Promise<void> {
    const { prng } = this.#client;
    if (this.#own.length < DOOMED_MAX && prng.chance(500_000)) return this.#give();
    if (prng.chance(AT_A_STOP_PER_MILLION)) return this.#takeAtStop();
    const one = prng.pick(this.#own.length > 0 ? this.#own : [undefined]);
    if (one === undefined) return this.#give();
    const space = spaceOf(this.#spaces, one);
    if (prng.chance(400_000)) {
      const ended = await space.readRange(one, 0, one.wordCount);
      if (ended.code === 'DataLost') this.#forget(one);
    } else await this.#take(space, one);
  }

  async #give(): Promise<void> {
    const { prng, pageBytes, board } = this.#client;
    const space = prng.pick(this.#spaces);
    const given = await space.alloc(pageBytes * prng.between(1, 2));
    if (!isGiven(given)) return this.#client.sleep(prng.between(1, 10));
    this.#own.push(given);
    await space.writeWord(given, prng.pick(space.probes(given)));
    await space.readRange(given, 0, given.wordCount);
    board.doomed.push(given);
  }

  #forget(one: Allocation): void {
    const { doomed } = this.#client.board;
    for (const list of [this.#own, doomed]) {
      const at = list.indexOf(one);
      if (at >= 0) list.splice(at, 1);
    }
  }

  async #take(space: ObservedSpace, one: Allocation): Promise<void> {
    this.#forget(one);
    const { former } = this.#client.board;
    if ((await space.free(one)).code !== 'Ok') return;
    former.push(one);
    if (former.length > FORMER_MAX) former.shift();
  }

  /** Its frame, should it go on now, is given to what is allocated next. */
  async #takeAtStop(): Promise<void> {
    const one = await this.#client.untilStopped(STOPPED_WITHIN_MS, this.#own);
    if (one === undefined) return;
    await this.#take(spaceOf(this.#spaces, one), one);
    for (let i = 0; i < GIVEN_AT_ONCE; i++) await this.#give();
    await this.#client.untilGoneOn(GONE_ON_WITHIN_MS, one);
    for (const own of [...this.#own]) {
      await spaceOf(this.#spaces, own).readRange(own, 0, own.wordCount);
    }
  }
}

/** Takes rights on a page away and gives them back; nothing may change in between. */
class Guarding {
  readonly #client: ClientProgram;
  readonly #spaces: readonly ObservedSpace[];
  #own: Allocation | undefined;

  constructor(client: ClientProgram, spaces: readonly ObservedSpace[]) {
    this.#client = client;
    this.#spaces = spaces;
  }

  async step(): Promise<void> {
    const { prng, board, pageBytes } = this.#client;
    if (this.#own === undefined) {
      const space = prng.pick(this.#spaces);
      const given = await space.alloc(pageBytes * prng.between(1, 2));
      if (!isGiven(given)) return this.#client.sleep(prng.between(5, 50));
      this.#own = given;
      board.guarded.push(given);
    }
    const one = this.#own;
    const space = spaceOf(this.#spaces, one);
    await this.#client.sleep(prng.pick([0, 1, 10]));
    if (prng.chance(2 * AT_A_STOP_PER_MILLION))
      await this.#client.untilStopped(STOPPED_WITHIN_MS, [one]);
    const ended = await space.protect(one, prng.pick(['r', 'r', 'r', 'none'] as const));
    if (ended.code === 'Ok') await this.#look(space, one);
    if (ended.code === 'DataLost' || (await space.protect(one, 'rw')).code === 'DataLost') {
      board.guarded.splice(board.guarded.indexOf(one), 1);
      this.#own = undefined;
      return;
    }
  }

  async #look(space: ObservedSpace, one: Allocation): Promise<void> {
    const { prng } = this.#client;
    await space.readRange(one, 0, one.wordCount);
    await this.#client.untilGoneOn(GONE_ON_WITHIN_MS, one);
    await this.#client.sleep(prng.pick(LOOK_AGAIN_MS));
    await space.readRange(one, 0, one.wordCount);
  }
}

/** Somebody who uses whatever there is. */
class Using {
  readonly #client: ClientProgram;
  readonly #spaces: readonly ObservedSpace[];
  readonly #registers: Registers;
  readonly #windows: Map<string, ObservedWindow> = new Map();

  constructor(client: ClientProgram, spaces: readonly ObservedSpace[]) {
    this.#client = client;
    this.#spaces = spaces;
    this.#registers = new Registers(client, spaces);
  }

  async step(): Promise<void> {
    const { prng, board } = this.#client;
    // So that others are at work for longer than a thread is stopped.
    if (prng.chance(REST_PER_MILLION)) await this.#client.sleep(prng.pick(REST_MS));
    const choice = prng.below(100);
    if (choice < 17) return this.#registers.step();
    if (choice < 42 && board.doomed.length > 0) return this.#touch(prng.pick(board.doomed));
    if (choice < 65 && board.guarded.length > 0) return this.#touch(prng.pick(board.guarded));
    if (choice < 87 && board.grants.length > 0) {
      return grantUser(this.#client, this.#spaces, this.#windows);
    }
    if (choice < 90 && board.former.length > 0) {
      const one = prng.pick(board.former);
      await spaceOf(this.#spaces, one).readFormer(one);
      return;
    }
    const movable = [...board.shared, ...board.guarded, ...board.doomed];
    if (choice < 97 && movable.length > 0) {
      return this.#move(movable);
    }
    return this.#registers.step();
  }

  /** All at once on one word: they take effect in this order, whichever way each of them goes. */
  async #burst(space: ObservedSpace, allocation: Allocation): Promise<void> {
    const { prng } = this.#client;
    const place = prng.pick(space.probes(allocation));
    const operations = Array.from({ length: prng.between(2, 5) }, () => {
      return prng.chance(500_000)
        ? space.writeWord(allocation, place)
        : space.readWord(allocation, place);
    });
    await Promise.all(operations);
  }

  async #move(movable: readonly Allocation[]): Promise<void> {
    const { prng } = this.#client;
    const stopped = prng.chance(AT_A_STOP_PER_MILLION)
      ? await this.#client.untilStopped(STOPPED_WITHIN_MS, movable)
      : undefined;
    const one = stopped ?? prng.pick(movable);
    const space = spaceOf(this.#spaces, one);
    await space.relocate(one);
    if (stopped === undefined) return;
    await this.#client.untilGoneOn(GONE_ON_WITHIN_MS, one);
    await space.readRange(one, 0, one.wordCount);
  }

  async #touch(allocation: Allocation): Promise<void> {
    const space = spaceOf(this.#spaces, allocation);
    if (this.#client.prng.chance(BURSTS_PER_MILLION)) return this.#burst(space, allocation);
    const ended = await touch(this.#client, space, allocation);
    if (ended.code === 'DataLost') await this.#client.sleep(1);
  }
}

export const oneSided: Workload = {
  name: 'one-sided',
  about: 'memory that is read and written without its node, while pages and windows are taken away',
  isBulky: false,
  isOneSided: true,
  frames: [9, 16],
  steps: 900,
  blows: {
    cut: 20,
    corrupt: 3,
    partition: 3,
    'pause-node': 5,
    'pause-client': 5,
    'kill-node': 10,
    'kill-supervisor': 1,
    'kill-client': 3,
    'kill-controller': 3,
    'pause-controller': 1,
    'crash-node': 1,
    'crash-controller': 1,
    'stop-node': 1,
    'stop-controller': 1,
    'stop-in-step': 40,
    'pause-in-step': 20,
    'kill-in-step': 10,
    'kill-node-in-step': 25,
  },
  async run(client) {
    const spaces = [await client.open('left'), await client.open('right')];
    await share(client, spaces, 2, counterPlaces);
    const using = new Using(client, spaces);
    // Until the memory is opened, at most nodes.
    await client.sleep(client.prng.pick([0, 5, 20]));
    // Who waits for what he takes away goes by messages until then: so most only use what there is.
    if (client.number % TAKERS_AMONG !== 0) {
      return inLanes(client, client.prng.between(1, 4), () => using.step());
    }
    const owners = [
      new Dooming(client, spaces),
      new Guarding(client, spaces),
      new Granting(client, spaces),
      new Guarding(client, spaces),
    ];
    await inLanes(client, client.prng.between(4, 5), (lane) => {
      return owners[lane]?.step() ?? using.step();
    });
  },
};
