/**
 * Moves regions from full nodes to empty ones by a policy, one after the other and slowly: every
 * few seconds it looks, and after a move it waits for both ends to say what they use now.
 *
 * What a region uses nobody tells the controller. It takes the mean of its node, until it has seen
 * by how much its target grew; and no region is moved twice within ten minutes.
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
import { isLeaving } from './places.js';
import type { Refusal } from './refusal.js';

export interface RebalancerOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly policy: RebalancingPolicy;
  readonly move: RegionMoves['move'];
  /** Why nothing may be decided now. */
  readonly refusal: () => Refusal | undefined;
}

/** A move whose target has not said since what it uses. */
interface Made {
  readonly key: number;
  readonly to: Member;
  readonly bytesBefore: number;
  readonly atMs: number;
}

export class Rebalancer {
  readonly #options: RebalancerOptions;
  /** By `regionKey`: what was seen of their sizes, and until when they stay. */
  readonly #bytes = new Map<number, number>();
  readonly #restUntilMs = new Map<number, number>();
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
      const nodes = members.map((member) => this.#nodeOf(member));
      const choice = policy({ nodes, isUnderWay: this.#isUnderWay });
      if (choice === undefined) continue;
      this.#isUnderWay = true;
      return this.#move(choice);
    }
    this.#isUnderWay = false;
  }

  /** The target of the last move has told since what it uses. */
  #isSeen(): boolean {
    const made = this.#made;
    if (made === undefined) return true;
    if (made.to.isJoined && made.to.seenMs <= made.atMs) return false;
    this.#bytes.set(made.key, Math.max(0, made.to.bytesUsed - made.bytesBefore));
    this.#made = undefined;
    return true;
  }

  #nodeOf({ row, bytesLent, bytesUsed, confirmed }: Member): BalancedNode {
    const { metadata, clock } = this.#options;
    const rows = [...metadata.regionsOfNode(row.id).values()];
    const granted = rows.filter(({ state }) => state === 'granted');
    const known = granted.map((region) => this.#bytes.get(keyOf(region)));
    const sum = known.reduce<number>((total, bytes = 0) => total + bytes, 0);
    const unknown = known.filter((bytes) => bytes === undefined).length;
    const mean = Math.max(0, bytesUsed - sum) / Math.max(unknown, 1);
    const mayMove = granted.filter((region) => {
      const space = metadata.activeSpace(region.space);
      const isResting = (this.#restUntilMs.get(keyOf(region)) ?? 0) > clock.now();
      return space?.kind === 'dram' && confirmed.has(keyOf(region)) && !isResting;
    });
    const regions = mayMove.map((region) => {
      const key = keyOf(region);
      return { key, bytes: this.#bytes.get(key) ?? mean };
    });
    return { node: row.id, bytesLent, bytesUsed, regions };
  }

  async #move({ key, from, to }: Rebalancing): Promise<void> {
    const { metadata, membership, clock, move } = this.#options;
    const row = metadata.regionsOfNode(from).get(key);
    const target = membership.members.get(to);
    if (row === undefined || target === undefined) return;
    const bytesBefore = target.bytesUsed;
    const { end } = await move({ space: row.space, region: row.region, to });
    const atMs = clock.now();
    for (const [other, untilMs] of this.#restUntilMs) {
      if (untilMs <= atMs) this.#restUntilMs.delete(other);
    }
    if (!rebalancingFaults.movesForEver) this.#restUntilMs.set(key, atMs + REBALANCE_REST_MS);
    if (end === 'done') this.#made = { key, to: target, bytesBefore, atMs };
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
