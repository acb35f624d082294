/**
 * The one error that users of the library meet. Match on `code`, not with `instanceof`: two copies
 * of the library may be loaded.
 */

import { type Outcome, STATUS_FACTS, Status, type StatusName, statusName } from '../base/status.js';

export type ErrorCode = Exclude<StatusName, 'Ok'>;

export interface ErrorDetails {
  /** When it differs from what the code says by itself. */
  readonly outcome?: Outcome | undefined;
  /** What to do, when it can be said more exactly than the code says it. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/** How many failures a `fence` or `release` remembers; the rest is only counted. */
export const FAILURES_MAX = 1024;

export class MemrackError extends Error {
  override readonly name = 'MemrackError';
  readonly code: ErrorCode;
  readonly outcome: Outcome;
  /** Whether the same call may succeed later without anything being changed by the caller. */
  readonly retryable: boolean;
  /** Of `fence` and `release`: the failures since the last one, this one first. */
  declare readonly failures?: readonly MemrackError[];
  /** How many more there were than the first thousand, which `failures` has. */
  declare readonly failuresOmitted?: number;

  /** `what` says what failed and where; the remedy is added to it. */
  constructor(code: ErrorCode, what: string, details: ErrorDetails = {}) {
    const facts = STATUS_FACTS[code];
    const remedy = details.remedy ?? facts.remedy;
    super(remedy === '' ? what : `${what} (${code}): ${remedy}`, { cause: details.cause });
    this.code = code;
    this.outcome = details.outcome ?? facts.outcome;
    this.retryable = facts.retryable;
  }
}

/** The code of a status that says that something failed. */
export function codeOf(status: Status): ErrorCode {
  const name = statusName(status);
  return name === undefined || name === 'Ok' ? 'Invalid' : name;
}

/** The other way round. */
export function statusOf({ code }: MemrackError): Status {
  return Status[code];
}

export function invalid(what: string, remedy: string): MemrackError {
  return new MemrackError('Invalid', what, { remedy });
}

/** Of what the interface names and this version does not have. */
export function unsupported(verb: string, remedy: string): MemrackError {
  return new MemrackError('Unsupported', `${verb} is not in this version`, { remedy });
}

export function closed(what: string): MemrackError {
  return new MemrackError('Closed', what);
}

/** The controller does not know the space any more. */
export function spaceRemoved(what: string, outcome?: Outcome): MemrackError {
  const remedy = 'create it again: what was in it is gone';
  return new MemrackError('NotFound', `${what}: the space was removed`, { remedy, outcome });
}

/** For a promise that nobody may be waiting for: its rejection must not end the process. */
export function ignore(): void {}

/** The same promise. Its rejection ends nothing when nobody waits for it. */
export function unawaited<T>(promise: Promise<T>): Promise<T> {
  promise.catch(ignore);
  return promise;
}

/** What a status of the fabric or of a node means for a user. */
export function failed(what: string, status: Status, reason = ''): MemrackError {
  return new MemrackError(codeOf(status), reason === '' ? what : `${what}: ${reason}`);
}
