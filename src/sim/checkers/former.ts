/**
 * Nothing is served of memory after its freeing was reported. Whether something else had been
 * allocated at the same addresses by then is known only where the answer of every allocation is.
 */

import type { Allocation, Journal } from '../journal.js';
import type { Complaint } from './foreign.js';

export function findFormerServed(journal: Journal): Complaint[] {
  if (journal.wasClientKilled || journal.mayHoldUnknown) return [];
  const complaints: Complaint[] = [];
  for (const { allocation, calledAt, returnedAt } of journal.formerServed) {
    const isOther = (one: Allocation): boolean =>
      one.space === allocation.space &&
      one.at <= allocation.at &&
      one.at + one.bytes > allocation.at &&
      one.calledAt < returnedAt &&
      one.freedAt > calledAt;
    if (journal.allocations.some(isOther)) continue;
    const text = `${allocation.name} was freed at ${allocation.freedAt}, and read at ${calledAt}`;
    complaints.push({ kind: 'served-after-free', text });
  }
  return complaints;
}
