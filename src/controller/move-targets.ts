/**
 * Which node takes a region that is to go away from where it is: for drains, for nodes that are
 * short of memory, for rebalancing. Who may take it at all is decided here, who does by the policy
 * of placement that the rack has.
 *
 * Choosing promises nothing. `RegionMoves.move` looks again whether both ends serve, whether one of
 * them has a move under way already (`Busy`: one at a time for each node and direction), and the
 * target refuses what it has no room for. Then another one is chosen, with that one `excluded`.
 */
import type { RegionIndex, SpaceId } from '../base/brands.js';
import { defined } from '../base/assert.js';
import { Status } from '../base/status.js';
import { formatBytes } from '../base/units.js';
import type { Chance, PlacementPolicy } from '../policies/placement/candidate.js';
import { isOnDisk } from './kept.js';
import { MOVE_TARGETS_MAX } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { MoveEnd, MoveWish } from './moves.js';
import { choosePlaces, isLeaving } from './places.js';
import { isRefusal, ok, refuse, type Refusal, type Result } from './refusal.js';

export interface TargetRequest {
  /** Those that serve, with memory of the kind of the region. */
  readonly members: readonly Member[];
  /** The node that has it. */
  readonly source: string;
  readonly pageBytes: number;
  /** What the region uses, as far as that is known; 0: not known. */
  readonly bytes: number;
  /** Nodes that have refused it, or are not to get it for another reason. */
  readonly excluded: ReadonlySet<string>;
  /** Everything is to move away from it. */
  readonly isLeaving: (node: string) => boolean;
  /** Another region is on its way there: only one at a time is taken. */
  readonly isTaking: (node: string) => boolean;
  readonly regionsOf: (node: string) => number;
  readonly policy: PlacementPolicy;
  readonly chance: Chance;
  readonly turn: number;
}

/** The refusal says what stands in the way of all nodes that were left until then. */
export function chooseTarget(request: TargetRequest): Result<{ target: Member }> {
  let left = request.members;
  for (const { status, why, isGood } of RULES) {
    left = left.filter((member) => isGood(member, request));
    if (left.length === 0) return refuse(status, why(request));
  }
  // Of a node that lends less than it could the machine is short of memory: only if there is no
  // other.
  const whole = left.filter(({ row, bytesLent }) => bytesLent >= row.bytesLent);
  const members = whole.length > 0 ? whole : left;
  const places = choosePlaces({ ...request, members, count: 1, near: '' });
  return isRefusal(places) ? places : ok({ target: defined(places.members[0]) });
}

interface Rule {
  readonly status: Refusal['status'];
  readonly why: (request: TargetRequest) => string;
  readonly isGood: (member: Member, request: TargetRequest) => boolean;
}

/** One after the other: what lasts first, what passes by itself last. */
const RULES: readonly Rule[] = [
  {
    status: Status.Unavailable,
    why: () => 'no other memory node of this kind is serving',
    isGood: ({ row }, { source }) => row.id !== source,
  },
  {
    status: Status.Unsupported,
    why: ({ pageBytes }) => `no other node that serves has pages of ${formatBytes(pageBytes)}`,
    isGood: ({ row }, { pageBytes }) => row.pageBytes === pageBytes,
  },
  {
    status: Status.NoSpace,
    why: () => 'every other node is to be emptied, too',
    isGood: ({ row }, { isLeaving }) => !isLeaving(row.id),
  },
  {
    status: Status.NoSpace,
    why: () => 'the machines of all other nodes are short of memory',
    isGood: ({ bytesToGive }) => bytesToGive === 0,
  },
  {
    status: Status.NoSpace,
    why: (request) => `no other node has ${formatBytes(needOf(request))} free`,
    isGood: ({ bytesLent, bytesUsed }, request) => bytesLent - bytesUsed >= needOf(request),
  },
  {
    status: Status.NoSpace,
    why: () => 'every node that seemed to have room has refused it',
    isGood: ({ row }, { excluded }) => !excluded.has(row.id),
  },
  {
    status: Status.Busy,
    why: () => 'another region is on its way to each node that could take it',
    isGood: ({ row }, { isTaking }) => !isTaking(row.id),
  },
];

function needOf({ bytes, pageBytes }: TargetRequest): number {
  return Math.max(bytes, pageBytes);
}

export interface AwayWish {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  /** What it uses, as far as that is known; 0: not known. */
  readonly bytes: number;
  /** See `MoveWish`. */
  readonly isForced?: boolean;
}

export interface MoveTargetsOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly policy: PlacementPolicy;
  readonly chance: Chance;
  readonly move: (wish: MoveWish) => Promise<MoveEnd>;
}

export class MoveTargets {
  readonly #options: MoveTargetsOptions;
  #turn = 0;

  constructor(options: MoveTargetsOptions) {
    this.#options = options;
  }

  /** Who could take the region now. */
  choose(
    { space, region, bytes }: AwayWish,
    excluded: ReadonlySet<string>,
  ): Result<{ target: Member }> {
    const { metadata, membership, policy, chance } = this.#options;
    const row = metadata.regionsOf(space).get(region);
    const facts = metadata.activeSpace(space);
    if (row === undefined || facts === undefined) {
      return refuse(Status.NotFound, `there is no region ${region} in space ${space}`);
    }
    const moves = [...metadata.moves.values()];
    const isForDisk = facts.kind === 'persistent';
    return chooseTarget({
      members: membership.serving().filter((member) => isOnDisk(metadata, member) === isForDisk),
      source: row.node,
      pageBytes: facts.pageBytes,
      bytes,
      excluded,
      isLeaving: (node) => isLeaving(metadata, node),
      isTaking: (node) => moves.some(({ toNode }) => toNode === node),
      regionsOf: (node) => metadata.regionsOfNode(node).size,
      policy,
      chance,
      turn: this.#turn++,
    });
  }

  /**
   * Moves the region to whoever takes it: a target without room for it is followed by another one.
   * Any other end is the end; nobody waits here for something to become better. Never rejects.
   */
  async moveAway(wish: AwayWish, excluded: ReadonlySet<string> = new Set()): Promise<AwayEnd> {
    const { space, region, isForced = false } = wish;
    const refusing = new Set(excluded);
    let last: AwayEnd | undefined;
    for (let attempt = 0; attempt < MOVE_TARGETS_MAX; attempt++) {
      const chosen = this.choose(wish, refusing);
      if (isRefusal(chosen)) {
        const { status, message } = chosen;
        return last ?? { end: 'refused', status, reason: message, to: '' };
      }
      const to = chosen.target.row.id;
      const end = await this.#options.move({ space, region, to, isForced });
      last = { ...end, to };
      if (end.end !== 'refused' || !TARGETS_OWN.includes(end.status)) return last;
      refusing.add(to);
    }
    return defined(last);
  }
}

/** `to`: the node that was asked last; empty: there was none to ask. */
export type AwayEnd = MoveEnd & { readonly to: string };

/** Why a target refuses what another one may take; windows and threads stop the source for all. */
const TARGETS_OWN: readonly Status[] = [Status.NoSpace, Status.Unsupported];
