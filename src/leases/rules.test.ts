import { describe, expect, it } from 'vitest';
import { Status } from '../base/status.js';
import { leaseNumber } from './number.js';
import { ended, granted, isHeldBy, raised } from './record.js';
import { judgeTakeOver } from './take-over.js';

const LEASE = 7;
const at = (epoch: number, holder = 0, durationMs = 0) => ({
  lease: LEASE,
  epoch,
  holder,
  durationMs,
});
const grant = (epoch: number, holder: number) => ({ lease: LEASE, epoch, holder, durationMs: 500 });

describe('the record of a lease', () => {
  it('has an epoch that only rises', () => {
    expect(raised(undefined, 0, { lease: LEASE, epoch: 3 })).toEqual(at(3));
    expect(raised(at(3, 9, 500), 0, { lease: LEASE, epoch: 4 })).toEqual(at(4));
    expect(raised(at(3, 9, 500), 0, { lease: LEASE, epoch: 2 })).toBe(Status.Stale);
    // What was forgotten had at most the floor's.
    expect(raised(undefined, 3, { lease: LEASE, epoch: 3 })).toBe(Status.Stale);
    expect(raised(undefined, 3, { lease: LEASE, epoch: 4 })).toEqual(at(4));
  });

  it('stays as it is when the epoch is raised again, whoever holds it', () => {
    const held = at(3, 9, 500);
    expect(raised(held, 0, { lease: LEASE, epoch: 3 })).toBe(held);
  });

  it('is granted once, in the epoch that was raised', () => {
    expect(granted(at(3), grant(3, 9))).toEqual(at(3, 9, 500));
    const held = at(3, 9, 500);
    expect(granted(held, grant(3, 9))).toBe(held);
    expect(granted(held, grant(3, 8))).toBe(Status.Stale);
    expect(granted(held, grant(2, 8))).toBe(Status.Stale);
    expect(granted(held, grant(4, 8))).toBe(Status.Stale);
    expect(granted(undefined, grant(1, 8))).toBe(Status.Stale);
  });

  it('is not granted again in an epoch that has ended, nor in one that ended before', () => {
    for (const known of [at(3, 9, 500), at(3)]) {
      const over = ended(known, 3);
      if (typeof over === 'number') throw new Error('refused');
      expect(over.holder).toBe(0);
      expect(granted(over, grant(3, 9))).toBe(Status.Stale);
      expect(granted(over, grant(3, 8))).toBe(Status.Stale);
      expect(ended(over, 3)).toBe(over);
      expect(raised(over, 0, { lease: LEASE, epoch: 3 })).toBe(over);
    }
    expect(ended(at(3, 9, 500), 2)).toBe(Status.Stale);
  });

  it('is held by its holder in its epoch alone', () => {
    expect(isHeldBy(at(3, 9, 500), 3, 9)).toBe(true);
    expect(isHeldBy(at(3, 9, 500), 2, 9)).toBe(false);
    expect(isHeldBy(at(3, 9, 500), 3, 8)).toBe(false);
    expect(isHeldBy(at(3), 3, 0)).toBe(false);
    expect(isHeldBy(undefined, 3, 9)).toBe(false);
  });
});

describe('a take-over', () => {
  it('waits while one node says that it is held', () => {
    const seen = [
      { holder: 9, epoch: 3, leftMs: 0 },
      { holder: 9, epoch: 3, leftMs: 120 },
      undefined,
    ];
    expect(judgeTakeOver(seen, 8, 0)).toEqual({ isFree: false, holder: 9, leftMs: 120 });
  });

  it('gives it at once to who holds it already, who may not know', () => {
    const seen = [{ holder: 9, epoch: 3, leftMs: 120 }];
    expect(judgeTakeOver(seen, 9, 0)).toEqual({ isFree: true, epoch: 4 });
  });

  it('goes above every epoch that is known anywhere', () => {
    const seen = [
      { holder: 9, epoch: 12, leftMs: 0 },
      { holder: 0, epoch: 3, leftMs: 0 },
    ];
    expect(judgeTakeOver(seen, 8, 7)).toEqual({ isFree: true, epoch: 13 });
    expect(judgeTakeOver([undefined], 8, 7)).toEqual({ isFree: true, epoch: 8 });
  });
});

it('a name has one number, and names that are alike have others', () => {
  const numbers = new Set<number>();
  for (let i = 0; i < 20_000; i++) numbers.add(leaseNumber(`volume-${i}`));
  expect(numbers.size).toBe(20_000);
  // It is stored: it never changes.
  expect(leaseNumber('volume-1')).toBe(leaseNumber('volume-1'));
  for (const number of numbers) expect(Number.isSafeInteger(number) && number > 0).toBe(true);
});
