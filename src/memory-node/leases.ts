/**
 * The leases of a memory node: the records in its table file, and, in memory and by its own clock,
 * when each runs out. See docs/internals/leases.md.
 *
 * That a lease has run out changes nothing here: its holder may renew it as long as its epoch is
 * the highest. It is only told to whoever asks whether it may be taken over.
 */

import { Status } from '../base/status.js';
import { type LeaseRecord, type LeaseTable } from '../disk/lease-table.js';
import { LEASE_KEEP_MS, LEASES_PER_NODE_MAX } from '../leases/limits.js';
import {
  ended,
  FLOOR_LEASE,
  type Grant,
  granted,
  isHeldBy,
  isRefused,
  raised,
} from '../leases/record.js';
import type { LeaseSeen } from '../leases/take-over.js';
import type { Clock } from '../runtime/clock.js';
import { memoryNodeFaults } from './planted.js';
import type { Refusal } from './slow/allocations.js';

/** What leases need of windows. */
export interface LeaseWindows {
  /**
   * Closes every window that was bound to an epoch of the lease below this one. Ends, also where
   * there was none, when nothing that began before can change what others read; false: that could
   * not be had in time, and has to be asked for again.
   */
  revokeLease(lease: number, epoch: number): Promise<boolean>;
}

export interface LeaseCounts {
  readonly known: number;
  readonly held: number;
  /** Of those that are held: not renewed in time. */
  readonly runOut: number;
  readonly raised: number;
  readonly forgotten: number;
  readonly refusedForSpace: number;
  /** Raised, but what began before could not be ended in time. */
  readonly notRevoked: number;
}

const NOT_REVOKED: Refusal = {
  status: Status.Busy,
  reason: 'windows of the holder before cannot be revoked at this moment: try again',
};

export class NodeLeases {
  readonly #table: LeaseTable;
  readonly #clock: Clock;
  readonly #windows: LeaseWindows;
  /** By lease: of a held one when it runs out, of another since when nobody has held it. */
  readonly #times = new Map<number, number>();
  #raised = 0;
  #forgotten = 0;
  #refusedForSpace = 0;
  #notRevoked = 0;

  /** Of a process before this one nobody knows when it was last renewed: the full time again. */
  constructor(table: LeaseTable, clock: Clock, windows: LeaseWindows) {
    this.#table = table;
    this.#clock = clock;
    this.#windows = windows;
    for (const record of table.list()) this.#begin(record);
  }

  /**
   * Also what is so already, or is refused, is only told when no window of an older epoch is good
   * for anything: the process before may have been killed while it waited for that.
   */
  async raise(lease: number, epoch: number): Promise<Refusal | undefined> {
    const known = this.#table.get(lease);
    const ruling = raised(known, this.#floor, { lease, epoch });
    if (!isRefused(ruling) && ruling !== known) {
      if (known === undefined && !this.#hasRoom()) {
        this.#refusedForSpace += 1;
        return this.#full();
      }
      this.#store(ruling);
      this.#raised += 1;
    }
    const below = isRefused(ruling) ? (known?.epoch ?? this.#floor) : epoch;
    const isRevoked =
      memoryNodeFaults.leaseWindowNotRevoked || (await this.#windows.revokeLease(lease, below));
    if (!isRevoked) {
      this.#notRevoked += 1;
      return NOT_REVOKED;
    }
    return isRefused(ruling) ? stale('its epoch is higher already') : undefined;
  }

  grant(grant: Grant): Refusal | undefined {
    const known = this.#table.get(grant.lease);
    const ruling = granted(known, grant);
    if (isRefused(ruling)) return stale(`epoch ${grant.epoch} cannot be granted any more`);
    if (ruling !== known) this.#store(ruling);
    return undefined;
  }

  renew(lease: number, epoch: number, client: number): Refusal | undefined {
    const known = this.#table.get(lease);
    if (known === undefined || !isHeldBy(known, epoch, client)) return stale('it is not held');
    this.#begin(known);
    return undefined;
  }

  /** By its holder, or by the controller for it: whoever knows its epoch. */
  end(lease: number, epoch: number): Refusal | undefined {
    const known = this.#table.get(lease);
    const ruling = ended(known, epoch);
    if (isRefused(ruling)) return stale(`epoch ${epoch} is not the last one`);
    if (ruling === known) return undefined;
    this.#store(ruling);
    // Nobody waits for this: who raises the epoch next does.
    void this.#windows.revokeLease(lease, epoch + 1);
    return undefined;
  }

  /** Of a lease that is not known only that it had no epoch above the floor. */
  inspect(lease: number): LeaseSeen | Refusal {
    const known = this.#table.get(lease);
    if (known !== undefined) return { ...known, leftMs: this.#leftMs(known) };
    if (this.#floor > 0) return { holder: 0, epoch: this.#floor, leftMs: 0 };
    return { status: Status.NotFound, reason: 'no such lease is known here' };
  }

  /** Whether a window for this epoch may be opened by this client. */
  refuseWindow(lease: number, epoch: number, client: number): Refusal | undefined {
    if (isHeldBy(this.#table.get(lease), epoch, client)) return undefined;
    return stale(`this client does not hold lease ${lease} in epoch ${epoch}`);
  }

  counts(): LeaseCounts {
    const held = this.#table.list().filter(({ holder }) => holder !== 0);
    return {
      known: this.#known,
      held: held.length,
      runOut: held.filter((record) => this.#leftMs(record) === 0).length,
      raised: this.#raised,
      forgotten: this.#forgotten,
      refusedForSpace: this.#refusedForSpace,
      notRevoked: this.#notRevoked,
    };
  }

  get #floor(): number {
    return this.#table.get(FLOOR_LEASE)?.epoch ?? 0;
  }

  get #known(): number {
    return this.#table.size - (this.#table.get(FLOOR_LEASE) === undefined ? 0 : 1);
  }

  #store(record: LeaseRecord): void {
    this.#table.put(record);
    this.#begin(record);
  }

  #begin({ lease, holder, durationMs }: LeaseRecord): void {
    this.#times.set(lease, this.#clock.now() + (holder === 0 ? 0 : durationMs));
  }

  #leftMs({ lease, holder }: LeaseRecord): number {
    if (holder === 0) return 0;
    const left = Math.ceil((this.#times.get(lease) ?? 0) - this.#clock.now());
    return Math.max(0, left);
  }

  #hasRoom(): boolean {
    return this.#known < LEASES_PER_NODE_MAX || this.#forgetOne();
  }

  /** The one that nobody has held for longest, if that is long; its epoch goes into the floor. */
  #forgetOne(): boolean {
    let oldest: LeaseRecord | undefined;
    let oldestMs = this.#clock.now() - LEASE_KEEP_MS;
    for (const record of this.#table.list()) {
      const sinceMs = this.#times.get(record.lease) ?? 0;
      if (record.lease === FLOOR_LEASE || sinceMs > oldestMs) continue;
      oldest = record;
      oldestMs = sinceMs;
    }
    if (oldest === undefined) return false;
    const { lease, epoch } = oldest;
    if (epoch > this.#floor) {
      this.#table.put({ lease: FLOOR_LEASE, epoch, holder: 0, durationMs: 0 });
    }
    this.#table.remove(lease);
    this.#times.delete(lease);
    this.#forgotten += 1;
    // What it had opened ends with it; whoever raises its epoch again waits for that.
    void this.#windows.revokeLease(lease, Infinity);
    return true;
  }

  #full(): Refusal {
    const reason =
      `${LEASES_PER_NODE_MAX} leases are known here, and none of them was given up or ran out ` +
      `${LEASE_KEEP_MS / 1000} s ago: release some, or use other nodes`;
    return { status: Status.NoSpace, reason };
  }
}

function stale(reason: string): Refusal {
  return { status: Status.Stale, reason };
}
