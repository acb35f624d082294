/** Runs every checker that judges a whole run, and hands what they say to the journal. */

import type { Journal } from '../journal.js';
import { findFormerServed } from './former.js';
import { findChangesOfFrozen } from './frozen.js';
import { findLeaseFaults } from './leases.js';
import { findLockFaults } from './locks.js';
import type { WordHistory } from './history.js';
import { checkWord, type Verdict } from './linearizability.js';
import { findRefusedWritesSeen } from './no-effect.js';
import { findWrongSums } from './once.js';
import { findTorn } from './torn.js';
import { findOverlaps, findRegionsOwnedTwice, type RegionSeen } from './ownership.js';

export function checkAll(journal: Journal, regionsSeen: readonly RegionSeen[]): void {
  const complaints = [
    ...findOverlaps(journal),
    ...findRegionsOwnedTwice(regionsSeen),
    ...findRefusedWritesSeen(journal),
    ...findWrongSums(journal),
    ...findLeaseFaults(journal),
    ...findLockFaults(journal),
    ...findChangesOfFrozen(journal),
    ...findFormerServed(journal),
    ...findTorn(journal),
  ];
  for (const { kind, text } of complaints) journal.complain(kind, text);
  for (const history of journal.histories()) {
    const verdict = checkFromAny(history);
    if (verdict.kind === 'linearizable') continue;
    const rule = verdict.kind === 'gave-up' ? 'linearizability not shown' : 'linearizability';
    journal.complain(rule, verdict.explanation);
  }
}

/** A history whose beginning is not known is good if it is with any of those that it may have. */
function checkFromAny(history: WordHistory): Verdict {
  let verdict: Verdict | undefined;
  for (const first of history.began ?? []) {
    verdict = checkWord({ ...history, operations: [first, ...history.operations] });
    if (verdict.kind === 'linearizable') return verdict;
  }
  return verdict ?? checkWord(history);
}
