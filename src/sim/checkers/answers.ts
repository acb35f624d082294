/**
 * Rights hold from the moment when their change was acknowledged, and memory that is allocated is
 * never denied to exist. Judged answer by answer.
 */

import type { Grant } from '../grant.js';
import type { Allocation, Ended, Rights } from '../journal.js';
import type { Complaint } from './foreign.js';

/** What was known when an operation began. */
export interface Call {
  readonly calledAt: number;
  readonly isChange: boolean;
  readonly rights: Rights | undefined;
  readonly wasInUse: boolean;
  /** What it was made through, if that was a window of its own. */
  readonly grant: Grant | undefined;
}

export function callOf(
  allocation: Allocation,
  calledAt: number,
  isChange: boolean,
  grant?: Grant,
): Call {
  const { rights, freeCalledAt } = allocation;
  return { calledAt, isChange, rights, wasInUse: freeCalledAt === Infinity, grant };
}

/** Judges one answer, and notes in the allocation what can be judged only later. */
export function judgeAnswer(
  allocation: Allocation,
  ended: Ended,
  call: Call,
): Complaint | undefined {
  // Freed while the operation was under way: anything may come.
  if (!call.wasInUse || allocation.freeCalledAt !== Infinity) return undefined;
  if (ended.code === 'Ok') {
    allocation.lastServed = Math.max(allocation.lastServed, call.calledAt);
  }
  if (ended.code === 'DataLost') {
    allocation.firstCalledLost = Math.min(allocation.firstCalledLost, call.calledAt);
  }
  if (call.grant !== undefined) return judgeGranted(call.grant, ended, call);
  if (!EXPECTED.has(ended.code)) {
    const text = `${allocation.name} is allocated, but ${ended.code} came`;
    return { kind: 'unexpected-answer', text };
  }
  return judgeRights(allocation, ended, call);
}

/** What may happen to anybody who uses allocated memory as he should. */
const EXPECTED: ReadonlySet<string> = new Set([
  'Ok',
  'NoSpace',
  'Denied',
  'Busy',
  'Unavailable',
  'DataLost',
  'Timeout',
  'OutcomeUnknown',
]);

/** Through a window: nothing that begins after it was reported as taken back is done. */
function judgeGranted(grant: Grant, ended: Ended, call: Call): Complaint | undefined {
  if (ended.code !== 'Ok') {
    if (EXPECTED.has(ended.code) || ended.code === 'Stale') return undefined;
    const text = `${grant.name} is open or revoked, but ${ended.code} came`;
    return { kind: 'unexpected-answer', text };
  }
  if (grant.revokedAt < call.calledAt) {
    const text = `${grant.name} was revoked at ${grant.revokedAt}, and used at ${call.calledAt}`;
    return { kind: 'served-after-revoke', text };
  }
  if (grant.rights === 'rw' || !call.isChange) return undefined;
  return { kind: 'rights-ignored', text: `${grant.name} let a change through` };
}

function judgeRights(allocation: Allocation, ended: Ended, call: Call): Complaint | undefined {
  // They changed, or were changing, while the operation was under way.
  if (call.rights === undefined || call.rights !== allocation.rights) return undefined;
  const { text } = call.rights;
  const isAllowed = text === 'rw' || (text === 'r' && !call.isChange);
  const what = `${allocation.name} with rights ${text}, at ${call.calledAt},`;
  if (ended.code === 'Ok' && !isAllowed) {
    return { kind: 'rights-ignored', text: `${what} let a forbidden operation through` };
  }
  if (ended.code === 'Denied' && isAllowed) {
    return { kind: 'denied-by-mistake', text: `${what} refused an operation that they allow` };
  }
  return undefined;
}
