/**
 * One `acquire`, from the first try to a grant or a refusal.
 *
 *   try -> (look -> decide -> change or pause)* -> won -> told
 *
 * The first try is a compare-and-swap from what the word was when it was seen last, so a lock that
 * nobody else uses costs one operation. Whoever has given up keeps nothing: a change whose answer
 * comes later is undone.
 */

import { MemrackError } from '../error.js';
import type { Due } from './agenda.js';
import { Grant } from './grant.js';
import { changeOwn, isPassing, type LockParts, memrackError, readAfterUnknown } from './memory.js';
import { lockFaults } from './planted.js';
import type { Sight } from './sight.js';
import {
  gapMsMax,
  pollMs,
  QUICK_LOOKS,
  STARVING_MS,
  takeOverMs,
  TRIES_PER_LOOK,
} from './timing.js';
import {
  BEATS,
  describeWord,
  epochOf,
  freed,
  heldWord,
  isHeld,
  isLockWord,
  isStarving,
  leaseMsOf,
  nextBeat,
  nextEpoch,
  NONCE_MAX,
  STARVING,
  withoutFlag,
} from './word.js';

/** What all acquisitions of one lock by one client share. */
export interface LockState {
  readonly at: number;
  readonly sight: Sight;
  /** What the word was when it was seen last: the first try expects it. */
  guess: bigint;
}

export interface Wish {
  readonly waitMs: number;
  /** Of the lease. */
  readonly code: number;
  readonly signal: AbortSignal | undefined;
}

export class Acquisition implements Due {
  dueAt = Infinity;
  place = -1;
  readonly #parts: LockParts;
  readonly #lock: LockState;
  readonly #wish: Wish;
  readonly #beganAt: number;
  readonly #resolve: (grant: Grant) => void;
  readonly #reject: (error: MemrackError) => void;
  /** Told; what is still under way is undone. */
  #isTold = false;
  /** Why the last look failed, if it did. */
  #trouble: MemrackError | undefined;
  #endPause: (() => void) | undefined;

  constructor(
    parts: LockParts,
    lock: LockState,
    wish: Wish,
    resolve: (grant: Grant) => void,
    reject: (error: MemrackError) => void,
  ) {
    this.#parts = parts;
    this.#lock = lock;
    this.#wish = wish;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#beganAt = parts.clock.now();
  }

  start(): void {
    const { signal, waitMs } = this.#wish;
    if (signal?.aborted === true) return this.#aborted();
    signal?.addEventListener('abort', this.#aborted, { once: true });
    if (waitMs > 0) this.#parts.agenda.put(this, this.#beganAt + waitMs);
    // What is held, or free for those who starve, is only looked at this way.
    const from = freed(withoutFlag(this.#lock.guess));
    const own = this.#ownWord(from);
    const startedAt = this.#beganAt;
    this.#parts.memory.swap(this.#lock.at, from, own).then(
      (found) => {
        const isPrompt = this.#parts.clock.now() - startedAt < leaseMsOf(own) / 2;
        if (found !== from) this.#run(() => this.#tryAll(found, startedAt));
        else if (isPrompt && !this.#isTold) this.#give(this.#grant(own, startedAt));
        else this.#run(() => this.#won({ own, from, startedAt }));
      },
      (error: unknown) => {
        this.#run(() => this.#afterFailure(memrackError(error), { own, from, startedAt }));
      },
    );
  }

  due(): void {
    this.#giveUp(this.#trouble ?? this.#tooLate());
  }

  close(): void {
    this.#giveUp(new MemrackError('Closed', `acquiring ${this.#name}: the client was closed`));
  }

  get #name(): string {
    return `the lock at ${this.#lock.at} in space ${this.#parts.memory.name}`;
  }

  readonly #wasFreed = (word: bigint): void => {
    this.#lock.guess = word;
  };

  #ownWord(from: bigint, epoch = nextEpoch(epochOf(from))): bigint {
    const random = this.#parts.entropy.u32();
    const nonce = 1 + (random % NONCE_MAX);
    return heldWord(epoch, nonce, this.#wish.code, (random >>> 16) % BEATS);
  }

  #grant(word: bigint, startedAt: number): Grant {
    return new Grant(this.#parts, this.#lock.at, word, startedAt, this.#wasFreed);
  }

  /** `first`, and then one look after the other; each says whether it is over. */
  #run(first: () => Promise<boolean>): void {
    this.#untilOver(first).catch((error: unknown) => this.#giveUp(memrackError(error)));
  }

  async #untilOver(first: () => Promise<boolean>): Promise<void> {
    let isOver = await first();
    for (let looks = 1; !isOver && !this.#isTold; looks++) {
      if (this.#wish.waitMs === 0) return this.#giveUp(this.#trouble ?? this.#busy());
      isOver = await this.#lookAgain(looks);
    }
  }

  /** Changes the word, again as long as others change it as well. */
  async #tryAll(found: bigint, lookedAt: number): Promise<boolean> {
    const { clock, memory } = this.#parts;
    const { at, sight } = this.#lock;
    let word = found;
    let startedAt = lookedAt;
    this.#trouble = undefined;
    for (let tries = 0; tries < TRIES_PER_LOOK && !this.#isTold; tries++) {
      const now = clock.now();
      if (!isLockWord(word)) throw this.#corrupt(word);
      this.#lock.guess = word;
      sight.saw(word, startedAt, now);
      const desired = this.#decide(word, now);
      if (desired === undefined) return false;
      const isOwn = withoutFlag(desired) !== withoutFlag(word);
      const change = { own: isOwn ? desired : undefined, from: word, startedAt: now };
      const old = await memory.swap(at, word, desired).catch(memrackError);
      if (old instanceof MemrackError) return this.#afterFailure(old, change);
      if (old === word && isOwn) return this.#won({ ...change, own: desired });
      word = old === word ? desired : old;
      startedAt = now;
    }
    return false;
  }

  /** What to make of the word, or undefined: nothing now. */
  #decide(word: bigint, now: number): bigint | undefined {
    const { sight } = this.#lock;
    const isTry = this.#wish.waitMs === 0;
    const mayTake = !isStarving(word) || this.#starves(now) || isTry;
    if (!isHeld(word)) {
      return mayTake || sight.hasSteppedBack(now) ? this.#ownWord(word) : undefined;
    }
    if (sight.hasEnded(word, now)) {
      const epoch = lockFaults.lockWithoutEpoch ? epochOf(word) : nextEpoch(epochOf(word));
      return this.#ownWord(word, epoch);
    }
    const asks = !isTry && !isStarving(word) && this.#starves(now) && sight.mayAsk(now);
    return asks ? word | STARVING : undefined;
  }

  #starves(now: number): boolean {
    return now - this.#beganAt >= STARVING_MS;
  }

  /**
   * A take-over whose answer came late may have met another word that looks the same, whose holder
   * lives. It learns that it has lost it within its lease; until then nobody is told to hold it.
   */
  #probationMs({ from, startedAt }: OwnChange): number {
    if (!isHeld(from)) return 0;
    const leaseMs = leaseMsOf(from);
    const isSure = this.#parts.clock.now() - startedAt <= gapMsMax(leaseMs);
    return isSure ? 0 : takeOverMs(leaseMs);
  }

  async #lookAgain(looks: number): Promise<boolean> {
    const { clock, memory } = this.#parts;
    if (looks > QUICK_LOOKS) await this.#pause(looks);
    if (this.#isTold) return true;
    const startedAt = clock.now();
    const found = await memory.read(this.#lock.at).catch(memrackError);
    if (!(found instanceof MemrackError)) return this.#tryAll(found, startedAt);
    if (!isPassing(found)) throw found;
    this.#trouble = found;
    return false;
  }

  #pause(looks: number): Promise<void> {
    const { clock, entropy, timers } = this.#parts;
    const now = clock.now();
    const { sight, guess } = this.#lock;
    const leaseMs = isHeld(guess) ? leaseMsOf(guess) : Infinity;
    const seenMs = isHeld(guess) ? sight.seenMs(now) : 0;
    const ms = pollMs(looks, this.#starves(now), seenMs, leaseMs, entropy.fraction());
    return new Promise((resolve) => {
      const timer = timers.after(ms, resolve);
      this.#endPause = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  async #afterFailure(error: MemrackError, change: Change): Promise<boolean> {
    const { own } = change;
    this.#trouble = error;
    if (error.outcome === 'unknown' && own !== undefined) {
      return this.#settle({ ...change, own }, error);
    }
    if (error.outcome !== 'unknown' && !isPassing(error)) throw error;
    return false;
  }

  /** Looks whether the change was made, also when nobody waits for it any more. */
  async #settle(change: OwnChange, error: MemrackError): Promise<boolean> {
    const { clock, agenda } = this.#parts;
    const end = clock.now() + takeOverMs(leaseMsOf(change.own));
    if (this.#wish.waitMs === 0) agenda.put(this, end);
    const startedAt = clock.now();
    const found = await readAfterUnknown(this.#parts, this.#lock.at, () => clock.now() >= end);
    if (found === undefined) throw error;
    // The nonce and the first beat are random, together one of eight million for this epoch.
    if (withoutFlag(found) === change.own) return this.#won({ ...change, own: found });
    return this.#tryAll(found, startedAt);
  }

  /** The word was made ours. One that nobody waits for any more is given back. */
  async #won(change: OwnChange): Promise<boolean> {
    const { clock } = this.#parts;
    const { at } = this.#lock;
    let { own, startedAt } = change;
    const probationMs = this.#probationMs(change);
    const readyAt = clock.now() + probationMs;
    if (!this.#isTold && clock.now() - startedAt >= leaseMsOf(own) / 2) {
      const renewed = await changeOwn(this.#parts, at, own, nextBeat(own), () => this.#isTold);
      // Where that is not known either, the word is waited for as anybody else's.
      if (renewed.kind === 'gone') return false;
      if (renewed.kind === 'failed') return this.#afterFailure(renewed.error, NO_CHANGE);
      own = renewed.word;
      startedAt = renewed.startedAt;
    }
    if (this.#isTold) return this.#undo(own);
    const grant = this.#grant(own, startedAt);
    while (!this.#isTold && !grant.isLost && clock.now() < readyAt) {
      await this.#pause(QUICK_LOOKS + 1);
    }
    if (grant.isLost) return false;
    this.#give(grant);
    return true;
  }

  async #undo(own: bigint): Promise<true> {
    const end = this.#parts.clock.now() + leaseMsOf(own);
    const isOver = (): boolean => this.#parts.clock.now() >= end;
    const undone = await changeOwn(this.#parts, this.#lock.at, own, freed(own), isOver);
    if (undone.kind === 'done') this.#wasFreed(undone.word);
    return true;
  }

  #give(grant: Grant): void {
    if (this.#isTold) {
      void grant.release();
      return;
    }
    this.#end();
    this.#resolve(grant);
  }

  #giveUp(error: MemrackError): void {
    if (this.#isTold) return;
    this.#end();
    this.#reject(error);
  }

  #end(): void {
    this.#isTold = true;
    this.#parts.agenda.remove(this);
    this.#wish.signal?.removeEventListener('abort', this.#aborted);
    this.#endPause?.();
  }

  readonly #aborted = (): void => {
    const { reason } = this.#wish.signal as { reason?: unknown };
    const remedy = 'acquire it again when it is wanted';
    const details = { remedy, cause: reason };
    this.#giveUp(new MemrackError('Timeout', `acquiring ${this.#name} was aborted`, details));
  };

  #busy(): MemrackError {
    const remedy = 'try again, or wait for it with waitMs';
    const what = `${this.#name} is not free: ${describeWord(this.#lock.guess)}`;
    return new MemrackError('Busy', what, { remedy });
  }

  #tooLate(): MemrackError {
    const remedy = 'try again, or allow more time with waitMs';
    const { waitMs } = this.#wish;
    const what = `${this.#name} did not become free within ${waitMs} ms`;
    return new MemrackError('Timeout', `${what}: ${describeWord(this.#lock.guess)}`, { remedy });
  }

  #corrupt(word: bigint): MemrackError {
    const remedy = 'use a word that starts as zero, and that nothing but locks writes';
    const what = `${this.#name} is no lock: its word is 0x${word.toString(16)}`;
    return new MemrackError('Corrupt', what, { remedy, outcome: 'notApplied' });
  }
}

/** What was asked to be made of `from`; `own` when it would be ours then. */
interface Change {
  readonly own: bigint | undefined;
  readonly from: bigint;
  readonly startedAt: number;
}

interface OwnChange extends Change {
  readonly own: bigint;
}

const NO_CHANGE: Change = { own: undefined, from: 0n, startedAt: 0 };
