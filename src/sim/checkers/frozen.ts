/**
 * What is only for reading does not change: from the report of `protect` to the next call that
 * changes the rights all reads of a word agree, whoever was in the middle of a store when the
 * rights were taken away.
 */

import type { Allocation, Journal, Period } from '../journal.js';
import { describeOperation, sameValue, type WordOperation, WordVerb } from './history.js';
import type { Complaint } from './foreign.js';

export function findChangesOfFrozen(journal: Journal): Complaint[] {
  const complaints: Complaint[] = [];
  for (const allocation of journal.allocations) {
    for (const period of allocation.frozen) {
      const changed = changeIn(allocation, period);
      if (changed !== undefined) complaints.push(changed);
    }
  }
  return complaints;
}

function changeIn(allocation: Allocation, period: Period): Complaint | undefined {
  for (const { operations, name } of allocation.words.values()) {
    const reads = operations.filter((one) => isWithin(one, period));
    const [first] = reads;
    if (first === undefined) continue;
    const other = reads.find((one) => !sameValue(one.result, first.result));
    if (other === undefined) continue;
    const seen = `${describeOperation(first)}, then ${describeOperation(other)}`;
    const text = `${name} changed while it was only for reading since ${period.from}: ${seen}`;
    return { kind: 'changed-while-frozen', text };
  }
  return undefined;
}

function isWithin({ verb, calledAt, returnedAt }: WordOperation, period: Period): boolean {
  const isRead = verb === WordVerb.read && returnedAt > calledAt;
  return isRead && calledAt > period.from && returnedAt < period.until;
}
