/**
 * Histories of one word with a known verdict, to test the checker with: good ones come from a real
 * register whose operations take effect at random moments between call and return; bad ones are
 * good ones with one lie that no order can explain.
 */

import { defined } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import { addValues, sameValue, type WordOperation, type WordValue, WordVerb } from './history.js';

interface Planned {
  operation: WordOperation;
  /** When it takes effect; `Infinity`: never. */
  effectAt: number;
}

export interface Shape {
  readonly clients: number;
  readonly operations: number;
  /** Chance in a million that an operation never returns. */
  readonly unknown: number;
  /** Operations that one client may have under way. */
  readonly inFlight: number;
  readonly verbs: readonly WordVerb[];
}

const NEVER_WRITTEN = { low: 0xffff_fff0, high: 0 };

/** Written values are unique, so that every value read names its write. */
export function goodHistory(prng: Prng, shape: Shape): WordOperation[] {
  const planned: Planned[] = [];
  const effectBefore = new Array<number>(shape.clients).fill(0);
  const returnsOf: number[][] = Array.from({ length: shape.clients }, () => []);
  for (let i = 0; i < shape.operations; i++) {
    const client = prng.below(shape.clients);
    const returns = defined(returnsOf[client]);
    // With the window full, the next call waits for the oldest return.
    const oldest = returns.length >= shape.inFlight ? (returns.shift() ?? 0) : 0;
    const calledAt = Math.max(oldest, lastCall(planned, client)) + prng.fraction() + 1e-9;
    const isUnknown = prng.chance(shape.unknown);
    const after = Math.max(calledAt, defined(effectBefore[client]));
    let effectAt = after + prng.fraction() * prng.between(1, 4) + 1e-9;
    if (isUnknown && prng.chance(500_000)) effectAt = Infinity;
    if (effectAt !== Infinity) effectBefore[client] = effectAt;
    const returnedAt = isUnknown ? Infinity : effectAt + prng.fraction();
    if (!isUnknown) returns.push(returnedAt);
    planned.push({
      operation: makeOperation(prng, shape, i, client, calledAt, returnedAt),
      effectAt,
    });
  }
  return perform(prng, planned);
}

function lastCall(planned: readonly Planned[], client: number): number {
  for (let i = planned.length - 1; i >= 0; i--) {
    const { operation } = defined(planned[i]);
    if (operation.client === client) return operation.calledAt;
  }
  return 0;
}

function makeOperation(
  prng: Prng,
  shape: Shape,
  index: number,
  client: number,
  calledAt: number,
  returnedAt: number,
): WordOperation {
  const verb = prng.pick(shape.verbs);
  const unique = { low: (index + 1) * 1000, high: prng.below(3) };
  const argument = verb === WordVerb.fetchAndAdd ? { low: 1 + prng.below(3), high: 0 } : unique;
  const nothing = { low: 0, high: 0 };
  return { client, verb, argument, expected: nothing, result: nothing, calledAt, returnedAt };
}

/** Runs the plan on a register; a swap expects the value that is there, or another. */
function perform(prng: Prng, planned: readonly Planned[]): WordOperation[] {
  let value: WordValue = { low: 0, high: 0 };
  const results: WordOperation[] = [];
  for (const { operation, effectAt } of [...planned].sort((a, b) => a.effectAt - b.effectAt)) {
    const expected = prng.chance(600_000) ? value : { low: 7, high: 7 };
    const isSwapped = operation.verb === WordVerb.compareAndSwap && sameValue(expected, value);
    results.push({ ...operation, expected, result: value });
    if (effectAt === Infinity) continue;
    if (operation.verb === WordVerb.write || isSwapped) value = operation.argument;
    if (operation.verb === WordVerb.fetchAndAdd) value = addValues(value, operation.argument);
  }
  return results;
}

/** One kind of lie; undefined where the history offers no place for it. */
export type Lie = (prng: Prng, history: readonly WordOperation[]) => WordOperation[] | undefined;

function replaceOne(
  history: readonly WordOperation[],
  old: WordOperation,
  changes: Partial<WordOperation>,
): WordOperation[] {
  return history.map((one) => (one === old ? { ...one, ...changes } : one));
}

function isKnown(one: WordOperation): boolean {
  return one.returnedAt !== Infinity;
}

function reads(history: readonly WordOperation[]): WordOperation[] {
  return history.filter((one) => one.verb === WordVerb.read && isKnown(one));
}

/** A value that nobody wrote: foreign bytes, or a write that was refused and happened anyway. */
const foreignValue: Lie = (prng, history) => {
  const candidates = history.filter((one) => one.verb !== WordVerb.write && isKnown(one));
  if (candidates.length === 0) return undefined;
  return replaceOne(history, prng.pick(candidates), { result: NEVER_WRITTEN });
};

/** Zero again after a write: an acknowledged write is lost. No addition wraps to zero here. */
const lostWrite: Lie = (prng, history) => {
  const lost = reads(history).filter((read) =>
    history.some((w) => w.verb === WordVerb.write && w.returnedAt < read.calledAt),
  );
  if (lost.length === 0) return undefined;
  return replaceOne(history, prng.pick(lost), { result: { low: 0, high: 0 } });
};

/** The value of a write that another write has certainly replaced. Only without additions. */
const staleRead: Lie = (prng, history) => {
  if (history.some((one) => one.verb === WordVerb.fetchAndAdd)) return undefined;
  const writes = history.filter((one) => one.verb === WordVerb.write && isKnown(one));
  for (const read of reads(history)) {
    const past = writes.filter((one) => one.returnedAt < read.calledAt);
    const older = past.find((one) => past.some((newer) => one.returnedAt < newer.calledAt));
    if (older !== undefined && prng.chance(700_000)) {
      return replaceOne(history, read, { result: older.argument });
    }
  }
  return undefined;
};

/** Two additions that saw the same value, although nothing can bring a value back. */
const addedTwice: Lie = (_prng, history) => {
  if (history.some((one) => one.verb !== WordVerb.fetchAndAdd)) return undefined;
  const [first, second] = history.filter(isKnown);
  if (first === undefined || second === undefined) return undefined;
  return replaceOne(history, second, { result: first.result });
};

/** A word that only grows by 2 is read one too high: an addition was applied in part or twice. */
const grownTooFar: Lie = (_prng, history) => {
  if (history.some((one) => one.verb !== WordVerb.fetchAndAdd || !isKnown(one))) return undefined;
  const total = history.reduce((sum, one) => addValues(sum, one.argument), { low: 0, high: 0 });
  const end = Math.max(...history.map((one) => one.returnedAt));
  const result = addValues(total, { low: 1, high: 0 });
  const nothing = { low: 0, high: 0 };
  const last = { client: 99, verb: WordVerb.read, argument: nothing, expected: nothing, result };
  return [...history, { ...last, calledAt: end + 1, returnedAt: end + 2 }];
};

/** Its own later write is there already, yet the client finds its older one. */
const ownOrderBroken: Lie = (_prng, history) => {
  if (history.some((one) => one.verb === WordVerb.fetchAndAdd)) return undefined;
  const writes = history.filter((one) => one.verb === WordVerb.write);
  for (const older of writes) {
    const newer = writes.find(
      (one) => one.client === older.client && one.calledAt > older.calledAt && isKnown(one),
    );
    const read = newer && reads(history).find((one) => one.calledAt > Math.max(newer.returnedAt));
    if (read !== undefined) return replaceOne(history, read, { result: older.argument });
  }
  return undefined;
};

export const LIES: Readonly<Record<string, Lie>> = {
  foreignValue,
  lostWrite,
  staleRead,
  addedTwice,
  grownTooFar,
  ownOrderBroken,
};
