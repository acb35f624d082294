/**
 * Copies of slabs at nodes that are nobody's. Nodes give them back by the word of the controller,
 * so it does not matter which of them were away, or who was killed, when they became that:
 *
 *   of a device that was removed      its number is never given again
 *   beyond the end of one that was cut, taken under the epoch of who cut it, or before
 *   taken under an earlier epoch than the last of the device's lease, and in no row
 *                                     whoever took it can put it into none any more, and whoever
 *                                     comes later puts there what he takes himself
 *
 * A device that was cut may grow again, and then a copy of before would speak against what is
 * written there; so it does not grow until all nodes that may have one have been looked at. What
 * counted once where the rows do not know it is left alone: the database may be an older one
 * (docs/internals/block-devices.md).
 *
 * Each node is looked at when it is heard of first, after each removal and cut, and now and then.
 */
import type { Serial } from '../base/serial.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import type { Clock } from '../runtime/clock.js';
import { COPIES_DROPPED_MAX } from '../wire/limits.js';
import { ORPHANS_AGAIN_MS, ORPHANS_LOOK_MS } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { CutRow, NodeRow } from './metadata/schema.js';
import { copiesOf } from './metadata/slab-sets.js';
import type { KnownCopy, NodeCalls } from './node-calls.js';
import type { Refusal } from './refusal.js';

export interface OrphansOptions {
  readonly clock: Clock;
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly changes: Serial;
  readonly calls: Pick<NodeCalls, 'copies' | 'dropCopies'>;
  /** Why nothing may be decided now. */
  readonly refusal: () => Refusal | undefined;
}

export class Orphans {
  /** Copies that were given back. */
  dropped = 0;
  readonly #options: OrphansOptions;
  /** By node: when it is to be looked at again; none: now. */
  readonly #nextMs = new Map<string, number>();
  readonly #running = new Set<string>();
  /** Memories that have nothing beyond the end. */
  readonly #clean = new WeakMap<CutRow, Set<number>>();
  #isEnding = false;
  #isStopped = false;

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** A device was removed, or cut. */
  made(): void {
    this.#nextMs.clear();
    for (const member of this.#options.membership.members.values()) this.told(member);
  }

  /** The node has just been heard of. */
  told({ row: { id } }: Member): void {
    const { clock, metadata } = this.#options;
    const { cuts, devices, removedDevices } = metadata;
    if (cuts.size > 0) void this.#endCuts();
    if (removedDevices.size + devices.size === 0 || this.#running.has(id)) return;
    const row = this.#memberOf(id)?.row;
    if (row !== undefined && clock.now() >= (this.#nextMs.get(id) ?? 0)) void this.#look(row);
  }

  /** Nodes that may have copies beyond the end of a device that was cut. */
  awaited(cut: CutRow): string[] {
    const { membership, metadata } = this.#options;
    const clean = this.#clean.get(cut);
    return membership
      .lasting()
      .filter(({ row }) => clean?.has(row.memoryId) !== true && !metadata.disks.has(row.id))
      .map(({ row }) => row.id);
  }

  async #look(row: NodeRow): Promise<void> {
    const { clock, metadata } = this.#options;
    const { id } = row;
    const beganMs = clock.now();
    this.#nextMs.set(id, beganMs + ORPHANS_AGAIN_MS);
    this.#running.add(id);
    const cuts = [...metadata.cuts.values()];
    const isClean = await this.#isClean(row);
    this.#running.delete(id);
    if (isClean) for (const cut of cuts) this.#noteClean(cut, row.memoryId);
    await this.#endCuts();
    // What has come up meanwhile may have come too late for this look.
    const member = this.#memberOf(id);
    if (!this.#nextMs.has(id) && member !== undefined) this.told(member);
    else if (isClean) this.#nextMs.set(id, beganMs + ORPHANS_LOOK_MS);
  }

  /** Page by page, so that nobody waits long for a node that has many. */
  async #isClean(row: NodeRow): Promise<boolean> {
    const { calls } = this.#options;
    for (let after = 0; this.#isThere(row); ) {
      const page = await calls.copies(row, after);
      if (page === undefined) return false;
      const nobodys = page.slabs.filter((copy) => this.#isNobodys(copy));
      if (!(await this.#drop(row, nobodys))) return false;
      if (page.more === 0) return true;
      after = page.more;
    }
    return false;
  }

  async #drop(row: NodeRow, all: readonly KnownCopy[]): Promise<boolean> {
    for (let from = 0; from < all.length; from += COPIES_DROPPED_MAX) {
      const copies = all.slice(from, from + COPIES_DROPPED_MAX).map(({ copy }) => copy);
      if (!this.#isThere(row) || !(await this.#options.calls.dropCopies(row, copies))) return false;
      this.dropped += copies.length;
    }
    return true;
  }

  #isNobodys(copy: KnownCopy): boolean {
    const { removedDevices, cuts } = this.#options.metadata;
    if (removedDevices.has(copy.device)) return true;
    const cut = cuts.get(copy.device);
    const isCutOff = cut !== undefined && copy.slab >= cut.slab && copy.leaseEpoch <= cut.epoch;
    return isCutOff || this.#isLeft(copy);
  }

  /** Of a writer of before, and in no row. */
  #isLeft({ device, slab, copy, leaseEpoch, generation }: KnownCopy): boolean {
    const { metadata } = this.#options;
    const lease = metadata.leases.get(deviceLeaseName(device));
    const isKnown = metadata.device(device) !== undefined && lease !== undefined;
    if (!isKnown || leaseEpoch >= lease.epoch) return false;
    const row = metadata.slabSets.ofDevice(device).get(slab);
    if (row === undefined) return generation === 0;
    return generation < row.generation && !copiesOf(row.copies).some((one) => one.copy === copy);
  }

  #noteClean(cut: CutRow, memoryId: number): void {
    const clean = this.#clean.get(cut);
    if (clean === undefined) this.#clean.set(cut, new Set([memoryId]));
    else clean.add(memoryId);
  }

  /** Forgets cuts of which no node has anything left. */
  async #endCuts(): Promise<void> {
    const { changes, metadata, refusal } = this.#options;
    if (this.#isEnding || this.#isStopped) return;
    this.#isEnding = true;
    for (const cut of [...metadata.cuts.values()]) {
      if (this.awaited(cut).length > 0) continue;
      await changes.run(async () => {
        const isSame = metadata.cuts.get(cut.device) === cut;
        if (!isSame || refusal() !== undefined || this.awaited(cut).length > 0) return;
        await metadata.commit([{ table: 'cuts', remove: cut.device }]);
      });
    }
    this.#isEnding = false;
  }

  #isThere({ id, memoryId }: NodeRow): boolean {
    return this.#memberOf(id)?.row.memoryId === memoryId;
  }

  /** Undefined: it is not for us to see to it, now. */
  #memberOf(id: string): Member | undefined {
    const { membership, refusal } = this.#options;
    const member = membership.members.get(id);
    if (this.#isStopped || member === undefined || refusal() !== undefined) return undefined;
    return membership.state(member) === 'serving' ? member : undefined;
  }
}
