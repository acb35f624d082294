import { describe, expect, it } from 'vitest';
import { defined } from '../../base/assert.js';
import { Prng } from '../../base/prng.js';
import { goodHistory, LIES, type Shape } from './generated-histories.js';
import { addValues, sameValue, type WordOperation, type WordValue, WordVerb } from './history.js';
import { checkWord } from './linearizability.js';

const { read, write, compareAndSwap, fetchAndAdd } = WordVerb;
const OPEN = Infinity;

function value(low: number): WordValue {
  return { low, high: 0 };
}

/** client, verb, [call, return], then argument and result; `expected` for swaps. */
function op(
  client: number,
  verb: WordVerb,
  [calledAt, returnedAt]: [number, number],
  argument: number,
  result = 0,
  expected = 0,
): WordOperation {
  const values = { argument: value(argument), result: value(result), expected: value(expected) };
  return { client, verb, calledAt, returnedAt, ...values };
}

function verdict(operations: WordOperation[]): string {
  return checkWord({ name: 'w', operations }).kind;
}

/** All orders, one by one: the definition itself, for small histories. */
function bruteForce(all: readonly WordOperation[]): boolean {
  const isDone = new Set<WordOperation>();
  const mayComeNext = (one: WordOperation) =>
    all.every((other) => {
      if (other === one || isDone.has(other)) return !isOwnLater(one, other, isDone);
      const isOpen = other.returnedAt === OPEN;
      const isOwnEarlier = conflicts(one, other) && other.calledAt < one.calledAt;
      return isOpen || (other.returnedAt > one.calledAt && !isOwnEarlier);
    });
  const search = (current: WordValue): boolean => {
    if (all.every((one) => isDone.has(one) || one.returnedAt === OPEN)) return true;
    for (const one of all) {
      if (isDone.has(one) || !mayComeNext(one)) continue;
      const isOpen = one.returnedAt === OPEN;
      if (!isOpen && one.verb !== write && !sameValue(one.result, current)) continue;
      isDone.add(one);
      if (search(after(one, current))) return true;
      isDone.delete(one);
    }
    return false;
  };
  return search(value(0));
}

function conflicts(a: WordOperation, b: WordOperation): boolean {
  return a.client === b.client && (a.verb !== read || b.verb !== read);
}

function isOwnLater(one: WordOperation, other: WordOperation, done: Set<WordOperation>): boolean {
  return other !== one && done.has(other) && conflicts(one, other) && other.calledAt > one.calledAt;
}

function after(one: WordOperation, current: WordValue): WordValue {
  if (one.verb === write) return one.argument;
  if (one.verb === fetchAndAdd) return addValues(current, one.argument);
  if (one.verb === compareAndSwap && sameValue(one.expected, current)) return one.argument;
  return current;
}

function randomShape(prng: Prng): Shape {
  const verbs = prng.pick([
    [read, write],
    [read, write, compareAndSwap],
    [fetchAndAdd],
    [read, fetchAndAdd],
    [read, write, compareAndSwap, fetchAndAdd],
  ]);
  return {
    clients: prng.between(1, 5),
    operations: prng.between(2, 40),
    unknown: prng.pick([0, 0, 100_000, 300_000]),
    inFlight: prng.between(1, 4),
    verbs,
  };
}

describe('classics', () => {
  it('accepts reads on either side of a write that is under way', () => {
    const slow = op(1, write, [0, 10], 5);
    expect(verdict([slow, op(2, read, [1, 2], 0, 0), op(2, read, [3, 4], 0, 5)])).toBe(
      'linearizable',
    );
    expect(verdict([slow, op(2, read, [1, 2], 0, 5), op(2, read, [3, 4], 0, 0)])).toBe('violation');
  });

  it('refuses a stale read after the write returned', () => {
    expect(verdict([op(1, write, [0, 1], 5), op(2, read, [2, 3], 0, 0)])).toBe('violation');
  });

  it('lets an unknown write land late, or never, but not twice', () => {
    const lost = op(1, write, [0, OPEN], 5);
    const other = op(2, write, [1, 2], 6);
    const sees = (result: number, at: number) => op(3, read, [at, at + 1], 0, result);
    expect(verdict([lost, other, sees(6, 3)])).toBe('linearizable');
    expect(verdict([lost, other, sees(6, 3), sees(5, 5)])).toBe('linearizable');
    expect(verdict([lost, other, sees(5, 3), sees(6, 5)])).toBe('violation');
    const third = op(2, write, [7, 8], 7);
    expect(verdict([lost, other, sees(5, 3), third, sees(5, 9)])).toBe('violation');
  });

  it('does not let an unknown write land after a later operation of the same client', () => {
    const history = [op(1, write, [0, OPEN], 5), op(1, write, [1, 2], 6)];
    expect(verdict([...history, op(2, read, [3, 4], 0, 6)])).toBe('linearizable');
    expect(verdict([...history, op(2, read, [3, 4], 0, 5)])).toBe('violation');
    expect(
      verdict([op(1, write, [0, OPEN], 5), op(1, read, [1, 2], 0, 0), op(2, read, [3, 4], 0, 5)]),
    ).toBe('violation');
  });

  it('keeps the order of one client whose calls overlap', () => {
    const history = [op(1, write, [0, 10], 5), op(1, write, [1, 11], 6)];
    expect(verdict([...history, op(2, read, [12, 13], 0, 6)])).toBe('linearizable');
    expect(verdict([...history, op(2, read, [12, 13], 0, 5)])).toBe('violation');
  });

  it('lets one of two swaps win', () => {
    const swap = (client: number, result: number) =>
      op(client, compareAndSwap, [0, 10], client, result, 0);
    expect(verdict([swap(1, 0), swap(2, 1)])).toBe('linearizable');
    expect(verdict([swap(1, 0), swap(2, 0)])).toBe('violation');
    expect(verdict([swap(1, 2), swap(2, 1)])).toBe('violation');
  });

  it('counts an unknown addition at most once', () => {
    const open = op(1, fetchAndAdd, [0, OPEN], 1);
    const sum = (result: number) => op(2, read, [5, 6], 0, result);
    expect(verdict([open, sum(0)])).toBe('linearizable');
    expect(verdict([open, sum(1)])).toBe('linearizable');
    expect(verdict([open, sum(2)])).toBe('violation');
  });

  it('adds modulo 2^64', () => {
    const full = { low: 0xffff_ffff, high: 0xffff_ffff };
    const minusOne = { ...op(1, fetchAndAdd, [0, 1], 0), argument: full };
    const back = { ...op(1, fetchAndAdd, [2, 3], 1), result: full };
    expect(verdict([minusOne, back, op(2, read, [4, 5], 0, 0)])).toBe('linearizable');
  });

  it('says so when it gives up', () => {
    const operations = Array.from({ length: 24 }, (_, i) => op(i, fetchAndAdd, [i, OPEN], 2 ** i));
    operations.push(op(99, read, [30, 31], 0, 2 ** 25));
    const given = checkWord({ name: 'w', operations }, 10_000);
    expect(given.kind).toBe('gave-up');
  });

  it('names what cannot be explained', () => {
    const operations = [op(1, write, [0, 1], 5), op(2, read, [2, 3], 0, 6)];
    const given = checkWord({ name: 'counter', operations });
    expect(given).toMatchObject({ kind: 'violation' });
    expect(given.kind === 'violation' && given.explanation).toContain('client 2 [2, 3] read -> 6');
  });
});

describe('generated histories', () => {
  it('accepts 6,000 good ones', () => {
    for (let seed = 0; seed < 6000; seed++) {
      const prng = new Prng(seed);
      const operations = goodHistory(prng, randomShape(prng));
      const given = checkWord({ name: `seed ${seed}`, operations });
      expect(given, JSON.stringify(given)).toEqual({ kind: 'linearizable' });
    }
  });

  it('refuses 6,000 with a lie in them', () => {
    const told = new Map<string, number>();
    let total = 0;
    for (let seed = 0; total < 6000; seed++) {
      const prng = new Prng(1_000_000 + seed);
      const operations = goodHistory(prng, randomShape(prng));
      for (const [name, lie] of Object.entries(LIES)) {
        const bad = lie(prng, operations);
        if (bad === undefined) continue;
        expect(checkWord({ name, operations: bad }).kind, `${name}, seed ${seed}`).toBe(
          'violation',
        );
        told.set(name, (told.get(name) ?? 0) + 1);
        total++;
      }
    }
    const counts = Object.keys(LIES).map((name) => told.get(name) ?? 0);
    expect(Math.min(...counts), JSON.stringify([...told])).toBeGreaterThan(100);
  });

  it('agrees with trying all orders on 4,000 small ones', () => {
    let violations = 0;
    for (let seed = 0; seed < 4000; seed++) {
      const prng = new Prng(2_000_000 + seed);
      const shape = { ...randomShape(prng), operations: prng.between(2, 6) };
      const operations = goodHistory(prng, shape);
      const results = operations.map((one) => one.result).concat(operations.map((o) => o.argument));
      const changed = operations.map((one) =>
        prng.chance(300_000) ? { ...one, result: prng.pick(results) } : one,
      );
      const isGood = bruteForce(changed);
      if (!isGood) violations++;
      const given = checkWord({ name: 'w', operations: changed }).kind;
      expect(given, `seed ${seed}`).toBe(isGood ? 'linearizable' : 'violation');
    }
    expect(violations).toBeGreaterThan(500);
  });

  it('checks 1,000 operations on 50 words in milliseconds', () => {
    const prng = new Prng(5);
    const shape = { clients: 4, operations: 20, unknown: 50_000, inFlight: 4 };
    const words = Array.from({ length: 50 }, () =>
      goodHistory(prng, { ...shape, verbs: [read, write, compareAndSwap, fetchAndAdd] }),
    );
    const check = () => {
      for (const operations of words) checkWord({ name: 'w', operations });
    };
    for (let i = 0; i < 20; i++) check();
    let best = Infinity;
    for (let i = 0; i < 10; i++) {
      const start = performance.now();
      check();
      best = Math.min(best, performance.now() - start);
    }
    expect(defined(best)).toBeLessThan(20);
    console.log(`50 words, 1,000 operations: ${best.toFixed(2)} ms`);
  });
});
