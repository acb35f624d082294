/**
 * A lock that is held: renewed until it is given back or lost.
 *
 *   held -> releasing -> released
 *     \________\______-> lost
 *
 * What a holder changes in the word it changes one after the other. It counts its lease from before
 * the last change that is known to have been made, on its own clock, and believes nothing longer.
 */

import { newAbort } from '../../base/abort.js';
import { MemrackError, unawaited } from '../error.js';
import type { Due } from './agenda.js';
import { changeOwn, isPassing, type LockParts, memrackError } from './memory.js';
import { renewAfterMs, retryAfterMs } from './timing.js';
import { describeWord, epochOf, freed, leaseMsOf, nextBeat, withoutFlag } from './word.js';

/** Told when the lock is free again by the holder's hand: what stands there now. */
export type Freed = (word: bigint) => void;

export class Grant implements Due {
  dueAt = Infinity;
  place = -1;
  readonly epoch: number;
  readonly #parts: LockParts;
  readonly #at: number;
  readonly #leaseMs: number;
  readonly #freed: Freed;
  #word: bigint;
  #endsAt: number;
  #unknowns: number;
  #loss: MemrackError | undefined;
  #abort: AbortController | undefined;
  #renewing: Promise<void> | undefined;
  #releasing: Promise<void> | undefined;
  #isReleased = false;

  /** `word` was made at the node after `startedAt`. */
  constructor(parts: LockParts, at: number, word: bigint, startedAt: number, freedWord: Freed) {
    this.#parts = parts;
    this.#at = at;
    this.#word = word;
    this.#freed = freedWord;
    this.epoch = epochOf(word);
    this.#leaseMs = leaseMsOf(word);
    this.#endsAt = startedAt + this.#leaseMs;
    this.#unknowns = parts.memory.unknowns;
    parts.agenda.put(this, startedAt + renewAfterMs(this.#leaseMs));
  }

  /** Looks at the clock first: a timer may be late where this is asked. */
  get lost(): AbortSignal {
    this.#look();
    this.#abort ??= newAbort();
    if (this.#loss !== undefined) this.#abort.abort(this.#loss);
    return this.#abort.signal;
  }

  get isLost(): boolean {
    this.#look();
    return this.#loss !== undefined;
  }

  due(now: number): void {
    if (now >= this.#endsAt) this.#lose(`it was not renewed within ${this.#leaseMs} ms`);
    else this.#renew();
  }

  close(): void {
    this.#lose('the client was closed', 'Closed');
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  /** Nobody need look at how the release ends. */
  #mayFail(): void {
    if (this.#releasing !== undefined) void unawaited(this.#releasing);
  }

  #look(): void {
    if (this.#isReleased || this.#loss !== undefined) return;
    if (this.#parts.clock.now() >= this.#endsAt)
      this.#lose(`its lease of ${this.#leaseMs} ms ended`);
  }

  #lose(why: string, code: 'Stale' | 'Closed' | 'OutcomeUnknown' = 'Stale'): MemrackError {
    if (this.#loss !== undefined) return this.#loss;
    const what = `the lock at ${this.#at} in space ${this.#parts.memory.name} was lost: ${why}`;
    const remedy = 'acquire it again, and look at what was half done';
    this.#loss = new MemrackError(code, what, { remedy });
    this.#parts.agenda.remove(this);
    this.#abort?.abort(this.#loss);
    return this.#loss;
  }

  readonly #isOver = (): boolean => this.#isReleased || this.isLost;

  #renew(): void {
    if (this.#renewing !== undefined || this.#isOver()) return;
    // Meanwhile only the end of the lease is waited for.
    this.#parts.agenda.put(this, this.#endsAt);
    this.#renewing = this.#renewOnce().finally(() => {
      this.#renewing = undefined;
    });
  }

  async #renewOnce(): Promise<void> {
    const { agenda, clock } = this.#parts;
    const next = nextBeat(this.#word);
    const changed = await changeOwn(this.#parts, this.#at, this.#word, next, this.#isOver);
    if (this.#isOver()) return;
    if (changed.kind === 'gone') {
      this.#lose(`its word is now: ${describeWord(changed.word)}`);
    } else if (changed.kind === 'done') {
      this.#word = changed.word;
      this.#endsAt = changed.startedAt + this.#leaseMs;
      agenda.put(this, changed.startedAt + renewAfterMs(this.#leaseMs));
    } else if (isPassing(changed.error) || changed.error.outcome === 'unknown') {
      agenda.put(this, Math.min(this.#endsAt, clock.now() + retryAfterMs(this.#leaseMs)));
    } else {
      this.#lose(`it cannot be renewed: ${changed.error.message}`);
    }
  }

  /** Short where nothing else is under way: one change of the word. */
  #release(): Promise<void> {
    this.#look();
    if (this.#loss !== undefined) return unawaited(Promise.reject(this.#loss));
    const { memory } = this.#parts;
    const waiting = memory.barrier();
    const isQuiet = waiting === undefined && this.#renewing === undefined;
    if (!isQuiet || memory.unknowns !== this.#unknowns)
      return unawaited(this.#releaseLater(waiting));
    const word = this.#word;
    const free = freed(word);
    this.#parts.agenda.put(this, this.#endsAt);
    return memory.swap(this.#at, word, free).then(
      (found) => {
        if (found === word && this.#loss === undefined) return this.#end(free);
        this.#mayFail();
        return found === word ? this.#end(free) : this.#releaseSlowly(false);
      },
      (error: unknown) => {
        this.#mayFail();
        return this.#releaseAfter(memrackError(error));
      },
    );
  }

  /** It goes on being renewed while one's own operations are waited for. */
  async #releaseLater(waiting: Promise<void> | undefined): Promise<void> {
    const { agenda, memory } = this.#parts;
    await waiting;
    while (memory.unknowns !== this.#unknowns) {
      const { unknowns } = memory;
      if (!(await memory.settle(this.#endsAt))) {
        const why = 'an operation of its holder may still be executed';
        throw this.#lose(`${why}, so it is left until its lease has ended`, 'OutcomeUnknown');
      }
      this.#unknowns = unknowns;
    }
    await this.#renewing;
    if (this.isLost) throw this.#loss as MemrackError;
    agenda.put(this, this.#endsAt);
    await this.#releaseSlowly(false);
  }

  /** The first change was refused, or nobody knows whether it was made. */
  async #releaseAfter(error: MemrackError): Promise<void> {
    if (error.outcome !== 'unknown' && !isPassing(error)) throw this.#lose(error.message);
    await this.#releaseSlowly(error.outcome === 'unknown');
  }

  async #releaseSlowly(mayBeFree: boolean): Promise<void> {
    let isUnsure = mayBeFree;
    for (;;) {
      const from = this.#word;
      const changed = await changeOwn(this.#parts, this.#at, from, freed(from), this.#isOver);
      if (changed.kind === 'done') return this.#end(changed.word);
      if (changed.kind === 'gone') return this.#endGone(changed.word, isUnsure || !changed.isSure);
      const { error } = changed;
      if (error.outcome === 'unknown') isUnsure = true;
      else if (!isPassing(error)) throw this.#lose(`it cannot be released: ${error.message}`);
      if (this.isLost) throw isUnsure ? this.#unknown() : (this.#loss as MemrackError);
      const { timers } = this.#parts;
      await new Promise<void>((go) => timers.after(retryAfterMs(this.#leaseMs), go));
    }
  }

  /** Another word: after a release whose answer was lost that is what is to be expected. */
  #endGone(word: bigint, mayBeOurs: boolean): void {
    if (!mayBeOurs) throw this.#lose(`its word is now: ${describeWord(word)}`);
    // Only its holder frees an epoch; and nobody takes it over while the lease lasts.
    const isFree = withoutFlag(word) === withoutFlag(freed(this.#word));
    if (this.isLost && !isFree) throw this.#unknown();
    this.#end(word);
  }

  #unknown(): MemrackError {
    const what = `the lock at ${this.#at} may have been released, or lost before`;
    return new MemrackError('OutcomeUnknown', what, { cause: this.#loss });
  }

  #end(word: bigint): void {
    // Told as lost is told as lost: its holder may have acted on it.
    if (this.#loss !== undefined) throw this.#loss;
    this.#isReleased = true;
    this.#parts.agenda.remove(this);
    this.#freed(word);
  }
}
