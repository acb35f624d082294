/**
 * Invariant 8, from what clients saw: a lock is held by one at a time, as far as its holder has not
 * been told that it is lost; epochs rise; and what is published by compare-and-swap on a word that
 * carries the epoch is never changed by a former holder once the next one has claimed it.
 */

import type { Journal } from '../journal.js';
import type { LockHistory, LockHolding } from '../lock-facts.js';
import type { Complaint } from './foreign.js';

export function findLockFaults(journal: Journal): Complaint[] {
  return [...journal.locks.values()].flatMap((lock) => [
    ...findTwoHolders(lock),
    ...findLatePublications(lock),
    ...findSameCounts(lock),
  ]);
}

const describe = ({ client, epoch }: LockHolding): string => `client ${client} in epoch ${epoch}`;

function findTwoHolders({ name, holdings }: LockHistory): Complaint[] {
  const complaints: Complaint[] = [];
  for (const [i, later] of holdings.entries()) {
    const before = holdings[i - 1];
    if (before === undefined) continue;
    const both = `${name}: ${describe(before)}, then ${describe(later)}`;
    if (later.epoch <= before.epoch) complaints.push({ kind: 'lock-epoch', text: both });
    if (before.usedAt > later.toldAt) complaints.push({ kind: 'lock-held-twice', text: both });
  }
  return complaints;
}

/** Begun when a later holder had claimed the word already, and yet it was done. */
function findLatePublications({ name, holdings, publications }: LockHistory): Complaint[] {
  const complaints: Complaint[] = [];
  for (const late of publications) {
    const place = holdings.indexOf(late.holding);
    const claim = publications.find((one) => {
      return one.returnedAt < late.calledAt && holdings.indexOf(one.holding) > place;
    });
    if (claim === undefined) continue;
    const text = `${name}: ${describe(late.holding)} published after ${describe(claim.holding)}`;
    complaints.push({ kind: 'lock-late-publication', text });
  }
  return complaints;
}

/** Each one adds one to what it found. */
function findSameCounts({ name, publications }: LockHistory): Complaint[] {
  const seen = new Set<number>();
  const complaints: Complaint[] = [];
  for (const { isClaim, value, holding } of publications) {
    if (isClaim) continue;
    if (seen.has(value)) {
      const text = `${name}: ${describe(holding)} published ${value} for the second time`;
      complaints.push({ kind: 'lock-count', text });
    }
    seen.add(value);
  }
  return complaints;
}
