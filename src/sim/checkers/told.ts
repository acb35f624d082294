/**
 * What the history of the controller says of regions: owners follow one another under rising
 * epochs, each takes over from the one before, and the last one is the owner now.
 */

import type { EventFacts } from '../../controller/event-pages.js';
import type { Complaint } from './foreign.js';

interface Owner {
  readonly node: string;
  readonly epoch: number;
}

export function judgeHistory(events: readonly EventFacts[]): Complaint[] {
  const owners = new Map<string, Owner>();
  const complaints: Complaint[] = [];
  // After an older copy was put back something may be missing in between.
  let isWhole = true;
  let last = 0;
  for (const event of events) {
    const { sequence, kind, spaceId, region, node = '', epoch = 0, details } = event;
    if (sequence <= last) complain(`event ${sequence} comes after ${last}`);
    last = sequence;
    if (kind === 'metadata-older') isWhole = false;
    if (!TAKEN.includes(kind)) continue;
    const key = `${spaceId}/${region}`;
    const before = owners.get(key);
    const { from, fromEpoch } = details;
    if (before !== undefined && epoch <= before.epoch) {
      complain(`${key} went to ${node} under epoch ${epoch}, after epoch ${before.epoch}`);
    }
    const isNext = from === before?.node && fromEpoch === before?.epoch;
    if (isWhole && !isNext) {
      complain(`${key} came to ${node} from ${from}, and ${before?.node} had it`);
    }
    owners.set(key, { node, epoch });
  }
  return complaints;

  function complain(text: string): void {
    complaints.push({ kind: 'history-of-two-owners', text: `the history: ${text}` });
  }
}

/** With these a region has another owner. */
const TAKEN: readonly string[] = ['region-granted', 'region-moved', 'region-restored'];
