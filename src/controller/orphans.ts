/**
 * Copies of slabs of devices that were removed, at nodes that the tool did not reach which removed
 * them: because they were away, were too many, or because the tool was killed.
 *
 * A number of a device is never given again, so whatever a node has under that of a removed one is
 * nobody's. Each node is looked at when it is heard of first, when a device was removed, and now
 * and then: who had the device before may go on for the rest of its lease where no node was told.
 */
import type { Clock } from '../runtime/clock.js';
import { ORPHANS_AGAIN_MS, ORPHANS_LOOK_MS } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { NodeCalls } from './node-calls.js';
import type { Refusal } from './refusal.js';

export interface OrphansOptions {
  readonly clock: Clock;
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly calls: Pick<NodeCalls, 'slabDevices' | 'dropDevice'>;
  /** Why nothing may be decided now. */
  readonly refusal: () => Refusal | undefined;
}

export class Orphans {
  /** Copies that were given back, for metrics. */
  dropped = 0;
  readonly #options: OrphansOptions;
  /** By node: when it is to be looked at again. */
  readonly #nextMs = new Map<string, number>();
  readonly #running = new Set<string>();
  #isStopped = false;

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** A device was removed. */
  removed(): void {
    this.#nextMs.clear();
  }

  /** The node has just been heard of. */
  told({ row: { id } }: Member): void {
    const { clock, metadata } = this.#options;
    if (metadata.removedDevices.size === 0 || this.#running.has(id)) return;
    if (clock.now() >= (this.#nextMs.get(id) ?? 0)) void this.#look(id);
  }

  async #look(id: string): Promise<void> {
    const nowMs = this.#options.clock.now();
    // What is removed meanwhile may have come too late for this look.
    this.#nextMs.set(id, nowMs + ORPHANS_LOOK_MS);
    this.#running.add(id);
    if (!(await this.#isClean(id))) this.#nextMs.set(id, nowMs + ORPHANS_AGAIN_MS);
    this.#running.delete(id);
  }

  async #isClean(id: string): Promise<boolean> {
    const { calls, metadata } = this.#options;
    const node = this.#memberOf(id);
    const devices = node && (await calls.slabDevices(node.row));
    let isClean = devices !== undefined;
    for (const device of devices ?? []) {
      if (metadata.removedDevices.has(device)) isClean = (await this.#drop(id, device)) && isClean;
    }
    return isClean;
  }

  /** Whether none is left. */
  async #drop(id: string, device: number): Promise<boolean> {
    for (;;) {
      const node = this.#memberOf(id);
      const end = node && (await this.#options.calls.dropDevice(node.row, device));
      if (end === undefined) return false;
      this.dropped += end.dropped;
      if (end.left === 0 || end.dropped === 0) return end.left === 0;
    }
  }

  /** Undefined: it is not for us to see to it, now. */
  #memberOf(id: string): Member | undefined {
    const { membership, refusal } = this.#options;
    const member = membership.members.get(id);
    if (this.#isStopped || member === undefined || refusal() !== undefined) return undefined;
    return membership.state(member) === 'serving' ? member : undefined;
  }
}
