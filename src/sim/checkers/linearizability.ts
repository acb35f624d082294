/**
 * Decides whether what clients saw of a word can be explained by one order of the operations, each
 * taking effect at one moment between its call and its return (linearizability), with the order
 * that a client is promised for its own operations kept besides.
 *
 * The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993) with Lowe's
 * memory of configurations already seen ("Testing for linearizability", 2017): depth first over
 * which operation comes next; a configuration is the set of operations done and the word's value.
 * Operations with an unknown outcome may come anywhere after their call, or never. Of one client
 * they keep their place: a write whose outcome is unknown never lands after a later operation of
 * the same client on the same word.
 *
 * A read that agrees with the value and may come next comes next, and nothing else is tried in its
 * place: it changes nothing, so wherever it came later it may come now. (Not where an earlier write
 * of its client has an unknown outcome: that could not land any more.)
 *
 * The memory holds 53-bit hashes. Two configurations that share one could make the search miss an
 * explanation, never invent one; so a violation is looked at again with other hash constants.
 */

import { assert, defined } from '../../base/assert.js';
import { Prng } from '../../base/prng.js';
import {
  DISCARDED,
  describeOperation,
  describeValue,
  type WordHistory,
  type WordOperation,
  WordVerb,
} from './history.js';

export type Verdict =
  | { readonly kind: 'linearizable' }
  | { readonly kind: 'violation'; readonly explanation: string }
  /** The search was longer than allowed. Counts as a failure: nothing was shown. */
  | { readonly kind: 'gave-up'; readonly explanation: string };

/** Steps of one search; a history of a few hundred operations takes about as many steps. */
export const STEPS_MAX = 2_000_000;

export function checkWord(history: WordHistory, stepsMax = STEPS_MAX): Verdict {
  const problem = prepare(history.operations);
  const first = new Search(problem, 1);
  let outcome = first.run(stepsMax);
  if (outcome === 'violation') outcome = new Search(problem, 2).run(stepsMax);
  if (outcome === 'linearizable') return { kind: outcome };
  return { kind: outcome, explanation: `word ${history.name}: ${first.explain()}` };
}

/** The operations as columns: those with a known outcome first, each part in the order of calls. */
interface Problem {
  readonly operations: readonly WordOperation[];
  /** How many have a known outcome. */
  readonly known: number;
  /** The client of an operation, counted from 0. */
  readonly client: Int32Array;
  readonly clients: number;
  /** The place of an operation among all of its client. */
  readonly place: Int32Array;
  /** How many operations with a known outcome its client called before. */
  readonly before: Int32Array;
  /** The last change with a known outcome that its client called before, or -1. */
  readonly changeBefore: Int32Array;
  /** 1: its client called one before whose outcome is unknown. */
  readonly hasOpenBefore: Uint8Array;
  /** What has an unknown outcome may have been taken away at some moment. */
  readonly areTakenAway: boolean;
}

function prepare(all: readonly WordOperation[]): Problem {
  const byCall = all
    .filter((one) => !isUseless(one))
    .map(endedWhenTakenAway)
    .sort((a, b) => a.calledAt - b.calledAt);
  const isOpen = (one: WordOperation) => one.returnedAt === Infinity;
  const knownOnes = byCall.filter((one) => !isOpen(one));
  const operations = [...knownOnes, ...usefulUnknowns(knownOnes, byCall.filter(isOpen))];
  const count = operations.length;
  const clients = new Map<
    number,
    { place: number; known: number; change: number; hasOpen: boolean }
  >();
  const problem = {
    operations,
    known: knownOnes.length,
    client: new Int32Array(count),
    clients: 0,
    place: new Int32Array(count),
    before: new Int32Array(count),
    changeBefore: new Int32Array(count),
    hasOpenBefore: new Uint8Array(count),
    areTakenAway: operations.some(({ takenAwayAt }) => takenAwayAt !== undefined),
  };
  const numbers = new Map<number, number>();
  const order = operations.map((_, index) => index);
  order.sort((a, b) => defined(operations[a]).calledAt - defined(operations[b]).calledAt);
  for (const index of order) {
    const one = defined(operations[index]);
    const seen = clients.get(one.client) ?? { place: 0, known: 0, change: -1, hasOpen: false };
    if (!numbers.has(one.client)) numbers.set(one.client, numbers.size);
    problem.client[index] = defined(numbers.get(one.client));
    problem.place[index] = ++seen.place;
    problem.before[index] = seen.known;
    problem.changeBefore[index] = seen.change;
    problem.hasOpenBefore[index] = seen.hasOpen ? 1 : 0;
    seen.hasOpen ||= index >= problem.known;
    if (index < problem.known) seen.known++;
    if (index < problem.known && one.verb !== WordVerb.read) seen.change = index;
    clients.set(one.client, seen);
  }
  problem.clients = clients.size;
  return problem;
}

/** An answer that came after the report says nothing of when it was: that was before the report. */
function endedWhenTakenAway(operation: WordOperation): WordOperation {
  const { returnedAt, takenAwayAt = Infinity } = operation;
  const isKnown = returnedAt !== Infinity && returnedAt !== DISCARDED;
  return isKnown && takenAwayAt < returnedAt
    ? { ...operation, returnedAt: takenAwayAt }
    : operation;
}

/** A read that never returned says nothing, and what was refused did not happen. */
function isUseless(operation: WordOperation): boolean {
  if (operation.returnedAt === DISCARDED) return true;
  return operation.verb === WordVerb.read && operation.returnedAt === Infinity;
}

/**
 * A write whose value nobody ever saw need not have happened. Sums spread over other values, so
 * where one is open everything is kept.
 */
function usefulUnknowns(known: readonly WordOperation[], open: WordOperation[]): WordOperation[] {
  if (open.some((one) => one.verb === WordVerb.fetchAndAdd)) return open;
  const key = (value: { low: number; high: number }) => value.high * 2 ** 32 + value.low;
  const seen = new Set<number>();
  for (const one of known) if (one.verb !== WordVerb.write) seen.add(key(one.result));
  for (let size = -1; size !== seen.size; ) {
    size = seen.size;
    for (const one of open) {
      if (one.verb === WordVerb.compareAndSwap && seen.has(key(one.argument))) {
        seen.add(key(one.expected));
      }
    }
  }
  return open.filter((one) => seen.has(key(one.argument)));
}

class Search {
  readonly #problem: Problem;
  readonly #done: Uint8Array;
  /** Per client: operations with a known outcome done, and the highest place done. */
  readonly #knownDone: Int32Array;
  readonly #placeDone: Int32Array;
  readonly #seen = new Set<number>();
  /** One random pair per operation; a set's hash is the exclusive-or of its members'. */
  readonly #markA: Int32Array;
  readonly #markB: Int32Array;
  // The path: one entry per operation done, and what undoing it brings back.
  readonly #path: Int32Array;
  /** 1: nothing else needs to be tried in its place. */
  readonly #isOnly: Uint8Array;
  readonly #lowBefore: Uint32Array;
  readonly #highBefore: Uint32Array;
  readonly #placeBefore: Int32Array;
  readonly #calledBefore: Float64Array;
  #depth = 0;
  /** Of all that are done, the last call: the moment is not before it. */
  #called = 0;
  #low = 0;
  #high = 0;
  #nextLow = 0;
  #nextHigh = 0;
  #hashA = 0;
  #hashB = 0;
  #knownTotal = 0;
  #deepest = -1;
  #deepestPath: readonly number[] = [];
  #deepestValue = '';

  constructor(problem: Problem, hashSeed: number) {
    const count = problem.operations.length;
    this.#problem = problem;
    this.#done = new Uint8Array(count);
    this.#knownDone = new Int32Array(problem.clients);
    this.#placeDone = new Int32Array(problem.clients);
    this.#path = new Int32Array(count);
    this.#isOnly = new Uint8Array(count);
    this.#lowBefore = new Uint32Array(count);
    this.#highBefore = new Uint32Array(count);
    this.#placeBefore = new Int32Array(count);
    this.#calledBefore = new Float64Array(count);
    const prng = new Prng(hashSeed);
    this.#markA = Int32Array.from({ length: count }, () => prng.u32());
    this.#markB = Int32Array.from({ length: count }, () => prng.u32());
  }

  run(stepsMax: number): Verdict['kind'] {
    const { known } = this.#problem;
    let from = 0;
    // All known operations before it are done.
    let base = 0;
    for (let steps = 0; steps < stepsMax; steps++) {
      if (this.#knownTotal === known) return 'linearizable';
      while (this.#done[base] === 1) base++;
      const read = from === 0 ? this.#settledRead(base) : -1;
      const next = read >= 0 ? this.#ifNew(read) : this.#candidate(base, from);
      if (next >= 0) {
        this.#isOnly[this.#depth] = read >= 0 ? 1 : 0;
        this.#push(next);
        from = 0;
        continue;
      }
      if (this.#knownTotal > this.#deepest) this.#remember();
      if (this.#depth === 0) return 'violation';
      const undone = this.#pop();
      from = this.#isOnly[this.#depth] === 1 ? this.#path.length : undone + 1;
      if (undone < base) base = undone;
    }
    this.#remember();
    return 'gave-up';
  }

  #ifNew(index: number): number {
    return this.#fits(index, this.#problem.operations[index] as WordOperation) ? index : -1;
  }

  /** A read that may come next and shows the value, whatever else comes after it; or -1. */
  #settledRead(base: number): number {
    const { operations, known, hasOpenBefore, areTakenAway } = this.#problem;
    if (areTakenAway) return -1;
    const limit = this.#limit(base);
    for (let i = base; i < known; i++) {
      const one = operations[i] as WordOperation;
      if (one.calledAt > limit) break;
      const isFree = this.#done[i] === 0 && hasOpenBefore[i] === 0 && one.verb === WordVerb.read;
      const agrees = one.result.low === this.#low && one.result.high === this.#high;
      if (isFree && agrees && this.#isInTurn(i, one)) return i;
    }
    return -1;
  }

  /** Nothing may come before an operation that had returned when it was called. */
  #limit(base: number): number {
    const { operations, known } = this.#problem;
    let limit = Infinity;
    for (let i = base; i < known; i++) {
      const one = operations[i] as WordOperation;
      if (one.calledAt > limit) break;
      if (this.#done[i] === 0 && one.returnedAt < limit) limit = one.returnedAt;
    }
    return limit;
  }

  /** The first operation from `from` on that may come next and leads to something new, or -1. */
  #candidate(base: number, from: number): number {
    const { operations, known } = this.#problem;
    const limit = this.#limit(base);
    for (let i = Math.max(base, from); i < known; i++) {
      const one = operations[i] as WordOperation;
      if (one.calledAt > limit) break;
      if (this.#done[i] === 0 && this.#isInTurn(i, one) && this.#fits(i, one)) return i;
    }
    for (let i = Math.max(known, from); i < operations.length; i++) {
      const one = operations[i] as WordOperation;
      if (one.calledAt > limit) break;
      // What was taken away by now does nothing any more.
      if ((one.takenAwayAt ?? Infinity) < this.#called) continue;
      if (this.#done[i] === 0 && this.#isInTurn(i, one) && this.#fits(i, one)) return i;
    }
    return -1;
  }

  /** Whether the order of its own client lets it come now. */
  #isInTurn(index: number, operation: WordOperation): boolean {
    const { client, place, before, changeBefore, known } = this.#problem;
    const who = client[index] as number;
    if (index >= known || operation.verb !== WordVerb.read) {
      // A change comes after all that its client called before, and before all it called later.
      const isFirst = (this.#placeDone[who] as number) < (place[index] as number);
      return isFirst && this.#knownDone[who] === before[index];
    }
    const change = changeBefore[index] as number;
    return change < 0 || this.#done[change] === 1;
  }

  /** Whether its result agrees with the word's value; if so what it leaves, and whether new. */
  #fits(index: number, one: WordOperation): boolean {
    const isOpen = index >= this.#problem.known;
    const agrees = one.result.low === this.#low && one.result.high === this.#high;
    if (one.verb !== WordVerb.write && !isOpen && !agrees) return false;
    this.#nextLow = this.#low;
    this.#nextHigh = this.#high;
    if (one.verb === WordVerb.fetchAndAdd) {
      const sum = this.#low + one.argument.low;
      this.#nextLow = sum >>> 0;
      this.#nextHigh = (this.#high + one.argument.high + (sum >= 2 ** 32 ? 1 : 0)) >>> 0;
    } else if (one.verb === WordVerb.write || this.#swaps(one)) {
      this.#nextLow = one.argument.low;
      this.#nextHigh = one.argument.high;
    }
    // An open operation that changes nothing may as well not have happened.
    if (isOpen && this.#nextLow === this.#low && this.#nextHigh === this.#high) return false;
    const key = this.#key(index);
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }

  #swaps(one: WordOperation): boolean {
    return (
      one.verb === WordVerb.compareAndSwap &&
      one.expected.low === this.#low &&
      one.expected.high === this.#high
    );
  }

  /** Of the configuration after `index`. */
  #key(index: number): number {
    let a = this.#hashA ^ (this.#markA[index] as number);
    let b = this.#hashB ^ (this.#markB[index] as number);
    a = mix(a ^ Math.imul(this.#nextLow, 0x9e3779b1) ^ mix(this.#nextHigh + 0x165667b1));
    b = mix(b ^ Math.imul(this.#nextHigh, 0x85ebca77) ^ mix(this.#nextLow + 0x27d4eb2f));
    return (a >>> 0) * 2 ** 21 + (b >>> 11);
  }

  #push(index: number): void {
    const who = this.#problem.client[index] as number;
    const place = this.#problem.place[index] as number;
    this.#path[this.#depth] = index;
    this.#lowBefore[this.#depth] = this.#low;
    this.#highBefore[this.#depth] = this.#high;
    this.#placeBefore[this.#depth] = this.#placeDone[who] as number;
    this.#calledBefore[this.#depth] = this.#called;
    this.#depth++;
    this.#called = Math.max(
      this.#called,
      (this.#problem.operations[index] as WordOperation).calledAt,
    );
    this.#done[index] = 1;
    if (index < this.#problem.known) {
      this.#knownTotal++;
      this.#knownDone[who] = (this.#knownDone[who] as number) + 1;
    }
    this.#placeDone[who] = Math.max(place, this.#placeDone[who] as number);
    this.#low = this.#nextLow;
    this.#high = this.#nextHigh;
    this.#hashA ^= this.#markA[index] as number;
    this.#hashB ^= this.#markB[index] as number;
  }

  /** Undoes the last operation of the path and tells which it was. */
  #pop(): number {
    this.#depth--;
    const index = this.#path[this.#depth] as number;
    const who = this.#problem.client[index] as number;
    this.#done[index] = 0;
    if (index < this.#problem.known) {
      this.#knownTotal--;
      this.#knownDone[who] = (this.#knownDone[who] as number) - 1;
    }
    this.#placeDone[who] = this.#placeBefore[this.#depth] as number;
    this.#called = this.#calledBefore[this.#depth] as number;
    this.#low = this.#lowBefore[this.#depth] as number;
    this.#high = this.#highBefore[this.#depth] as number;
    this.#hashA ^= this.#markA[index] as number;
    this.#hashB ^= this.#markB[index] as number;
    return index;
  }

  #remember(): void {
    this.#deepest = this.#knownTotal;
    this.#deepestPath = [...this.#path.subarray(0, this.#depth)];
    this.#deepestValue = describeValue({ low: this.#low, high: this.#high });
  }

  /** Where the best attempt ended: what it had explained, and what could not come next. */
  explain(): string {
    const { operations, known } = this.#problem;
    const done = new Set(this.#deepestPath);
    const rest = operations.filter((_, index) => !done.has(index));
    const limit = Math.min(...rest.map((one) => one.returnedAt));
    const stuck = rest.filter((one) => one.calledAt < limit);
    const last = this.#deepestPath.slice(-6).map((index) => defined(operations[index]));
    assert(done.size <= operations.length);
    return [
      `${Math.max(0, this.#deepest)} of ${known} operations explained; the last of them:`,
      ...last.map((one) => `    ${describeOperation(one)}`),
      `  then the value is ${this.#deepestValue}, and none of these can follow:`,
      ...stuck.slice(0, 12).map((one) => `    ${describeOperation(one)}`),
    ].join('\n');
  }
}

/** The finishing steps of MurmurHash3: every input bit changes every output bit half the time. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
