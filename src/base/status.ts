/**
 * Every way in which an operation can end, as one small number.
 *
 * On the data path a status is returned, never thrown: a thrown error costs microseconds. The
 * numbers travel on the wire and therefore never change; new ones are appended. A status is added
 * only where some caller would act on it differently.
 */

export const Status = {
  Ok: 0,
  NoSpace: 1,
  NotAllocated: 2,
  NotFound: 3,
  Exists: 4,
  Denied: 5,
  Busy: 6,
  Conflict: 7,
  Stale: 8,
  Unavailable: 9,
  DataLost: 10,
  Corrupt: 11,
  Timeout: 12,
  OutcomeUnknown: 13,
  Invalid: 14,
  Unsupported: 15,
  Closed: 16,
  Moved: 17,
} as const;
export type Status = (typeof Status)[keyof typeof Status];
export type StatusName = keyof typeof Status;

/** What is known of the effect of an operation that did not end with `Ok`. */
export type Outcome = 'applied' | 'notApplied' | 'unknown';

interface StatusFacts {
  readonly outcome: Outcome;
  /** Whether the same call may succeed later without anything being changed by the caller. */
  readonly retryable: boolean;
  readonly remedy: string;
}

export const STATUS_FACTS = {
  Ok: { outcome: 'applied', retryable: false, remedy: '' },
  NoSpace: {
    outcome: 'notApplied',
    retryable: true,
    remedy: 'free memory, or add a memory node',
  },
  NotAllocated: {
    outcome: 'notApplied',
    retryable: false,
    remedy: 'allocate the range first, and do not use it after it was freed',
  },
  NotFound: { outcome: 'notApplied', retryable: false, remedy: 'check the name, or create it' },
  Exists: { outcome: 'notApplied', retryable: false, remedy: 'choose another name, or remove it' },
  Denied: {
    outcome: 'notApplied',
    retryable: false,
    remedy: "ask for access, or change the range's permission with protect",
  },
  Busy: { outcome: 'notApplied', retryable: true, remedy: 'try again, with fewer in flight' },
  Conflict: { outcome: 'notApplied', retryable: true, remedy: 'read again and repeat the change' },
  Stale: {
    outcome: 'notApplied',
    retryable: true,
    remedy: 'the ownership has moved on: acquire it again',
  },
  Unavailable: {
    outcome: 'notApplied',
    retryable: true,
    remedy: 'the memory node is away and may return: try again, or see `memrack status`',
  },
  DataLost: {
    outcome: 'notApplied',
    retryable: false,
    remedy: 'the only copy is gone: restore the data from its source',
  },
  Corrupt: { outcome: 'unknown', retryable: false, remedy: 'see `memrack status` for the place' },
  Timeout: { outcome: 'notApplied', retryable: true, remedy: 'try again, or allow more time' },
  OutcomeUnknown: {
    outcome: 'unknown',
    retryable: false,
    remedy: 'read the data to see whether the change was made',
  },
  Invalid: { outcome: 'notApplied', retryable: false, remedy: 'correct the arguments' },
  Unsupported: {
    outcome: 'notApplied',
    retryable: false,
    remedy: 'use a version that supports it, or another link',
  },
  Closed: { outcome: 'notApplied', retryable: false, remedy: 'connect again' },
  Moved: {
    outcome: 'notApplied',
    retryable: true,
    remedy: 'another memory node holds it by now: ask where, and repeat it there',
  },
} as const satisfies Record<StatusName, StatusFacts>;

const NAMES = Object.keys(Status) as StatusName[];

/** The name of a status that came over the wire; undefined where the number is none of ours. */
export function statusName(code: number): StatusName | undefined {
  return NAMES[code];
}

const NO_ANSWER: ReadonlySet<Status> = new Set([
  Status.Unavailable,
  Status.Timeout,
  Status.OutcomeUnknown,
  Status.Closed,
]);

/**
 * Whether the end of a call tells nothing of what was done: it was never sent, or its answer was
 * lost. (A call that may be repeated ends with `Timeout` or `Unavailable` in either case.)
 */
export function isNoAnswer(status: Status): boolean {
  return NO_ANSWER.has(status);
}

export function isStatus(code: number): code is Status {
  return Number.isInteger(code) && code >= 0 && code < NAMES.length;
}
