/**
 * Several clients read, write, swap and add to the same few words, many operations under way at
 * once: whatever is lost, doubled, reordered or late shows in some word's history.
 */

import { defined } from '../../base/assert.js';
import { type WordValue, ZERO } from '../checkers/history.js';
import type { Allocation, Ended } from '../journal.js';
import type { ObservedSpace } from '../observed-space.js';
import { type ClientProgram, inLanes, share, type Workload } from './workload.js';

/** A page has its hot words at these places: first, last, and some between. */
const HOT = [0, 1, 2, 100, 1023, 4096, 8190, 8191];
/** Of those, the ones that are only added to. */
const COUNTERS = [1, 4096];
/** Between operations of a train: some meet a move together, some before and after it. */
const TRAIN_APART_MS: readonly number[] = [0.5, 5, 40];
const WORDS_PER_PAGE = 8192;

function everyPage(places: readonly number[], words: number): number[] {
  const all: number[] = [];
  for (let base = 0; base < words; base += WORDS_PER_PAGE) {
    for (const place of places) all.push(base + place);
  }
  return all;
}

export const counterPlaces = (words: number): number[] => everyPage(COUNTERS, words);

/** One operation on one hot word of one shared allocation. */
export class Registers {
  readonly #client: ClientProgram;
  readonly #spaces: readonly ObservedSpace[];
  /** What this client saw last of a word, so that swaps have a chance. */
  readonly #seen: Map<string, WordValue> = new Map();

  constructor(client: ClientProgram, spaces: readonly ObservedSpace[]) {
    this.#client = client;
    this.#spaces = spaces;
  }

  async step(): Promise<void> {
    const { prng, board } = this.#client;
    // Others may have found all of it lost meanwhile.
    if (board.shared.length === 0) await share(this.#client, this.#spaces, 2, counterPlaces);
    const allocation = prng.pick(board.shared);
    const place = prng.pick(everyPage(HOT, allocation.wordCount));
    const isCounter = allocation.counters.has(place);
    const space = defined(this.#spaces.find((one) => one.name === allocation.space));
    const ended = await (isCounter
      ? this.#count(space, allocation, place)
      : this.#use(space, allocation, place));
    if (ended.code === 'DataLost') await this.#replace(allocation);
  }

  /**
   * Some on a word that this client likes best, one after the other and none awaited before the
   * next one: whatever becomes of their links and owners meanwhile, they keep their order.
   */
  async train(): Promise<void> {
    const { board, number, prng, sleep } = this.#client;
    const allocation = board.shared[number % Math.max(1, board.shared.length)];
    const space = this.#spaces.find((one) => one.name === allocation?.space);
    if (allocation === undefined || space === undefined) return this.step();
    const places = HOT.filter((place) => !COUNTERS.includes(place));
    const place = places[number % places.length] ?? 0;
    const underWay: Promise<Ended>[] = [];
    for (let left = prng.between(2, 6); left > 0; left--) {
      const isWrite = prng.chance(700_000);
      underWay.push(
        isWrite ? space.writeWord(allocation, place) : space.readWord(allocation, place),
      );
      if (left > 1) await sleep(prng.pick(TRAIN_APART_MS));
    }
    const ended = await Promise.all(underWay);
    if (ended.some(({ code }) => code === 'DataLost')) await this.#replace(allocation);
  }

  /** Adds to one of the words that are only added to: what is done twice shows in their sums. */
  async add(): Promise<void> {
    const { prng, board } = this.#client;
    const allocation = board.shared.length === 0 ? undefined : prng.pick(board.shared);
    const space = this.#spaces.find((one) => one.name === allocation?.space);
    if (allocation === undefined || space === undefined) return this.step();
    const ended = await this.#count(space, allocation, prng.pick([...allocation.counters]));
    if (ended.code === 'DataLost') await this.#replace(allocation);
  }

  #count(space: ObservedSpace, allocation: Allocation, place: number): Promise<Ended> {
    const { prng } = this.#client;
    if (prng.chance(300_000)) return space.readWord(allocation, place);
    return space.addWord(allocation, place, prng.between(1, 3));
  }

  async #use(space: ObservedSpace, allocation: Allocation, place: number): Promise<Ended> {
    const key = `${allocation.id}/${place}`;
    const choice = this.#client.prng.below(100);
    let ended: Ended;
    if (choice < 45) ended = await space.readWord(allocation, place);
    else if (choice < 75) ended = await space.writeWord(allocation, place);
    else ended = await space.swapWord(allocation, place, this.#seen.get(key) ?? ZERO);
    const { operations } = defined(allocation.words.get(place));
    const last = operations[operations.length - 1];
    if (last !== undefined) this.#seen.set(key, last.verb === 1 ? last.argument : last.result);
    return ended;
  }

  /** Its node is gone for good: others take its place, and once in a while it is asked again. */
  async #replace(allocation: Allocation): Promise<void> {
    const { board } = this.#client;
    const at = board.shared.indexOf(allocation);
    if (at >= 0 && this.#client.prng.chance(800_000)) board.shared.splice(at, 1);
    await share(this.#client, this.#spaces, 2, counterPlaces);
  }
}

export const registers: Workload = {
  name: 'registers',
  about: 'reads, writes, swaps and additions of several clients on the same words',
  isBulky: false,
  frames: [16, 48],
  steps: 1_050,
  blows: {
    cut: 30,
    corrupt: 15,
    partition: 10,
    'pause-node': 15,
    'pause-client': 5,
    'kill-node': 10,
    'kill-supervisor': 0,
    'kill-client': 5,
    'kill-controller': 5,
    'pause-controller': 2,
    'crash-node': 0,
    'crash-controller': 2,
    'stop-node': 0,
    'stop-controller': 2,
  },
  async run(client) {
    const spaces = [await client.open('registers')];
    await share(client, spaces, 2, counterPlaces);
    const words = new Registers(client, spaces);
    await inLanes(client, client.prng.between(1, 12), () => words.step());
  },
};
