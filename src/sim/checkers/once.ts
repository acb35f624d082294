/**
 * Invariant 6, on words that are only added to: the sum is that of all additions that succeeded,
 * and of none or some of those whose outcome is unknown. Linearizability says the same, and more;
 * this says it in a way that a person understands at once.
 */

import { AUDITOR, type Allocation, type Journal } from '../journal.js';
import { type WordOperation, WordVerb } from './history.js';
import type { Complaint } from './foreign.js';

/** Judges the last read of every counter; it must come after everything else. */
export function findWrongSums(journal: Journal): Complaint[] {
  const complaints: Complaint[] = [];
  for (const allocation of journal.allocations) {
    for (const place of allocation.counters) {
      const operations = allocation.words.get(place)?.operations;
      if (operations === undefined) continue;
      const wrong = judgeCounter(allocation, place, operations);
      if (wrong !== undefined) complaints.push(wrong);
    }
  }
  return complaints;
}

function judgeCounter(
  allocation: Allocation,
  place: number,
  operations: readonly WordOperation[],
): Complaint | undefined {
  const last = operations[operations.length - 1];
  // Only the auditor's read comes after everything; where memory was lost there is none.
  if (last === undefined || last.client !== AUDITOR) return undefined;
  if (last.verb !== WordVerb.read) return undefined;
  if (!Number.isFinite(last.returnedAt)) return undefined;
  let least = 0;
  let most = 0;
  for (const one of operations) {
    if (one.verb !== WordVerb.fetchAndAdd || one.returnedAt === -Infinity) continue;
    most += one.argument.low;
    if (one.returnedAt !== Infinity) least += one.argument.low;
  }
  const found = last.result.high * 2 ** 32 + last.result.low;
  if (found >= least && found <= most) return undefined;
  const wanted = least === most ? `${least}` : `${least} to ${most}`;
  const text = `the counter at word ${place} of ${allocation.name} is ${found}, not ${wanted}`;
  return { kind: found > most ? 'added-twice' : 'addition-lost', text };
}
