/**
 * Locks as a client program uses them, written into the journal: who was told to hold what when,
 * for how long it believed so, and what it published under the epoch.
 */

import type { AcquireOptions, HeldLock } from '../client/locks/lock.js';
import type { RemoteSpace } from '../client/space.js';
import { type Allocation, type Journal, SUCCESS, WORD_BYTES } from './journal.js';
import type { LockHistory, LockHolding } from './lock-facts.js';
import { endedBy, type NoteOutcome, OF_FAULTS } from './observed-space.js';

export interface ObservedLocksFacts {
  readonly client: number;
  readonly space: RemoteSpace;
  readonly journal: Journal;
  readonly nowMs: () => number;
  readonly noteOutcome: NoteOutcome;
}

const LOW = 0xffff_ffffn;
/** Answers that come of others who want the lock as well. */
const ORDINARY: ReadonlySet<string> = new Set(['Busy', 'Timeout', 'Stale']);

export class ObservedLocks {
  readonly #facts: ObservedLocksFacts;

  constructor(facts: ObservedLocksFacts) {
    this.#facts = facts;
  }

  /** The lock in the word at `place`; the next word carries its epoch, and a count. */
  async acquire(
    allocation: Allocation,
    place: number,
    options: AcquireOptions,
  ): Promise<ObservedLock | undefined> {
    const { client, journal, space } = this.#facts;
    const calledAt = journal.moment();
    const at = allocation.at + place * WORD_BYTES;
    const held = await this.#ended('acquire', space.lock(at).acquire(options));
    if (held === undefined) return undefined;
    const toldAt = journal.moment();
    const { epoch } = held;
    const holding: LockHolding = { client, epoch, calledAt, toldAt, usedAt: toldAt };
    const history = journal.lockHistory(`lock at word ${place} of ${allocation.name}`);
    history.holdings.push(holding);
    journal.note(`client ${client} holds word ${place} in epoch ${held.epoch}`);
    const count = (verb: string, work: Promise<unknown>) => this.#ended(verb, work);
    return new ObservedLock({ ...this.#facts, held, holding, history, at: at + WORD_BYTES, count });
  }

  async #ended<T>(verb: string, work: Promise<T>): Promise<T | undefined> {
    const { client, journal, nowMs, noteOutcome } = this.#facts;
    const startedMs = nowMs();
    try {
      const value = await work;
      journal.count(verb, SUCCESS);
      return value;
    } catch (error) {
      const ended = endedBy(error);
      const isOrdinary = ORDINARY.has(ended.code) && ended.outcome === 'notApplied';
      journal.count(isOrdinary ? `${verb}-not` : verb, isOrdinary ? SUCCESS : ended);
      if (OF_FAULTS.has(ended.code)) {
        noteOutcome(startedMs, ended.outcome === 'unknown' ? 'unknown' : 'failed');
        journal.note(`client ${client}: ${verb} ended with ${ended.code}`);
      }
      return undefined;
    }
  }
}

interface ObservedLockParts extends ObservedLocksFacts {
  readonly held: HeldLock;
  readonly holding: LockHolding;
  readonly history: LockHistory;
  /** Of the word that carries the epoch. */
  readonly at: number;
  readonly count: (verb: string, work: Promise<unknown>) => Promise<unknown>;
}

export class ObservedLock {
  readonly #parts: ObservedLockParts;

  constructor(parts: ObservedLockParts) {
    this.#parts = parts;
  }

  /** Notes that it is believed to be held, where it is. */
  isLost(): boolean {
    const { held, holding, journal } = this.#parts;
    if (held.lost.aborted) return true;
    holding.usedAt = journal.moment();
    return false;
  }

  /** Raises the epoch of the word, so that former holders change it no more. */
  claim(): Promise<void> {
    return this.#change(0n);
  }

  /** Adds one to the count, unless a later holder has been there. */
  publish(): Promise<void> {
    return this.#change(1n);
  }

  async release(): Promise<void> {
    await this.#parts.count('unlock', this.#parts.held.release());
  }

  async #change(step: bigint): Promise<void> {
    const { at, count, held, holding, history, journal, space } = this.#parts;
    const read = (await count('read', space.read(at, WORD_BYTES))) as Uint8Array | undefined;
    if (read === undefined) return;
    const before = new DataView(read.buffer).getBigUint64(0, true);
    if (Number(before >> 32n) > held.epoch) return;
    const value = (before & LOW) + step;
    const calledAt = journal.moment();
    const after = (BigInt(held.epoch) << 32n) | value;
    const found = await count('swap', space.compareAndSwap(at, before, after));
    if (found !== before) return;
    history.publications.push({
      holding,
      calledAt,
      isClaim: step === 0n,
      value: Number(value),
      returnedAt: journal.moment(),
    });
  }
}
