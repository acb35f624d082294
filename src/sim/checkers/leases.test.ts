import { expect, it } from 'vitest';
import { Allocation, type Ended, Journal, SUCCESS } from '../journal.js';
import { type WordOperation, WordVerb, ZERO } from './history.js';
import { findLeaseFaults } from './leases.js';

const PLACE = 3;

function journal() {
  const seen = new Journal();
  const facts = { id: 1, space: 's', at: 2 ** 30, bytes: 65_536, client: 1 };
  const allocation = new Allocation({ ...facts, calledAt: 1, returnedAt: 2, counters: new Set() });
  seen.addAllocation(allocation);
  const told = (epoch: number, calledAt: number, toldAt: number): void => {
    seen.leases.push({ name: 'l', client: epoch, epoch, calledAt, toldAt, lostAt: Infinity });
  };
  const operation = (verb: WordVerb, write: number, from: number, to: number): WordOperation => {
    const value = write === 0 ? ZERO : allocation.value(write, PLACE);
    const isRead = verb === WordVerb.read;
    return allocation.record(PLACE, {
      client: 1,
      verb,
      argument: isRead ? ZERO : value,
      expected: ZERO,
      result: isRead ? value : ZERO,
      calledAt: from,
      returnedAt: to,
    });
  };
  /** Under an epoch; the first of an allocation is number 1. */
  const write = (epoch: number, from: number, to: number, as: Ended = SUCCESS): void => {
    const { number } = allocation.beginWrite(PLACE, 1, from);
    operation(WordVerb.write, number, from, to);
    const ended = Number.isFinite(to) ? as : undefined;
    seen.leaseWrites.set(`1/${number}`, { lease: 'l', epoch, calledAt: from, ended });
  };
  const read = (number: number, from: number, to: number): void => {
    operation(WordVerb.read, number, from, to);
  };
  return { told, write, read, seen, rules: () => findLeaseFaults(seen).map(({ kind }) => kind) };
}

it('is content with holders and writes one after the other', () => {
  const { told, write, read, rules } = journal();
  told(2, 1, 10);
  write(2, 11, 12);
  // Its answer never came: it may have been done before the next holder was told.
  write(2, 13, Infinity);
  told(3, 14, 20);
  read(2, 21, 22);
  write(3, 23, 24);
  read(3, 25, 26);
  expect(rules()).toEqual([]);
});

it('notices an epoch that is told twice, or falls', () => {
  const twice = journal();
  twice.told(2, 1, 10);
  twice.told(2, 5, 11);
  expect(twice.rules()).toEqual(['lease-epoch']);
  const falling = journal();
  falling.told(3, 1, 10);
  falling.told(2, 11, 12);
  expect(falling.rules()).toEqual(['lease-epoch']);
  // Asked for before the other was told: its answer only came later.
  const late = journal();
  late.told(3, 1, 10);
  late.told(2, 5, 12);
  expect(late.rules()).toEqual([]);
});

it('notices a write that was begun too late and acknowledged', () => {
  const { told, write, rules } = journal();
  told(2, 1, 10);
  told(3, 11, 20);
  write(2, 21, 22);
  expect(rules()).toEqual(['lease-stale-write']);
});

it('notices a write that shows after the next holder has seen or written something else', () => {
  const overWritten = journal();
  overWritten.told(2, 1, 10);
  overWritten.write(2, 11, Infinity);
  overWritten.told(3, 12, 20);
  overWritten.write(3, 21, 22);
  overWritten.read(1, 23, 24);
  expect(overWritten.rules()).toEqual(['lease-late-write']);
  const seen = journal();
  seen.told(2, 1, 10);
  seen.write(2, 11, Infinity);
  seen.told(3, 12, 20);
  seen.read(0, 21, 22);
  seen.read(1, 23, 24);
  expect(seen.rules()).toEqual(['lease-late-write']);
});

it('finds a lease that is lost although nothing but the controller was away', () => {
  const { seen, told, rules } = journal();
  told(2, 1, 10);
  told(3, 11, 20);
  for (const one of seen.leases) one.lostAt = 30;
  // Others may have wanted it, and its nodes been away.
  expect(rules()).toEqual([]);
  seen.isControllerAlone = true;
  expect(rules()).toEqual(['lease-lost-in-vain', 'lease-lost-in-vain']);
});

it('finds writes of a holder that are refused although nothing but the controller was away', () => {
  const { seen, told, write, rules } = journal();
  told(2, 1, 10);
  write(2, 11, 12);
  write(2, 13, 14, { ...SUCCESS, code: 'NoSpace' });
  seen.isControllerAlone = true;
  expect(rules()).toEqual([]);
  write(2, 15, 16, { ...SUCCESS, code: 'Unavailable' });
  write(2, 17, 18, { ...SUCCESS, code: 'Stale' });
  expect(rules()).toEqual(['lease-refused-in-vain']);
  seen.isControllerAlone = false;
  expect(rules()).toEqual([]);
});
