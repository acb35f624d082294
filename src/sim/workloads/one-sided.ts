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

const DOOMED_MAX = 2;
const FORMER_MAX = 4;
/** How often what takes pages away comes when somebody is in the middle of a step. */
const AT_A_STOP_PER_MILLION = 400_000;
const REST_PER_MILLION = 40_000;
const REST_MS = [20, 100, 300] as const;
/** How long the owner of a page that nobody may change looks whether somebody does. */
const LOOK_AGAIN_MS = [0, 1, 30, 150, 400] as const;

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
    if (this.#client.prng.chance(AT_A_STOP_PER_MILLION)) await this.#client.untilStopped(20);
    this.#forget(one);
    const { former } = this.#client.board;
    if ((await space.free(one)).code !== 'Ok') return;
    former.push(one);
    if (former.length > FORMER_MAX) former.shift();
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
    if (prng.chance(2 * AT_A_STOP_PER_MILLION)) await this.#client.untilStopped(100);
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
    if (choice < 25) return this.#registers.step();
    if (choice < 50 && board.doomed.length > 0) return this.#touch(prng.pick(board.doomed));
    if (choice < 70 && board.guarded.length > 0) return this.#touch(prng.pick(board.guarded));
    if (choice < 90 && board.grants.length > 0) {
      return grantUser(this.#client, this.#spaces, this.#windows);
    }
    if (choice < 93 && board.former.length > 0) {
      const one = prng.pick(board.former);
      await spaceOf(this.#spaces, one).readFormer(one);
      return;
    }
    const movable = [...board.shared, ...board.guarded, ...board.doomed];
    if (choice < 97 && movable.length > 0) {
      const one = prng.pick(movable);
      if (prng.chance(AT_A_STOP_PER_MILLION)) await this.#client.untilStopped(20);
      await spaceOf(this.#spaces, one).relocate(one);
      return;
    }
    return this.#registers.step();
  }

  async #touch(allocation: Allocation): Promise<void> {
    const ended = await touch(this.#client, spaceOf(this.#spaces, allocation), allocation);
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
    'kill-node-in-step': 15,
  },
  async run(client) {
    const spaces = [await client.open('left'), await client.open('right')];
    await share(client, spaces, 2, counterPlaces);
    const dooming = new Dooming(client, spaces);
    const owner =
      client.number % 2 === 0 ? new Guarding(client, spaces) : new Granting(client, spaces);
    const using = new Using(client, spaces);
    // Until the memory is opened, at most nodes.
    await client.sleep(client.prng.pick([0, 5, 20]));
    await inLanes(client, client.prng.between(3, 7), (lane) => {
      if (lane === 0) return dooming.step();
      return lane === 1 ? owner.step() : using.step();
    });
  },
};
