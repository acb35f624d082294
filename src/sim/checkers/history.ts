/**
 * What clients saw of single words: the material that the checkers judge.
 *
 * A word is 8 aligned bytes, which every link reads and writes whole, so each can be judged alone
 * (linearizability is local: Herlihy and Wing, "Linearizability", section 3.2). Larger transfers
 * are recorded as one operation per word. Moments are not times but places in the one order of
 * all events of a run, so no two are equal.
 */

export const WordVerb = { read: 0, write: 1, compareAndSwap: 2, fetchAndAdd: 3 } as const;
export type WordVerb = (typeof WordVerb)[keyof typeof WordVerb];

/** An unsigned 64-bit value. */
export interface WordValue {
  readonly low: number;
  readonly high: number;
}

export const ZERO: WordValue = { low: 0, high: 0 };

/** `returnedAt` of an operation that was refused, or that says nothing: as if never called. */
export const DISCARDED = -Infinity;

export interface WordOperation {
  readonly client: number;
  readonly verb: WordVerb;
  /** What is written, swapped in or added; not used by reads. */
  readonly argument: WordValue;
  /** What a swap expects. */
  readonly expected: WordValue;
  /** What a read or an atomic returned. */
  result: WordValue;
  readonly calledAt: number;
  /** `Infinity`: the outcome is unknown; it may take effect at any later moment, or never. */
  returnedAt: number;
  /**
   * What it was made through was reported as taken away at this moment: it has taken effect before,
   * or never does, whatever its answer is and whenever that comes.
   */
  takenAwayAt?: number;
}

/** All that happened to one word, from the moment it was zero. */
export interface WordHistory {
  readonly name: string;
  readonly operations: WordOperation[];
  /** Not of zero: one of these was written before all else, nobody knows which. */
  readonly began?: readonly WordOperation[];
}

export function sameValue(a: WordValue, b: WordValue): boolean {
  return a.low === b.low && a.high === b.high;
}

/** The sum modulo 2^64. */
export function addValues(a: WordValue, b: WordValue): WordValue {
  const low = a.low + b.low;
  const carry = low >= 2 ** 32 ? 1 : 0;
  return { low: low >>> 0, high: (a.high + b.high + carry) >>> 0 };
}

export function describeValue(value: WordValue): string {
  return value.high === 0 ? `${value.low}` : `${value.high.toString(16)}:${value.low}`;
}

export function describeOperation(operation: WordOperation): string {
  const { verb, argument, expected, result, calledAt, returnedAt } = operation;
  const isOpen = returnedAt === Infinity;
  const outcome = isOpen ? 'unknown' : describeValue(result);
  const what = {
    [WordVerb.read]: `read -> ${outcome}`,
    [WordVerb.write]: `write ${describeValue(argument)}${isOpen ? ' -> unknown' : ''}`,
    [WordVerb.compareAndSwap]:
      `swap ${describeValue(expected)} for ${describeValue(argument)}` + ` -> ${outcome}`,
    [WordVerb.fetchAndAdd]: `add ${describeValue(argument)} -> ${outcome}`,
  }[verb];
  return `client ${operation.client} [${calledAt}, ${isOpen ? '...' : returnedAt}] ${what}`;
}
