/** Runs every checker that judges a whole run, and hands what they say to the journal. */

import type { Journal } from '../journal.js';
import { findFormerServed } from './former.js';
import { findChangesOfFrozen } from './frozen.js';
import { findLeaseFaults } from './leases.js';
import { findLockFaults } from './locks.js';
import { checkWord } from './linearizability.js';
import { findRefusedWritesSeen } from './no-effect.js';
import { findWrongSums } from './once.js';
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
  ];
  for (const { kind, text } of complaints) journal.complain(kind, text);
  for (const history of journal.histories()) {
    const verdict = checkWord(history);
    if (verdict.kind === 'linearizable') continue;
    const rule = verdict.kind === 'gave-up' ? 'linearizability not shown' : 'linearizability';
    journal.complain(rule, verdict.explanation);
  }
}
