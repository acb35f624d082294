/**
 * Invariant 5, seen from the clients: nothing is decided twice. Memory that one client holds is
 * not given to another, and a region has one owner for as long as it exists.
 */

import type { Allocation, Journal } from '../journal.js';
import type { Complaint } from './foreign.js';

export function findOverlaps(journal: Journal): Complaint[] {
  const bySpace = new Map<string, Allocation[]>();
  for (const allocation of journal.allocations) {
    const list = bySpace.get(allocation.space);
    if (list === undefined) bySpace.set(allocation.space, [allocation]);
    else list.push(allocation);
  }
  const complaints: Complaint[] = [];
  for (const list of bySpace.values()) {
    for (const older of list) {
      for (const newer of list) {
        if (!isGivenTwice(older, newer)) continue;
        const text = `${newer.name} was given while ${older.name} was held`;
        complaints.push({ kind: 'given-twice', text });
      }
    }
  }
  return complaints;
}

function isGivenTwice(older: Allocation, newer: Allocation): boolean {
  if (older === newer || newer.returnedAt < older.returnedAt) return false;
  const isApart = newer.at >= older.at + older.bytes || older.at >= newer.at + newer.bytes;
  return !isApart && newer.returnedAt < older.freeCalledAt;
}

/** What somebody was told of a region. */
export interface RegionSeen {
  readonly space: number;
  readonly region: number;
  readonly node: string;
  readonly epoch: number;
}

/** `seen` in the order in which it was seen, by anybody. */
export function findRegionsOwnedTwice(seen: readonly RegionSeen[]): Complaint[] {
  const owners = new Map<string, RegionSeen>();
  const complaints: Complaint[] = [];
  for (const now of seen) {
    const key = `${now.space}/${now.region}`;
    const before = owners.get(key);
    // It may move, and then under a higher epoch than all before.
    const isNewer = before !== undefined && now.epoch > before.epoch;
    const isOlder = before !== undefined && now.epoch < before.epoch;
    if (before !== undefined && (isOlder || (before.node !== now.node && !isNewer))) {
      const text = `region ${key} belongs to ${before.node} and to ${now.node}`;
      complaints.push({ kind: 'region-granted-twice', text });
    }
    owners.set(key, now);
  }
  return complaints;
}
