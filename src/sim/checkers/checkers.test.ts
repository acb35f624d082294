import { describe, expect, it } from 'vitest';
import { Allocation, type Ended, Journal, SUCCESS } from '../journal.js';
import { judgeKeeping } from './acknowledged.js';
import { callOf, judgeAnswer } from './answers.js';
import { examine, examineFormer } from './foreign.js';
import { WordVerb, ZERO } from './history.js';
import { findRefusedWritesSeen } from './no-effect.js';
import { findWrongSums } from './once.js';
import { findOverlaps, findRegionsOwnedTwice } from './ownership.js';

const NO_SPACE: Ended = { code: 'NoSpace', outcome: 'notApplied' };
const LOST: Ended = { code: 'DataLost', outcome: 'notApplied' };

function allocate(journal: Journal, at = 65_536, counters: number[] = []): Allocation {
  const allocation = new Allocation({
    id: journal.nextAllocationId(),
    space: 'a',
    at,
    bytes: 65_536,
    client: 1,
    calledAt: journal.moment(),
    returnedAt: journal.moment(),
    counters: new Set(counters),
  });
  journal.addAllocation(allocation);
  return allocation;
}

describe('foreign bytes', () => {
  it('are known where memory is being freed as well', () => {
    const journal = new Journal();
    const mine = allocate(journal);
    const other = allocate(journal, 2 * 65_536);
    const next = allocate(journal);
    const kind = (high: number) =>
      examineFormer(mine, 3, { low: 17, high }, journal.allocationOf)?.kind;
    // Its own, those of what took its place, and those of an allocation that nobody knows yet.
    expect([0, mine.id, next.id, 77].map(kind)).toEqual(Array(4).fill(undefined));
    expect(kind(other.id)).toBe('foreign');
  });

  it('are known from one word', () => {
    const journal = new Journal();
    const mine = allocate(journal);
    const other = allocate(journal, 2 * 65_536);
    const write = mine.beginWrite(10, 5, journal.moment());
    const kind = (place: number, low: number, high: number) =>
      examine(mine, place, { low, high }, journal.momentNow)?.kind;
    const { low, high } = mine.value(write.number, 12);
    expect(kind(12, low, high)).toBeUndefined();
    expect(kind(12, 0, 0)).toBeUndefined();
    expect(kind(12, low, other.id)).toBe('foreign');
    expect(kind(12, low, 0)).toBe('foreign');
    expect(kind(13, low, high)).toBe('misplaced');
    const beyond = mine.value(write.number, 20);
    expect(kind(20, beyond.low, beyond.high)).toBe('misplaced');
    const later = mine.beginWrite(12, 1, journal.moment() + 10);
    const early = mine.value(later.number, 12);
    expect(kind(12, early.low, early.high)).toBe('too-early');
  });

  it('may be small numbers where a counter is', () => {
    const journal = new Journal();
    const mine = allocate(journal, 65_536, [3]);
    expect(examine(mine, 3, { low: 17, high: 0 }, 5)).toBeUndefined();
    expect(examine(mine, 4, { low: 17, high: 0 }, 5)?.kind).toBe('foreign');
  });
});

describe('answers', () => {
  const judge = (allocation: Allocation, ended: Ended, isChange = false, calledAt = 10) =>
    judgeAnswer(allocation, ended, callOf(allocation, calledAt, isChange))?.kind;

  it('do not forget an allocation', () => {
    const mine = allocate(new Journal());
    const gone: Ended = { code: 'NotAllocated', outcome: 'notApplied' };
    expect(judge(mine, gone)).toBe('unexpected-answer');
    mine.freeCalledAt = 3;
    expect(judge(mine, gone)).toBeUndefined();
  });

  it('keep to the rights', () => {
    const mine = allocate(new Journal());
    const denied: Ended = { code: 'Denied', outcome: 'notApplied' };
    expect(judge(mine, denied)).toBe('denied-by-mistake');
    mine.rights = { text: 'r' };
    expect(judge(mine, SUCCESS, true)).toBe('rights-ignored');
    expect(judge(mine, SUCCESS, false)).toBeUndefined();
    mine.rights = undefined;
    expect(judge(mine, denied)).toBeUndefined();
  });
});

describe('what is kept', () => {
  const judge = (mine: Allocation, isLost: boolean, ends: number[], readBack = SUCCESS) => {
    const memory = ends.map((at) => ({ node: 'n1', at, goneAt: at, isOpened: false }));
    return judgeKeeping(mine, { node: 'n1', isLost }, memory, readBack)?.kind;
  };

  it('is readable while its node lives', () => {
    const mine = allocate(new Journal());
    expect(judge(mine, false, [])).toBeUndefined();
    expect(judge(mine, false, [], LOST)).toBe('not-readable');
    expect(judge(mine, true, [])).toBe('lost-by-mistake');
    mine.firstCalledLost = 5;
    expect(judge(mine, false, [])).toBe('lost-by-mistake');
  });

  it('is called lost once it is, and never served', () => {
    const mine = allocate(new Journal());
    expect(judge(mine, true, [50], LOST)).toBeUndefined();
    expect(judge(mine, false, [50])).toBe('loss-not-named');
    expect(judge(mine, true, [50])).toBe('not-readable');
    mine.lastServed = 49;
    expect(judge(mine, true, [50], LOST)).toBeUndefined();
    mine.lastServed = 51;
    expect(judge(mine, true, [50], LOST)).toBe('lost-as-zeros');
  });

  it('may have been made between two ends that its call saw', () => {
    const facts = { id: 1, space: 'a', at: 65_536, bytes: 65_536, client: 1 };
    const mine = new Allocation({ ...facts, calledAt: 10, returnedAt: 60, counters: new Set() });
    mine.lastServed = 40;
    expect(judge(mine, true, [20, 50], LOST)).toBeUndefined();
    mine.lastServed = 51;
    expect(judge(mine, true, [20, 50], LOST)).toBe('lost-as-zeros');
  });
});

describe('refused writes', () => {
  it('must not be seen', () => {
    const journal = new Journal();
    const mine = allocate(journal);
    const write = mine.beginWrite(0, 1, journal.moment());
    examine(mine, 0, mine.value(write.number, 0), journal.moment());
    expect(findRefusedWritesSeen(journal)).toEqual([]);
    write.ended = NO_SPACE;
    expect(findRefusedWritesSeen(journal)).toMatchObject([{ kind: 'refused-but-applied' }]);
  });
});

describe('ownership', () => {
  it('is exclusive until the memory is freed', () => {
    const journal = new Journal();
    const first = allocate(journal);
    allocate(journal, 2 * 65_536);
    expect(findOverlaps(journal)).toEqual([]);
    first.freeCalledAt = journal.moment();
    allocate(journal);
    expect(findOverlaps(journal)).toEqual([]);
    allocate(journal);
    expect(findOverlaps(journal)).toMatchObject([{ kind: 'given-twice' }]);
  });

  it('of a region changes under a higher epoch alone', () => {
    const seen = (node: string, epoch: number) => ({ space: 1, region: 1, node, epoch });
    expect(findRegionsOwnedTwice([seen('n1', 1), seen('n1', 2)])).toEqual([]);
    expect(findRegionsOwnedTwice([seen('n1', 1), seen('n2', 2)])).toEqual([]);
    expect(findRegionsOwnedTwice([seen('n1', 2), seen('n2', 2)])).toHaveLength(1);
    expect(findRegionsOwnedTwice([seen('n1', 2), seen('n2', 1)])).toHaveLength(1);
    expect(findRegionsOwnedTwice([seen('n1', 2), seen('n1', 1)])).toHaveLength(1);
  });
});

describe('sums', () => {
  const total = (found: number) => {
    const journal = new Journal();
    const mine = allocate(journal, 65_536, [0]);
    const add = (low: number, returnedAt: number) =>
      mine.record(0, {
        client: 1,
        verb: WordVerb.fetchAndAdd,
        argument: { low, high: 0 },
        expected: ZERO,
        result: ZERO,
        calledAt: journal.moment(),
        returnedAt,
      });
    add(1, 10);
    add(2, Infinity);
    add(4, -Infinity);
    const read = { ...add(0, 20), client: 0, verb: WordVerb.read, result: { low: found, high: 0 } };
    mine.words.get(0)?.operations.push(read);
    return findWrongSums(journal)[0]?.kind;
  };

  it('contain all that succeeded and nothing twice', () => {
    expect([0, 1, 2, 3, 4, 5].map(total)).toEqual([
      'addition-lost',
      undefined,
      undefined,
      undefined,
      'added-twice',
      'added-twice',
    ]);
  });
});
