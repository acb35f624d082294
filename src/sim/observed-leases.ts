/**
 * Leases as a client program uses them, written into the journal: who was told which epoch when,
 * and under which epoch each write was made.
 */

import type { Lease } from '../client/lease.js';
import type { LeaseOptions } from '../client/leases.js';
import type { Rack } from '../client/rack.js';
import type { RemoteSpace } from '../client/space.js';
import { type Allocation, type Ended, type Journal, SUCCESS } from './journal.js';
import type { LeaseTold, LeaseWrite } from './lease-facts.js';
import { type DrivenSpace, endedBy, type NoteOutcome, ObservedSpace } from './observed-space.js';

export interface ObservedLeasesFacts {
  readonly client: number;
  readonly rack: Rack;
  readonly pageBytes: number;
  readonly journal: Journal;
  readonly nowMs: () => number;
  readonly noteOutcome: NoteOutcome;
}

export class ObservedLeases {
  readonly #facts: ObservedLeasesFacts;

  constructor(facts: ObservedLeasesFacts) {
    this.#facts = facts;
  }

  /** Undefined: somebody else holds it, or it cannot be had now. */
  async acquire(name: string, options: LeaseOptions): Promise<HeldLease | undefined> {
    const { client, rack, journal, nowMs, noteOutcome } = this.#facts;
    const calledAt = journal.moment();
    const startedMs = nowMs();
    try {
      const lease = await rack.lease(name, options);
      const { epoch } = lease;
      const told = { name, client, epoch, calledAt, toldAt: journal.moment(), lostAt: Infinity };
      journal.leases.push(told);
      lease.lost.addEventListener('abort', () => {
        told.lostAt = journal.moment();
        journal.note(`client ${client} has lost ${name}`);
      });
      journal.count('lease', SUCCESS);
      journal.note(`client ${client} holds ${name} in epoch ${lease.epoch}`);
      return new HeldLease(this.#facts, lease, told);
    } catch (error) {
      const ended = endedBy(error);
      // That somebody holds it is an answer like another.
      if (ended.code === 'Conflict') journal.count('lease-held', SUCCESS);
      else {
        journal.count('lease', ended);
        noteOutcome(startedMs, 'failed');
      }
      return undefined;
    }
  }
}

export class HeldLease {
  readonly epoch: number;
  readonly #facts: ObservedLeasesFacts;
  readonly #lease: Lease;
  readonly #told: LeaseTold;

  constructor(facts: ObservedLeasesFacts, lease: Lease, told: LeaseTold) {
    this.#facts = facts;
    this.#lease = lease;
    this.#told = told;
    this.epoch = lease.epoch;
  }

  get isLost(): boolean {
    return this.#lease.lost.aborted;
  }

  /** The allocation's space as it is seen through a window of this lease. */
  async through(space: string, allocation: Allocation): Promise<LeasedSpace | undefined> {
    const { client, rack, pageBytes, journal, nowMs, noteOutcome } = this.#facts;
    try {
      const whole = await rack.space(space);
      const driven = await this.#driven(whole, allocation);
      const facts = { name: space, client, pageBytes, journal, nowMs, noteOutcome };
      return new LeasedSpace(new ObservedSpace({ ...facts, space: driven }), journal, this.#told);
    } catch (error) {
      journal.note(`client ${client}: no window of the lease: ${endedBy(error).code}`);
      return undefined;
    }
  }

  async #driven(space: RemoteSpace, { at, bytes }: Allocation): Promise<DrivenSpace> {
    const window = await this.#lease.window(space, at, bytes, 'rw');
    const never = (): Promise<never> => Promise.reject(new Error('not through a window'));
    return {
      id: space.id,
      alloc: never,
      free: never,
      protect: never,
      fence: never,
      read: (from, into) => refusals(window.read(from, into)),
      write: (to, from) => refusals(window.write(to, from)),
      readMany: (reads) => refusals(window.readMany(reads)),
      writeMany: (writes) => refusals(window.writeMany(writes)),
      compareAndSwap: (word, old, desired) => refusals(window.compareAndSwap(word, old, desired)),
      fetchAndAdd: (word, delta) => refusals(window.fetchAndAdd(word, delta)),
    };
  }

  async release(): Promise<void> {
    try {
      await this.#lease.release();
      this.#facts.journal.count('lease-release', SUCCESS);
    } catch (error) {
      // It was lost, which its holder cannot help.
      if (endedBy(error).code !== 'Stale') throw error;
    }
  }
}

/** Under a lease `Stale` is as good an answer as any other refusal. */
async function refusals<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const ended = endedBy(error);
    if (ended.code !== 'Stale' && ended.code !== 'Closed') throw error;
    throw Object.assign(new Error(ended.code), { ...ended, code: 'Unavailable' });
  }
}

/** Reads and writes through a window of a lease. */
export class LeasedSpace {
  readonly #space: ObservedSpace;
  readonly #journal: Journal;
  readonly #told: LeaseTold;

  constructor(space: ObservedSpace, journal: Journal, told: LeaseTold) {
    this.#space = space;
    this.#journal = journal;
    this.#told = told;
  }

  readWord(allocation: Allocation, place: number): Promise<Ended> {
    return this.#space.readWord(allocation, place);
  }

  async writeWord(allocation: Allocation, place: number): Promise<Ended> {
    const { name: lease, epoch } = this.#told;
    const calledAt = this.#journal.moment();
    const writing = this.#space.writeWord(allocation, place);
    const write: LeaseWrite = { lease, epoch, calledAt, ended: undefined };
    // The write that was begun just now has the last number of its allocation.
    this.#journal.leaseWrites.set(`${allocation.id}/${allocation.writes.length}`, write);
    const ended = await writing;
    write.ended = ended;
    return ended;
  }
}
