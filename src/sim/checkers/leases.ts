/**
 * Invariant 3, from what clients saw: who is told a lease has a higher epoch than all before, and
 * from then on nothing of an older epoch takes effect any more, whenever it was sent.
 */

import type { Allocation, Journal } from '../journal.js';
import { writeNumberOf } from '../journal.js';
import type { LeaseTold, LeaseWrite } from '../lease-facts.js';
import type { Complaint } from './foreign.js';
import { type WordOperation, WordVerb } from './history.js';

export function findLeaseFaults(journal: Journal): Complaint[] {
  return [
    ...findEpochsThatFall(journal),
    ...findStaleWrites(journal),
    ...findLostInVain(journal),
    ...findRefusedInVain(journal),
    ...journal.allocations.flatMap((allocation) => findLateWrites(journal, allocation)),
  ];
}

/** Asked for after another was told: then its epoch is higher. And no epoch is told twice. */
function findEpochsThatFall({ leases }: Journal): Complaint[] {
  const complaints: Complaint[] = [];
  for (const [i, one] of leases.entries()) {
    for (const other of leases.slice(i + 1)) {
      if (one.name !== other.name) continue;
      const isTwice = one.epoch === other.epoch;
      if (!isTwice && (other.calledAt < one.toldAt || other.epoch > one.epoch)) continue;
      const text = `${one.name}: epoch ${one.epoch} of client ${one.client}, then ${other.epoch}`;
      complaints.push({ kind: 'lease-epoch', text: `${text} of client ${other.client}` });
    }
  }
  return complaints;
}

/** How a write ends whose window is not open. */
const IN_VAIN = ['Stale', 'Unavailable'];

/** While its nodes can be reached a lease lasts, whatever becomes of the controller. */
function findLostInVain({ leases, isControllerAlone }: Journal): Complaint[] {
  if (!isControllerAlone) return [];
  const lost = leases.filter((one) => one.lostAt !== Infinity);
  return lost.map(({ name, client, epoch }) => {
    const text = `client ${client} lost ${name} of epoch ${epoch}, and nobody has taken it`;
    return { kind: 'lease-lost-in-vain', text };
  });
}

/** Its holder's windows last as long: nodes that are well take what is written through them. */
function findRefusedInVain({ leaseWrites, isControllerAlone }: Journal): Complaint[] {
  if (!isControllerAlone) return [];
  // One for each lease says it all.
  const refused = new Map<string, Complaint>();
  for (const [key, { lease, epoch, ended }] of leaseWrites) {
    if (ended === undefined || !IN_VAIN.includes(ended.code)) continue;
    const text = `write ${key} under ${lease} of epoch ${epoch} ended with ${ended.code}`;
    refused.set(`${lease}/${epoch}`, { kind: 'lease-refused-in-vain', text });
  }
  return [...refused.values()];
}

/** When the first holder with a higher epoch was told. */
function overAt({ leases }: Journal, { lease, epoch }: LeaseWrite): LeaseTold | undefined {
  return leases.find((one) => one.name === lease && one.epoch > epoch);
}

/** Begun when somebody else had been told, and yet acknowledged. */
function findStaleWrites(journal: Journal): Complaint[] {
  const complaints: Complaint[] = [];
  for (const [key, write] of journal.leaseWrites) {
    const over = overAt(journal, write);
    if (write.ended?.code !== 'Ok' || over === undefined || write.calledAt < over.toldAt) continue;
    const text = `write ${key} of epoch ${write.epoch} was done after ${over.epoch} was told`;
    complaints.push({ kind: 'lease-stale-write', text });
  }
  return complaints;
}

/**
 * After a new holder was told a word showed something else, or was written by it; and later it
 * shows a write of an older epoch: that was done in between.
 */
function findLateWrites(journal: Journal, allocation: Allocation): Complaint[] {
  const complaints: Complaint[] = [];
  for (const [place, { operations }] of allocation.words) {
    for (const read of operations) {
      if (read.verb !== WordVerb.read || !Number.isFinite(read.returnedAt)) continue;
      const key = keyOf(allocation, read);
      const write = journal.leaseWrites.get(key);
      const over = write === undefined ? undefined : overAt(journal, write);
      if (over === undefined) continue;
      const before = operations.find((one) => {
        const isBetween = one.calledAt > over.toldAt && one.returnedAt < read.calledAt;
        return isBetween && one.returnedAt > 0 && showsOther(allocation, one, key);
      });
      if (before === undefined) continue;
      const text = `word ${place} of ${allocation.name}: write ${key} of epoch ${write?.epoch}`;
      const told = `came after client ${over.client} was told epoch ${over.epoch}`;
      complaints.push({ kind: 'lease-late-write', text: `${text} ${told}` });
      break;
    }
  }
  return complaints;
}

function keyOf({ id }: Allocation, { result }: WordOperation): string {
  return `${id}/${result.high === id ? writeNumberOf(result.low) : 0}`;
}

/** Of something that has ended: the word had another value when it took effect. */
function showsOther(allocation: Allocation, one: WordOperation, key: string): boolean {
  if (one.verb === WordVerb.read) return keyOf(allocation, one) !== key;
  if (one.verb !== WordVerb.write) return false;
  return `${allocation.id}/${writeNumberOf(one.argument.low)}` !== key;
}
