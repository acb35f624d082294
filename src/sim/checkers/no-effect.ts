/**
 * Invariants 3 and 6, seen from the values: what was answered as not applied was not applied, on
 * no old connection and under no old epoch. Such a write may be seen nowhere, at no time.
 */

import type { Journal } from '../journal.js';
import type { Complaint } from './foreign.js';

export function findRefusedWritesSeen(journal: Journal): Complaint[] {
  const complaints: Complaint[] = [];
  for (const allocation of journal.allocations) {
    for (const number of allocation.seenWrites) {
      const ended = allocation.writes[number - 1]?.ended;
      if (ended === undefined || ended.outcome !== 'notApplied') continue;
      const text = `${allocation.name} holds write ${number}, which was refused: ${ended.code}`;
      complaints.push({ kind: 'refused-but-applied', text });
    }
  }
  return complaints;
}
