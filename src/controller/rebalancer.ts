/**
 * Moves regions from full nodes to empty ones by a policy, one after the other and slowly: every
 * few seconds it looks, and after a move it waits for both ends to say what they use now.
 *
 * What regions use it asks the nodes, when their shares are far enough from each other. A region
 * stays where it has put it for ten minutes.
 */

import { regionKey } from '../base/region-key.js';
import { rebalancingFaults } from '../policies/rebalancing/planted.js';
import type {
  BalancedNode,
  Rebalancing,
  RebalancingPolicy,
} from '../policies/rebalancing/rebalancing.js';
import type { Clock, Timer, Timers } from '../runtime/clock.js';
import { isOnDisk } from './kept.js';
import { REBALANCE_LOOK_MS, REBALANCE_REST_MS } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { RegionRow } from './metadata/schema.js';
import type { RegionMoves } from './moves.js';
import type { NodeCalls } from './node-calls.js';
import { isLeaving } from './places.js';
import type { Refusal } from './refusal.js';

export interface RebalancerOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly policy: RebalancingPolicy;
  readonly move: RegionMoves['move'];
  readonly calls: Pick<NodeCalls, 'regionSizes'>;
  /** Why nothing may be decided now. */
  readonly refusal: () => Refusal | undefined;
}

/** A move whose target has not said since what it uses. */
interface Made {
  readonly to: Member;
  readonly atMs: number;
}

/** Where it was put, and until when it stays there. */
interface Rest {
  readonly node: string;
  readonly untilMs: number;
}

export class Rebalancer {
  readonly #options: RebalancerOptions;
  /** By `regionKey`. */
  readonly #rests = new Map<number, Rest>();
  #made: Made | undefined;
  #isUnderWay = false;
  #timer: Timer | undefined;

  constructor(options: RebalancerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.timers.after(REBALANCE_LOOK_MS, () => {
      void this.#look().then(() => {
        if (this.#timer !== undefined) this.start();
      });
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    const { metadata, policy, refusal, membership } = this.#options;
    // What somebody has asked for goes first.
    const isBusy = [...metadata.drains.values()].some(({ state }) => state === 'draining');
    if (refusal() !== undefined || isBusy || metadata.moves.size > 0 || !this.#isSeen()) return;
    for (const members of groupsOf(metadata, membership.serving())) {
      const nodes = members.map((member) => this.#nodeOf(member, undefined));
      // As far as shares go; what regions use costs the nodes a look at all their pages.
      if (policy({ nodes, isUnderWay: this.#isUnderWay }) === undefined) continue;
      const sized = await Promise.all(members.map((member) => this.#sizedNodeOf(member)));
      const choice = policy({ nodes: sized, isUnderWay: this.#isUnderWay });
      if (choice === undefined) continue;
      this.#isUnderWay = true;
      return this.#move(choice);
    }
    this.#isUnderWay = false;
  }

  /** One that does not answer has nothing that could move. */
  async #sizedNodeOf(member: Member): Promise<BalancedNode> {
    const sizes = (await this.#options.calls.regionSizes(member.row)) ?? [];
    const bytes = new Map(sizes.map((one) => [regionKey(one.space, one.region), one.bytes]));
    return this.#nodeOf(member, bytes);
  }

  /** The target of the last move has told since what it uses. */
  #isSeen(): boolean {
    const made = this.#made;
    if (made === undefined) return true;
    if (made.to.isJoined && made.to.seenMs <= made.atMs) return false;
    this.#made = undefined;
    return true;
  }

  /** Without sizes each region is taken for one that fits anywhere. */
  #nodeOf(
    { row, bytesLent, bytesUsed, confirmed }: Member,
    sizes: ReadonlyMap<number, number> | undefined,
  ): BalancedNode {
    const { metadata, clock } = this.#options;
    const rows = [...metadata.regionsOfNode(row.id).values()];
    const granted = rows.filter(({ state }) => state === 'granted');
    const mayMove = granted.filter((region) => {
      const space = metadata.activeSpace(region.space);
      const rest = this.#rests.get(keyOf(region));
      const isResting = rest?.node === row.id && rest.untilMs > clock.now();
      return space?.kind === 'dram' && confirmed.has(keyOf(region)) && !isResting;
    });
    const regions = mayMove.map((region) => {
      const key = keyOf(region);
      return { key, bytes: sizes === undefined ? 1 : (sizes.get(key) ?? 0) };
    });
    return { node: row.id, bytesLent, bytesUsed, regions };
  }

  async #move({ key, from, to }: Rebalancing): Promise<void> {
    const { metadata, membership, clock, move } = this.#options;
    const row = metadata.regionsOfNode(from).get(key);
    const target = membership.members.get(to);
    if (row === undefined || target === undefined) return;
    const { end } = await move({ space: row.space, region: row.region, to });
    const atMs = clock.now();
    for (const [other, { untilMs }] of this.#rests) {
      if (untilMs <= atMs) this.#rests.delete(other);
    }
    // One that could not be moved is left alone for as long, too.
    const node = end === 'done' ? to : from;
    if (!rebalancingFaults.movesForEver) {
      this.#rests.set(key, { node, untilMs: atMs + REBALANCE_REST_MS });
    }
    if (end === 'done') this.#made = { to: target, atMs };
  }
}

const keyOf = ({ space, region }: RegionRow): number => regionKey(space, region);

/** Nodes with DRAM and pages of one size, of which it is known that they are well and stay. */
function groupsOf(metadata: Metadata, serving: readonly Member[]): Member[][] {
  const groups = new Map<number, Member[]>();
  for (const member of serving) {
    const { id, pageBytes } = member.row;
    if (isOnDisk(metadata, member) || isLeaving(metadata, id)) continue;
    if (member.bytesToGive > 0 || !member.hasToldUse) continue;
    groups.set(pageBytes, [...(groups.get(pageBytes) ?? []), member]);
  }
  return [...groups.values()];
}
