// Counters, registers, locks and writes of several pages: what was attempted and acknowledged is in
// the ledger, for the loop to compare with what the memory holds.
import { below, fail, mustBePassing, sleep } from './helpers.mjs';
import { ACKNOWLEDGED, ATTEMPTED, GHOST, REFUSED } from './ledger.mjs';

const LEASE_MS = 500;
const WAIT_MS = 20_000;
const REST_MS = 40;
const MASK = 0xffff_ffffn;

export class Counting {
  operations = 0;
  #space;
  #plan;
  #ledger;
  #lane = 0;

  constructor(space, plan, ledger) {
    this.#space = space;
    this.#plan = plan;
    this.#ledger = ledger;
    const { registers, multi } = plan.items;
    for (const item of [...registers, multi]) this.#rememberGhost(item);
  }

  /** What the life before has started last may be done at any time until it is known. */
  #rememberGhost(item) {
    const attempted = this.#ledger.get(item, ATTEMPTED);
    const isKnown = attempted === this.#ledger.get(item, ACKNOWLEDGED);
    this.#ledger.set(item, GHOST, isKnown ? 0 : attempted);
  }

  async run(life, step) {
    while (!life.isEnding) {
      for (let i = below(20); i >= 0 && !life.isEnding; i--) await step.call(this);
      await sleep(below(REST_MS));
    }
  }

  async #counted(item, run) {
    const ledger = this.#ledger;
    ledger.add(item, ATTEMPTED);
    try {
      ledger.add(item, (await run()) ? ACKNOWLEDGED : REFUSED);
      this.operations += 1;
    } catch (error) {
      const code = mustBePassing(error, `item ${item}`);
      if (error.outcome === 'notApplied') ledger.add(item, REFUSED);
      else if (error.outcome === 'applied') ledger.add(item, ACKNOWLEDGED);
      if (code !== 'OutcomeUnknown') await sleep(below(3));
    }
  }

  async add() {
    const { counters, items } = this.#plan;
    const i = 2 * below(counters.length / 2);
    await this.#counted(items.counters[i], async () => {
      await this.#space.fetchAndAdd(counters[i], 1n);
      return true;
    });
  }

  async swap() {
    const { counters, items } = this.#plan;
    const i = 1 + 2 * below(counters.length / 2);
    let before;
    try {
      before = await this.#word(counters[i]);
    } catch (error) {
      mustBePassing(error, 'reading a counter');
      return sleep(1);
    }
    await this.#counted(items.counters[i], async () => {
      return (await this.#space.compareAndSwap(counters[i], before, before + 1n)) === before;
    });
  }

  async #word(at) {
    return Buffer.from(await this.#space.read(at, 8)).readBigUInt64LE();
  }

  /** Four lanes, each with a register of its own: no two writes of one register at a time. */
  registerLane() {
    const lane = this.#lane++;
    return async () => {
      const { items, registers, number } = this.#plan;
      const item = items.registers[lane];
      const at = registers[number][lane];
      const value = this.#ledger.get(item, ATTEMPTED) + 1;
      const bytes = Buffer.alloc(8);
      bytes.writeUInt32LE(value, 0);
      bytes.writeUInt32LE(this.#registerTag(number, lane), 4);
      this.#ledger.set(item, ATTEMPTED, value);
      try {
        await this.#space.write(at, bytes);
        this.#ledger.set(item, ACKNOWLEDGED, value);
        await this.#readBack(item, at, value);
        await this.#readOther();
        this.operations += 1;
      } catch (error) {
        mustBePassing(error, `register ${item}`);
        await sleep(below(3));
      }
    };
  }

  #registerTag(number, lane) {
    return 0x60606000 | (number << 4) | lane;
  }

  async #readBack(item, at, value) {
    const seen = Number((await this.#word(at)) & MASK);
    if (seen === value || seen === this.#ledger.get(item, GHOST)) return;
    fail(`register ${item} holds ${seen} and not ${value}, which was acknowledged`);
  }

  async #readOther() {
    const { registers } = this.#plan;
    const number = below(registers.length);
    const lane = below(registers[number].length);
    const word = await this.#word(registers[number][lane]);
    const tag = Number(word >> 32n);
    if (word === 0n || tag === this.#registerTag(number, lane)) return;
    fail(`the register ${lane} of client ${number} holds the foreign word ${word}`);
  }

  /** One write over three pages; each 16 KiB of it begins with its number. */
  async multi() {
    const { items, multis, number, pageBytes, marks } = this.#plan;
    const item = items.multi;
    const value = this.#ledger.get(item, ATTEMPTED) + 1;
    const bytes = Buffer.alloc(2.5 * pageBytes, marks.multi | number);
    for (let at = 0; at < bytes.length; at += 16_384) bytes.writeUInt32LE(value, at);
    this.#ledger.set(item, ATTEMPTED, value);
    try {
      await this.#space.write(multis[number] + 4096, bytes);
      this.#ledger.set(item, ACKNOWLEDGED, value);
      this.operations += 1;
    } catch (error) {
      mustBePassing(error, 'a write of several pages');
    }
    await sleep(below(10));
  }

  /** Counts under a lock, and publishes with its epoch: a late holder changes nothing. */
  async underLock() {
    const { locks, items } = this.#plan;
    const i = below(locks.length);
    let held;
    try {
      held = await this.#space.lock(locks[i]).acquire({ leaseMs: LEASE_MS, waitMs: WAIT_MS });
    } catch (error) {
      mustBePassing(error, 'acquiring a lock');
      return;
    }
    try {
      await this.#publish(items.locks[i], locks[i] + 8, held);
      await held.release();
    } catch (error) {
      mustBePassing(error, 'under a lock', ['Stale']);
    }
    await sleep(below(REST_MS));
  }

  async #publish(item, at, held) {
    const before = await this.#word(at);
    const epoch = Number(before >> 32n);
    if (epoch === held.epoch) fail(`two hold the lock with the epoch ${epoch}`);
    if (epoch > held.epoch) {
      if (held.lost.aborted) return;
      fail(`a lock of the epoch ${held.epoch} is held while ${epoch} has published`);
    }
    const value = (before & MASK) + 1n;
    const after = (BigInt(held.epoch) << 32n) | value;
    await this.#counted(item, async () => {
      return (await this.#space.compareAndSwap(at, before, after)) === before;
    });
  }
}
