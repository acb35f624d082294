/**
 * The record against maps of maps, over time that also stands still, leaps and wraps. What must
 * never happen is looked at besides: that a change is forgotten before its deadline, that `NEVER`
 * is said of one that was entered. `MEMRACK_FUZZ` sets the number of steps of each load,
 * `MEMRACK_SEED` the first seed.
 */

import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { BUCKET_MS, BUCKETS, ChangeRecord, deadlineOf, Verdict } from './record.js';

const STEPS = Number(process.env['MEMRACK_FUZZ'] ?? 20_000);
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
const WRAP = 2 ** 32;

interface Change {
  readonly clientLow: number;
  readonly clientHigh: number;
  readonly link: number;
  readonly id: number;
  readonly deadline: number;
  readonly result: number;
}

const endOf = (bucket: number) => bucket * BUCKET_MS + BUCKET_MS - 1;

class Model {
  readonly buckets = new Map<number, Map<string, Change>>();
  forgotten = Number.NEGATIVE_INFINITY;
  rows = 0;
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  static key(change: Change): string {
    const { clientLow, clientHigh, link, id, deadline } = change;
    return [clientLow, clientHigh, link, id, deadline].join();
  }

  find(change: Change): Change | undefined {
    const bucket = this.buckets.get(Math.floor(change.deadline / BUCKET_MS));
    return bucket?.get(Model.key(change));
  }

  makeRoom(now: number): boolean {
    if (this.rows < this.#capacity) return true;
    const oldest = Math.min(...this.buckets.keys());
    if (endOf(oldest) > now) return false;
    this.#forget(oldest);
    return true;
  }

  enter(change: Change, now: number): boolean {
    if (!this.makeRoom(now)) return false;
    const number = Math.floor(change.deadline / BUCKET_MS);
    for (const other of [...this.buckets.keys()]) {
      if (other !== number && (number - other) % BUCKETS === 0) this.#forget(other);
    }
    const bucket = this.buckets.get(number) ?? new Map<string, Change>();
    bucket.set(Model.key(change), change);
    this.buckets.set(number, bucket);
    this.rows++;
    return true;
  }

  #forget(number: number): void {
    this.rows -= this.buckets.get(number)?.size ?? 0;
    this.buckets.delete(number);
    this.forgotten = Math.max(this.forgotten, endOf(number));
  }
}

interface Load {
  readonly label: string;
  readonly rows: number;
  readonly start: number;
  /** How far time goes between two steps, mostly, in ms. */
  readonly pace: number;
  /** Keys are drawn from so few that they meet often. */
  readonly keys: number;
  /** Whether it is so fast that the record is full at times. */
  readonly isFull: boolean;
}

const LOADS: readonly Load[] = [
  { label: 'crowded', rows: 16, start: 5000, pace: 4, keys: 4, isFull: true },
  { label: 'roomy', rows: 1024, start: 5000, pace: 8, keys: 1000, isFull: false },
  { label: 'at the wrap', rows: 64, start: WRAP - 20_000, pace: 10, keys: 20, isFull: false },
  { label: 'at once', rows: 128, start: 2 ** 40, pace: 0.05, keys: 1000, isFull: true },
];

class Run {
  readonly seen = { found: 0, never: 0, late: 0, full: 0, entered: 0 };
  readonly #load: Load;
  readonly #prng = new Prng(SEED);
  readonly #record: ChangeRecord;
  readonly #model: Model;
  readonly #entered: Change[] = [];
  #exact: number;

  constructor(load: Load) {
    this.#load = load;
    this.#record = new ChangeRecord({ rows: load.rows, seed: this.#prng.u32() });
    this.#model = new Model(load.rows);
    this.#exact = load.start;
  }

  /** One change comes: a new one, one of before, or one like it that never came. */
  step(where: string): void {
    const prng = this.#prng;
    this.#exact += prng.fraction() * 2 * this.#load.pace;
    if (prng.below(2000) === 0) this.#exact += prng.below(100_000);
    const now = Math.floor(this.#exact);
    const entered = this.#entered;
    const isOld = entered.length > 0 && prng.below(3) === 0;
    const old = isOld ? entered[entered.length - 1 - prng.below(entered.length)] : undefined;
    const asked = old ?? this.#draw(now);
    if (prng.below(8) === 0) this.#ask({ ...asked, id: 0xffff_ffff }, false, now, where);
    else this.#ask(asked, old !== undefined, now, where);
  }

  #draw(now: number): Change {
    const prng = this.#prng;
    const { keys } = this.#load;
    return {
      clientLow: prng.below(keys),
      clientHigh: prng.below(2),
      link: 0xffff_fffe + prng.below(2),
      id: prng.below(keys) * 0x10001,
      deadline: now + (prng.below(4) === 0 ? -prng.below(200) : prng.between(1, 1000)),
      result: prng.u32() | 0,
    };
  }

  #ask(asked: Change, wasEntered: boolean, now: number, where: string): void {
    const record = this.#record;
    const { clientLow, clientHigh, link, id } = asked;
    // As it comes over the wire the deadline is modulo 2^32.
    const deadline = deadlineOf(asked.deadline >>> 0, now);
    expect(deadline, where).toBe(asked.deadline);
    const row = record.find(clientLow, clientHigh, link, id, deadline);
    const known = this.#model.find(asked);
    if (row >= 0 !== (known !== undefined)) expect.fail(`${where}: row ${row}`);
    if (known !== undefined) {
      this.seen.found++;
      const told = [record.status(row), record.low(row), record.high(row)];
      expect(told, where).toEqual([known.result & 15, known.result, ~known.result]);
    } else if (deadline <= now) {
      const verdict = record.verdict(deadline);
      const isNever = verdict === Verdict.NEVER;
      expect(isNever, where).toBe(deadline > this.#model.forgotten);
      this.seen[isNever ? 'never' : 'late']++;
      if (wasEntered && isNever) expect.fail(`${where}: it was executed`);
    } else {
      if (wasEntered) expect.fail(`${where}: forgotten too early`);
      this.#enter(asked, now, where);
    }
  }

  #enter(change: Change, now: number, where: string): void {
    const { clientLow, clientHigh, link, id, deadline, result } = change;
    const record = this.#record;
    const hasRoom = this.#model.makeRoom(now);
    if (this.#prng.below(2) === 0) expect(record.makeRoom(now), where).toBe(hasRoom);
    const row = record.enter(clientLow, clientHigh, link, id, deadline, now);
    expect(row >= 0, where).toBe(this.#model.enter(change, now));
    expect(record.rows, where).toBe(this.#model.rows);
    this.seen[row < 0 ? 'full' : 'entered']++;
    if (row < 0) return;
    record.setResult(row, result & 15, result, ~result);
    this.#entered.push(change);
    if (this.#entered.length > 4 * this.#load.rows) this.#entered.shift();
  }
}

for (const load of LOADS) {
  test(`${load.label}: the record says what maps say`, () => {
    const run = new Run(load);
    for (let step = 0; step < STEPS; step++) run.step(`seed ${SEED}, step ${step}`);
    const { seen } = run;
    const least = Math.min(seen.found, seen.never, seen.late, seen.entered);
    expect(least, JSON.stringify(seen)).toBeGreaterThan(STEPS / 200);
    if (load.isFull) expect(seen.full).toBeGreaterThan(STEPS / 200);
  });
}
