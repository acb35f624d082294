import { describe, expect, it } from 'vitest';
import { Journal } from '../journal.js';
import type { LockHolding } from '../lock-facts.js';
import { findLockFaults } from './locks.js';

function held(client: number, epoch: number, toldAt: number, usedAt: number): LockHolding {
  return { client, epoch, calledAt: toldAt - 1, toldAt, usedAt };
}

function judge(holdings: LockHolding[], published: [number, number, boolean, number][] = []) {
  const journal = new Journal();
  const history = journal.lockHistory('lock');
  history.holdings.push(...holdings);
  for (const [place, at, isClaim, value] of published) {
    const holding = holdings[place] as LockHolding;
    history.publications.push({ holding, calledAt: at, isClaim, value, returnedAt: at + 1 });
  }
  return findLockFaults(journal).map(({ kind }) => kind);
}

describe('the checker of locks', () => {
  it('finds nothing wrong with one holder after the other', () => {
    const two = [held(1, 1, 10, 20), held(2, 2, 30, 40)];
    const published: [number, number, boolean, number][] = [
      [0, 12, true, 0],
      [0, 15, false, 1],
      [1, 31, true, 1],
      [1, 35, false, 2],
    ];
    expect(judge(two, published)).toEqual([]);
  });

  it('finds epochs that do not rise', () => {
    expect(judge([held(1, 2, 10, 20), held(2, 2, 30, 40)])).toEqual(['lock-epoch']);
  });

  it('finds two that hold it at a time', () => {
    expect(judge([held(1, 1, 10, 35), held(2, 2, 30, 40)])).toEqual(['lock-held-twice']);
  });

  it('finds what a former holder published after the next one had claimed the word', () => {
    const two = [held(1, 1, 10, 20), held(2, 2, 30, 40)];
    const late: [number, number, boolean, number][] = [
      [1, 31, true, 0],
      [0, 33, false, 1],
    ];
    expect(judge(two, late)).toEqual(['lock-late-publication']);
  });

  it('finds what was counted twice', () => {
    const twice: [number, number, boolean, number][] = [
      [0, 12, false, 7],
      [0, 15, false, 7],
    ];
    expect(judge([held(1, 1, 10, 20)], twice)).toEqual(['lock-count']);
  });
});
