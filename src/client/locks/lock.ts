/**
 * A lock in the memory of a space, shared by everybody who knows its address: an advisory lease on
 * an 8-byte word. docs/internals/locks.md has the rules and why they are safe.
 */

import { show } from '../arguments.js';
import { invalid, MemrackError, unawaited } from '../error.js';
import { Acquisition, type LockState, type Wish } from './acquisition.js';
import type { Grant } from './grant.js';
import type { LockParts } from './memory.js';
import { Sight } from './sight.js';
import { LEASE_MS_DEFAULT, WAIT_MS_DEFAULT } from './timing.js';
import { codeOfMs, LEASE_MS_MAX, LEASE_MS_MIN } from './word.js';

export interface AcquireOptions {
  /**
   * How long to wait, in milliseconds; `Infinity` is allowed. Default 10,000. With 0 it is tried
   * once, and a lock that somebody else has is `Busy`.
   */
  readonly waitMs?: number;
  /**
   * How long others wait for a holder that does not renew any more, in milliseconds, 10 to 600,000;
   * rounded up by at most 6 %. Default 10,000. It is renewed three times in that time, so an event
   * loop that blocks longer than it loses the lock.
   */
  readonly leaseMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

/** A lock that this client holds, or held. */
export interface HeldLock {
  /**
   * 1 to 2^32 - 1, above that of every earlier holder (after the last one follows 1: `a` came after
   * `b` if `((a - b) | 0) > 0`). Belongs into words that no late holder may overwrite.
   */
  readonly epoch: number;
  /**
   * Aborted when the lock is lost, with the reason: before anybody else can hold it, as far as this
   * process runs. Asking looks at the clock too, so ask after every `await`: `held.lost.aborted`.
   */
  readonly lost: AbortSignal;
  /**
   * Gives it back after all operations on the space that this client started before are complete.
   * Rejects with `Stale` when the lock was lost before, and with `OutcomeUnknown` when one of those
   * operations, or the release itself, may still be executed: then time passes the lock on.
   */
  release(): Promise<void>;
}

export class Lock {
  readonly #parts: LockParts;
  readonly #state: LockState;
  #leaseMs = LEASE_MS_DEFAULT;
  #code = codeOfMs(LEASE_MS_DEFAULT);

  /** For `space.lock`. */
  constructor(parts: LockParts, at: number) {
    this.#parts = parts;
    this.#state = { at, sight: new Sight(), guess: 0n };
  }

  get at(): number {
    return this.#state.at;
  }

  /**
   * Resolves when the lock is held. Nobody holds it twice: not the same client either. Rejects
   *
   * - with `Busy` when it is held and `waitMs` is 0,
   * - with `Timeout` when `waitMs` has passed, or `signal` is aborted (the reason is the `cause`),
   * - with what its memory answers: `Unavailable` when nothing else came until `waitMs` had passed;
   *   `NotAllocated`, `DataLost`, `Denied` and the like at once,
   * - with `Corrupt` when the word is no lock; it is not changed.
   *
   * A rejected one holds nothing: what may have been done all the same is undone, or ends with its
   * lease.
   */
  acquire(options: AcquireOptions = {}): Promise<HeldLock> {
    const wish = this.#wish(options);
    if (wish instanceof MemrackError) return unawaited(Promise.reject(wish));
    let resolve: (grant: Grant) => void = () => undefined;
    let reject: (error: MemrackError) => void = () => undefined;
    const promise = new Promise<Grant>((...both) => ([resolve, reject] = both));
    // Only where it fails: else it would be one promise more.
    const refused = (error: MemrackError): void => {
      void unawaited(promise);
      reject(error);
    };
    new Acquisition(this.#parts, this.#state, wish, resolve, refused).start();
    return promise;
  }

  #wish(options: AcquireOptions): Wish | MemrackError {
    const { waitMs = WAIT_MS_DEFAULT, leaseMs = LEASE_MS_DEFAULT, signal } = options ?? {};
    if (!(typeof waitMs === 'number' && waitMs >= 0)) {
      return invalid(`waitMs is ${show(waitMs)}`, 'pass milliseconds: at least 0');
    }
    if (leaseMs !== this.#leaseMs) {
      if (!(typeof leaseMs === 'number' && leaseMs >= LEASE_MS_MIN && leaseMs <= LEASE_MS_MAX)) {
        const remedy = `pass milliseconds from ${LEASE_MS_MIN} to ${LEASE_MS_MAX}`;
        return invalid(`leaseMs is ${show(leaseMs)}`, remedy);
      }
      this.#leaseMs = leaseMs;
      this.#code = codeOfMs(leaseMs);
    }
    if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
      return invalid('signal is not an AbortSignal', 'pass the signal of an AbortController');
    }
    return { waitMs, code: this.#code, signal };
  }
}
