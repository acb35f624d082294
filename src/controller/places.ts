/** Which nodes get the next regions: who may be chosen at all, then the policy's choice. */
import { assert, defined } from '../base/assert.js';
import { Status } from '../base/status.js';
import { formatBytes } from '../base/units.js';
import type { Candidate, Chance, PlacementPolicy } from '../policies/placement/candidate.js';
import { isNearEnough } from '../policies/placement/near.js';
import { REGION_BYTES, REGIONS_PER_MESSAGE_MAX } from '../wire/limits.js';
import { OVERCOMMIT } from './limits.js';
import type { Member } from './member.js';
import type { Metadata } from './metadata/metadata.js';
import { controllerFaults } from './planted.js';
import { ok, refuse, type Result } from './refusal.js';

/** An operator wants everything to move away from the node: nothing new comes to it. */
export function isLeaving(metadata: Metadata, node: string): boolean {
  return metadata.drains.has(node) && !controllerFaults.placedOnDraining;
}

export interface PlacesRequest {
  /** Those that serve. */
  readonly members: readonly Member[];
  readonly regionsOf: (node: string) => number;
  readonly pageBytes: number;
  readonly count: number;
  /** Room that each region's node must have at least; 0: one page. */
  readonly bytes: number;
  /** The node to prefer while it has a good part of its memory left; empty: none. */
  readonly near: string;
  readonly policy: PlacementPolicy;
  readonly chance: Chance;
  readonly turn: number;
  /** Of a space of the kind persistent. */
  readonly isForDisk?: boolean;
  /** Others serve, but everything is to move away from them. */
  readonly areOthersLeaving?: boolean;
}

export interface Places {
  /** One per region; a node may stand here more than once. */
  readonly members: Member[];
  readonly pageBytes: number;
}

export function choosePlaces(request: PlacesRequest): Result<Places> {
  const { members, pageBytes, count } = request;
  if (members.length === 0 && request.areOthersLeaving === true) {
    return refuse(
      Status.NoSpace,
      'all memory nodes that serve are being drained: add one, or cancel a drain with ' +
        '`memrack node drain ID --cancel`',
    );
  }
  if (members.length === 0 && request.isForDisk === true) {
    return refuse(
      Status.Unavailable,
      'no memory node that lends a file on a disk is serving: start one with ' +
        '`memrack memory-node --persistent FILE`, or see `memrack status`',
    );
  }
  if (members.length === 0) {
    return refuse(
      Status.Unavailable,
      'no memory node is serving: start one with `memrack memory-node --join ADDRESS`, or see ' +
        '`memrack status`',
    );
  }
  const fitting = members.filter(({ row }) => row.pageBytes === pageBytes);
  if (fitting.length === 0) {
    return refuse(
      Status.NoSpace,
      `no serving memory node has pages of ${formatBytes(pageBytes)}, as this space needs: start ` +
        `one with --page-bytes ${pageBytes}`,
    );
  }
  const room = new Map(fitting.map((member) => [member, roomOf(member)]));
  const chosen: Member[] = [];
  for (let i = 0; i < count; i++) {
    const member = chooseOne(request, room, chosen);
    if (member === undefined) return refuseForRoom(request);
    chosen.push(member);
    room.set(member, (room.get(member) ?? 0) - needOf(request));
  }
  return ok({ members: chosen, pageBytes });
}

/** What the node can still promise, as of its last heartbeat. */
function roomOf(member: Member): number {
  return member.bytesLent * OVERCOMMIT - member.bytesCommitted;
}

function needOf({ bytes, pageBytes }: PlacesRequest): number {
  return Math.min(Math.max(bytes, pageBytes), REGION_BYTES);
}

function chooseOne(
  request: PlacesRequest,
  room: ReadonlyMap<Member, number>,
  chosen: readonly Member[],
): Member | undefined {
  const need = needOf(request);
  const withRoom = [...room.keys()].filter((member) => {
    // A node reports all that it holds in one message.
    const isListable = request.regionsOf(member.row.id) + chosen.length < REGIONS_PER_MESSAGE_MAX;
    return isListable && (room.get(member) ?? 0) >= need;
  });
  // A node that did not answer since its last heartbeat is taken only if there is no other.
  const willing = withRoom.filter((member) => !member.isSuspect);
  const eligible = willing.length > 0 ? willing : withRoom;
  if (eligible.length === 0) return undefined;
  const near = eligible.find(({ row }) => row.id === request.near);
  if (near !== undefined && isNearEnough(candidate(near, request, chosen), REGION_BYTES)) {
    return near;
  }
  const index = request.policy({
    candidates: eligible.map((member) => candidate(member, request, chosen)),
    chance: request.chance,
    turn: request.turn + chosen.length,
  });
  assert(Number.isInteger(index) && index >= 0 && index < eligible.length, 'policy out of bounds');
  return defined(eligible[index]);
}

function candidate(member: Member, request: PlacesRequest, chosen: readonly Member[]): Candidate {
  const taken = chosen.filter((other) => other === member).length;
  return {
    node: member.row.id,
    bytesFree: member.bytesLent - member.bytesUsed,
    bytesCommitted: member.bytesCommitted,
    bytesPromised: member.bytesPromised + taken * REGION_BYTES,
    bytesLent: member.bytesLent,
    regions: request.regionsOf(member.row.id) + taken,
  };
}

function refuseForRoom(request: PlacesRequest): Result<Places> {
  const need = formatBytes(needOf(request) * request.count);
  return refuse(
    Status.NoSpace,
    `the serving memory nodes have no room for ${need} more: free memory, or add a memory node`,
  );
}

/** The page size of most of the serving memory; 0 when nobody serves. */
export function commonPageBytes(members: readonly Member[]): number {
  const lent = new Map<number, number>();
  for (const { row, bytesLent } of members) {
    lent.set(row.pageBytes, (lent.get(row.pageBytes) ?? 0) + bytesLent);
  }
  let best = 0;
  for (const [pageBytes, bytes] of lent) {
    if (bytes > (lent.get(best) ?? 0)) best = pageBytes;
  }
  return best;
}
