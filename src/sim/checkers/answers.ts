/**
 * Invariant 1, answer by answer: memory that lives answers with its contents, memory that is gone
 * with `DataLost`, from the first moment on and never the other way round; and rights hold from
 * the moment when their change was acknowledged.
 */

import type { Allocation, Ended, Rights } from '../journal.js';
import type { Complaint } from './foreign.js';

/** What was known when an operation began. */
export interface Call {
  readonly calledAt: number;
  readonly isChange: boolean;
  readonly rights: Rights | undefined;
  readonly wasInUse: boolean;
}

export function callOf(allocation: Allocation, calledAt: number, isChange: boolean): Call {
  const { rights, freeCalledAt } = allocation;
  return { calledAt, isChange, rights, wasInUse: freeCalledAt === Infinity };
}

export function judgeAnswer(
  allocation: Allocation,
  ended: Ended,
  call: Call,
): Complaint | undefined {
  const isInUse = call.wasInUse && allocation.freeCalledAt === Infinity;
  if (!isInUse) return undefined;
  const { name, lostAt } = allocation;
  if (ended.code === 'Ok' && call.calledAt > lostAt) {
    return { kind: 'lost-as-zeros', text: `${name} was lost, and yet an operation succeeded` };
  }
  if (ended.code === 'DataLost' && lostAt === Infinity) {
    return { kind: 'lost-by-mistake', text: `${name} lives, but was answered DataLost` };
  }
  if (!EXPECTED.has(ended.code) && lostAt === Infinity) {
    return { kind: 'unexpected-answer', text: `${name} is allocated, but ${ended.code} came` };
  }
  return judgeRights(allocation, ended, call);
}

/** What may happen to anybody who uses living memory as he should. */
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

function judgeRights(allocation: Allocation, ended: Ended, call: Call): Complaint | undefined {
  // They changed, or were changing, while the operation was under way.
  if (call.rights === undefined || call.rights !== allocation.rights) return undefined;
  const { text } = call.rights;
  const isAllowed = text === 'rw' || (text === 'r' && !call.isChange);
  const what = `${allocation.name} with rights ${text}`;
  if (ended.code === 'Ok' && !isAllowed) {
    return { kind: 'rights-ignored', text: `${what} let a forbidden operation through` };
  }
  if (ended.code === 'Denied' && isAllowed) {
    return { kind: 'denied-by-mistake', text: `${what} refused an operation that they allow` };
  }
  return undefined;
}
