// Compares what clients were told with what the memory holds, while they go on.
import type { Space } from '../../../src/apps/library.js';
import type { Entry, Items, StopClient } from './clients.js';
import { must } from './persist.js';

export interface Places {
  readonly counters: readonly number[];
  readonly locks: readonly number[];
  readonly registers: readonly (readonly number[])[];
  readonly multis: readonly number[];
}

const MULTI_OFFSET = 4096;
const MULTI_STRIDE = 16_384;
const VALUE = 0xffff_ffffn;

/** What is read is between what was acknowledged before and what was attempted after. */
export class LedgerCheck {
  checked = 0;
  readonly #spaces: readonly Space[];
  readonly #clients: readonly StopClient[];
  readonly #items: Items;
  readonly #places: Places;
  #turn = 0;

  constructor(
    spaces: readonly Space[],
    clients: readonly StopClient[],
    items: Items,
    places: Places,
  ) {
    this.#spaces = spaces;
    this.#clients = clients;
    this.#items = items;
    this.#places = places;
  }

  async run(): Promise<void> {
    const { counters, locks } = this.#places;
    const { items } = { items: this.#items };
    for (const [i, at] of counters.entries()) {
      await this.#sum(`counter ${i}`, items.counters[i] as number, at, (word) => Number(word));
    }
    for (const [i, at] of locks.entries()) {
      const item = items.locks[i] as number;
      await this.#sum(`lock ${i}`, item, at + 8, (word) => Number(word & VALUE));
    }
    for (const client of this.#clients) {
      await this.#registers(client);
      await this.#multi(client);
    }
  }

  get #space(): Space {
    this.#turn += 1;
    return this.#spaces[this.#turn % this.#spaces.length] as Space;
  }

  async #word(at: number): Promise<bigint> {
    const space = this.#space;
    const bytes = await must('read', () => space.read(at, 8));
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }

  #total(item: number, of: (entry: Entry) => number): number {
    return this.#clients.reduce((sum, client) => sum + of(client.read()[item] as Entry), 0);
  }

  async #sum(
    what: string,
    item: number,
    at: number,
    valueOf: (word: bigint) => number,
  ): Promise<void> {
    const least = this.#total(item, ({ acknowledged }) => acknowledged);
    const value = valueOf(await this.#word(at));
    const most = this.#total(item, ({ attempted, third }) => attempted - third);
    this.checked += 1;
    if (value >= least && value <= most) return;
    throw new Error(`${what} at ${at} is ${value}, not one of ${least} to ${most}`);
  }

  async #registers(client: StopClient): Promise<void> {
    const places = this.#places.registers[client.number] ?? [];
    for (const [lane, at] of places.entries()) {
      const item = this.#items.registers[lane] as number;
      await this.#single(`register ${lane} of client ${client.number}`, client, item, async () => {
        return [Number((await this.#word(at)) & VALUE)];
      });
    }
  }

  #multi(client: StopClient): Promise<void> {
    const at = (this.#places.multis[client.number] as number) + MULTI_OFFSET;
    const what = `the pages of client ${client.number}`;
    return this.#single(what, client, this.#items.multi, async () => {
      const space = this.#space;
      const bytes = await must('read', () => space.read(at, 2.5 * space.pageBytes));
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const count = Math.ceil(bytes.length / MULTI_STRIDE);
      return Array.from({ length: count }, (_, i) => view.getUint32(i * MULTI_STRIDE, true));
    });
  }

  async #single(
    what: string,
    client: StopClient,
    item: number,
    read: () => Promise<number[]>,
  ): Promise<void> {
    const before = client.read()[item] as Entry;
    const values = await read();
    const after = client.read()[item] as Entry;
    this.checked += values.length;
    for (const value of values) {
      if (value >= before.acknowledged && value <= after.attempted) continue;
      const isLate = value !== 0 && (value === before.third || value === after.third);
      if (isLate) continue;
      const range = `${before.acknowledged} to ${after.attempted}`;
      throw new Error(`${what}, item ${item}, holds ${value}, not one of ${range}`);
    }
  }
}
