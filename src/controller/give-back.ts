/**
 * Moves used memory away from nodes whose machines are short of it (docs/internals/donors.md).
 *
 * A node says in its heartbeat that it has to give memory back. It is asked what should go, one
 * region moves to whoever takes it, and the node is asked again: so whatever has changed meanwhile
 * counts, and nothing is begun that is not needed any more. Nothing is kept of it here: after a
 * restart of either the next heartbeat begins it anew.
 */
import { regionKey } from '../base/region-key.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { MoveTargets } from './move-targets.js';
import type { NodeCalls } from './node-calls.js';
import { controllerFaults } from './planted.js';
import type { Refusal } from './refusal.js';

export interface GiveBackOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly calls: Pick<NodeCalls, 'regionsToGive'>;
  readonly targets: Pick<MoveTargets, 'moveAway'>;
  /** Why nothing may be decided now. */
  readonly refusal: () => Refusal | undefined;
}

export class GiveBack {
  /** Regions that went, for metrics. */
  moved = 0;
  readonly #options: GiveBackOptions;
  /** Nodes that are seen to, and whether they have said since that it is not enough. */
  readonly #running = new Map<string, boolean>();
  #isStopped = false;

  constructor(options: GiveBackOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** The node has just said how it stands. */
  told({ row: { id }, bytesToGive }: Member): void {
    if (bytesToGive === 0 || controllerFaults.askedNobodyToGive) return;
    const isRunning = this.#running.has(id);
    this.#running.set(id, isRunning);
    if (!isRunning) void this.#run(id);
  }

  async #run(id: string): Promise<void> {
    do {
      this.#running.set(id, false);
      await this.#moveAway(id);
    } while (this.#running.get(id) === true && !this.#isStopped);
    this.#running.delete(id);
  }

  /** Until nothing more has to go, or nothing more can: the next heartbeat tries again then. */
  async #moveAway(id: string): Promise<void> {
    const { calls, targets } = this.#options;
    const tried = new Set<number>();
    for (;;) {
      const member = this.#memberOf(id);
      if (member === undefined) return;
      const answer = await calls.regionsToGive(member.row);
      if (answer === undefined) return;
      member.bytesToGive = answer.bytes;
      const wish = answer.regions.find(({ space, region }) => !tried.has(regionKey(space, region)));
      if (wish === undefined || this.#isStopped) return;
      const { end } = await targets.moveAway(wish);
      if (end === 'done') this.moved += 1;
      else tried.add(regionKey(wish.space, wish.region));
    }
  }

  /** Undefined: it is not for us to see to it, now. */
  #memberOf(id: string): Member | undefined {
    const { membership, metadata, refusal } = this.#options;
    const member = membership.members.get(id);
    // Everything goes away from it already.
    const isLeaving = metadata.drains.has(id);
    if (this.#isStopped || isLeaving || member === undefined) return undefined;
    return membership.state(member) === 'serving' && refusal() === undefined ? member : undefined;
  }
}
