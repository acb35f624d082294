/**
 * Grants regions of spaces to memory nodes.
 *
 * A grant has three steps, in this order: it is made durable, the node is told, the client is
 * answered. Dying between any two of them leaves a region that its node is told again when it
 * joins; at worst it is one that nobody has asked for. Region numbers only go up, so nothing is
 * ever granted twice. A node that certainly refused leaves no trace; one that may have taken its
 * grant keeps it, and the client's regions are then chosen anew, at other nodes.
 */

import { assert } from '../base/assert.js';
import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import type { Serial } from '../base/serial.js';
import { isNoAnswer, Status, statusName } from '../base/status.js';
import type { PlacementPolicy } from '../policies/placement/candidate.js';
import { sleep, type Timers } from '../runtime/clock.js';
import type { Entropy } from '../runtime/runtime.js';
import { GRANT_REGIONS_MAX, REGION_BYTES, REGIONS_PER_SPACE_MAX } from '../wire/limits.js';
import { isMissing, isOnDisk, keptChange } from './kept.js';
import { EPOCH_END, GRANT_ATTEMPTS_MAX } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { RegionRow, SpaceRow } from './metadata/schema.js';
import { quote } from './names.js';
import type { NodeCalls } from './node-calls.js';
import { choosePlaces, commonPageBytes, isLeaving } from './places.js';
import { controllerFaults } from './planted.js';
import type { HeldRegion } from './reconcile.js';
import { isRefusal, ok, type Refusal, type Result, refuse } from './refusal.js';

/** How clients see a region: `away` may come back, `lost` never does. */
export type RegionState = 'serving' | 'away' | 'lost';

export interface PlacedRegion {
  readonly region: RegionIndex;
  readonly epoch: Epoch;
  readonly node: string;
  readonly address: string;
  /** Of the memory that holds it. */
  readonly memoryId: number;
  readonly state: RegionState;
}

export interface GrantRequest {
  readonly space: SpaceId;
  /** Regions with consecutive numbers. */
  readonly count: number;
  /** What is to be allocated in each: nodes with less room are not chosen. 0: not known. */
  readonly bytes: number;
  /** The node to prefer if it may be chosen; empty: none. */
  readonly near: string;
  /** The node that is to have them, and no other one. */
  readonly only?: string;
}

export interface RegionsOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly changes: Serial;
  readonly calls: NodeCalls;
  readonly policy: PlacementPolicy;
  readonly entropy: Entropy;
  readonly timers: Timers;
  /** Whether a node that has not answered may hold what the database does not know. */
  readonly mayLack: () => boolean;
}

/** Of the planted bug: how much later than told a grant becomes durable. */
const PLANTED_DELAY_MS = 500;

export class Regions {
  readonly #options: RegionsOptions;
  #turn = 0;
  #granted = 0;

  constructor(options: RegionsOptions) {
    this.#options = options;
  }

  /** Regions granted since the start, for metrics. */
  get granted(): number {
    return this.#granted;
  }

  /** In the order of their numbers, from region `from` on, at most `limit`. */
  list(space: SpaceId, from: number, limit: number): PlacedRegion[] {
    const rows = [...this.#options.metadata.regionsOf(space).values()];
    const wanted = rows.filter((row) => row.region >= from);
    wanted.sort((a, b) => a.region - b.region);
    return wanted.slice(0, limit).map((row) => this.#placed(row));
  }

  async grant(request: GrantRequest): Promise<Result<{ regions: PlacedRegion[] }>> {
    if (request.count < 1 || request.count > GRANT_REGIONS_MAX) {
      return refuse(
        Status.Invalid,
        `1 to ${GRANT_REGIONS_MAX} regions at a time, not ${request.count}`,
      );
    }
    const excluded = new Set<string>();
    let last: Refusal | undefined;
    for (let attempt = 0; attempt < GRANT_ATTEMPTS_MAX; attempt++) {
      const decided = await this.#options.changes.run(() => this.#decide(request, excluded));
      if (isRefusal(decided)) return last ?? decided;
      const failed = await this.#tellAll(decided.rows, excluded);
      if (failed === undefined) return this.#answer(decided.rows);
      last = failed;
    }
    return last ?? refuse(Status.Unavailable, 'no memory node took the region: try again');
  }

  /**
   * Tells a node what it was granted and does not hold. Called whenever it gives a sign of life, so
   * what fails now is tried again then.
   */
  async settle(member: Member): Promise<void> {
    const { metadata } = this.#options;
    await this.#judgeMissing(member);
    for (const row of this.#owedTo(member)) {
      const space = metadata.activeSpace(row.space);
      if (space === undefined || !isOwed(member, row) || !member.isJoined) continue;
      // Granted now, two might hold it.
      if (metadata.moveOf(row) !== undefined) continue;
      if (isMissing(metadata, member, row)) continue;
      const status = await this.#tell(member, row, space);
      if (status === Status.Stale) await this.#grantAnew(member, row);
      if (status !== Status.Ok) return;
    }
  }

  /**
   * The node has confirmed these once: either it has said too early now what it has, or they are
   * lost. Before anything is granted: a refusal of that must not hold this up.
   */
  async #judgeMissing(member: Member): Promise<void> {
    const { metadata, calls, changes } = this.#options;
    const missing = this.#owedTo(member).filter((row) => isMissing(metadata, member, row));
    if (missing.length === 0) return;
    const { memoryId } = member.row;
    const held = await calls.heldRegions(member.row);
    if (held === undefined || member.row.memoryId !== memoryId) return;
    const epochs = new Map(held.map((one) => [regionKey(one.space, one.region), one.epoch]));
    await changes.run(async () => {
      const lost: MetadataChange[] = [];
      for (const { space, region, epoch } of missing) {
        const now = metadata.regionsOf(space).get(region);
        const isSame = now?.epoch === epoch && isOwed(member, now);
        if (!isSame || metadata.moveOf(now) !== undefined) continue;
        const key = regionKey(space, region);
        if (epochs.get(key) === epoch) member.confirmed.add(key);
        else lost.push({ table: 'regions', put: { ...now, state: 'lost' } });
      }
      if (lost.length > 0) await metadata.commit(lost);
    });
  }

  /** What it was granted and does not hold. Of what moves it is for the move to find out. */
  #owedTo(member: Member): RegionRow[] {
    const { metadata } = this.#options;
    if (!member.isJoined) return [];
    return [...metadata.regionsOfNode(member.row.id).values()].filter((row) => {
      const isActive = metadata.activeSpace(row.space) !== undefined;
      return isActive && isOwed(member, row) && metadata.moveOf(row) === undefined;
    });
  }

  /**
   * The node has given away a region under a later epoch than this one, which it does not have: the
   * grant came too late, and the node cannot tell it from an old one of that region. Nobody has
   * ever used it, so it is granted under another epoch. Of a database that may be older than the
   * truth that is not so.
   */
  async #grantAnew(member: Member, row: RegionRow): Promise<void> {
    const { metadata, calls, changes, mayLack } = this.#options;
    const held = await calls.heldRegions(member.row);
    const isHeld = held?.some(({ space, region }) => {
      return space === row.space && region === row.region;
    });
    if (isHeld !== false) return;
    await changes.run(async () => {
      const now = metadata.regionsOf(row.space).get(row.region);
      const isSame = now?.epoch === row.epoch && isOwed(member, now);
      const epoch = metadata.next('epoch');
      const isPossible = !mayLack() && epoch + 1 <= EPOCH_END;
      if (!isSame || metadata.moveOf(row) !== undefined || !isPossible) return;
      await metadata.commit([
        { table: 'counters', put: { name: 'epoch', next: epoch + 1 } },
        { table: 'regions', put: { ...now, epoch } },
      ]);
    });
  }

  /**
   * A report may have been older than what the node was told since (a join whose answer was lost
   * comes again with the old list), so regions that only the node knows are looked for again.
   */
  async recheckUnknown(member: Member): Promise<void> {
    if (member.unknown.length === 0 || !member.isJoined) return;
    const { memoryId } = member.row;
    const held = await this.#options.calls.heldRegions(member.row);
    if (held === undefined || member.row.memoryId !== memoryId) return;
    const isHeld = (one: HeldRegion): boolean =>
      held.some((other) => other.space === one.space && other.region === one.region);
    member.unknown = member.unknown.filter(isHeld);
  }

  async #decide(
    request: GrantRequest,
    excluded: ReadonlySet<string>,
  ): Promise<Result<{ rows: RegionRow[] }>> {
    const { metadata, membership, policy, entropy } = this.#options;
    const { count, only } = request;
    const space = metadata.activeSpace(request.space);
    if (space === undefined) return refuse(Status.NotFound, `there is no space ${request.space}`);
    if (metadata.next('restoring') !== 0) {
      return refuse(Status.Unavailable, 'the controller works on an older copy of its database');
    }
    if (space.nextRegion + count > REGIONS_PER_SPACE_MAX) {
      return refuse(
        Status.NoSpace,
        `space ${quote(space.name)} has used up its addresses: create another one`,
      );
    }
    const epoch = metadata.next('epoch');
    if (epoch + count > EPOCH_END) {
      return refuse(Status.NoSpace, 'all epochs are used up: set up a new rack and move the data');
    }
    const isForDisk = space.kind === 'persistent';
    const ofKind = membership.serving().filter((member) => {
      const { id } = member.row;
      const isMeant = !excluded.has(id) && (only === undefined || only === id);
      return isMeant && isOnDisk(metadata, member) === isForDisk;
    });
    const members = ofKind.filter(({ row }) => !isLeaving(metadata, row.id));
    const places = choosePlaces({
      members,
      regionsOf: (node) => metadata.regionsOfNode(node).size,
      pageBytes: space.pageBytes === 0 ? commonPageBytes(members) : space.pageBytes,
      count,
      bytes: request.bytes,
      near: request.near,
      policy,
      chance: entropy,
      turn: this.#turn,
      isForDisk,
      areOthersLeaving: ofKind.length > 0,
    });
    if (isRefusal(places)) return places;
    this.#turn += count;
    const rows = regionRows(space, places.members, epoch);
    const pageBytes = places.pageBytes;
    const nextRegion = (space.nextRegion + count) as RegionIndex;
    await this.#commit([
      { table: 'spaces', put: { ...space, pageBytes, nextRegion } },
      { table: 'counters', put: { name: 'epoch', next: epoch + count } },
      ...rows.map((row) => ({ table: 'regions', put: row }) as const),
    ]);
    for (const member of places.members) member.bytesPromised += REGION_BYTES;
    return ok({ rows });
  }

  /** Undefined when all have taken their regions; else why one did not. */
  async #tellAll(rows: readonly RegionRow[], excluded: Set<string>): Promise<Refusal | undefined> {
    const { metadata, membership, changes } = this.#options;
    const first = rows[0];
    assert(first !== undefined);
    const statuses = await Promise.all(
      rows.map((row) => {
        const member = membership.members.get(row.node);
        const space = metadata.activeSpace(row.space);
        if (member === undefined || space === undefined || !isOwner(member, row)) {
          return Status.Unavailable;
        }
        return this.#tell(member, row, space);
      }),
    );
    const failed = rows.filter((_, i) => statuses[i] !== Status.Ok);
    const worst = statuses.find((status) => status !== Status.Ok);
    if (worst === undefined) return undefined;
    for (const row of failed) excluded.add(row.node);
    const refused = rows.filter((_, i) => isRefusedByNode(statuses[i] ?? Status.Ok));
    await changes.run(() => this.#undo(refused));
    const nodes = [...new Set(failed.map((row) => quote(row.node)))].join(', ');
    return refuse(
      worst === Status.NoSpace ? Status.NoSpace : Status.Unavailable,
      `memory node ${nodes} did not take a region (${statusName(worst) ?? worst})`,
    );
  }

  async #tell(member: Member, row: RegionRow, space: SpaceRow): Promise<Status> {
    const key = regionKey(row.space, row.region);
    member.telling.add(key);
    const { space: id, region, epoch, memoryId } = row;
    const grant = { space: id, region, epoch, pageBytes: space.pageBytes, memoryId };
    const status = await this.#options.calls.grantRegion(member.row, grant);
    member.telling.delete(key);
    if (!isOwner(member, row)) return Status.OutcomeUnknown;
    if (status === Status.Ok) await this.#confirmed(member, row);
    else if (isNoAnswer(status)) member.isSuspect = true;
    return status;
  }

  async #confirmed(member: Member, row: RegionRow): Promise<void> {
    const { metadata, changes } = this.#options;
    const key = regionKey(row.space, row.region);
    if (isOnDisk(metadata, member) && metadata.kept.get(key)?.epoch !== row.epoch) {
      await changes.run(() => metadata.commit([keptChange(row)]));
    }
    member.confirmed.add(key);
  }

  /** The nodes certainly do not have these: nobody will look for them. */
  async #undo(refused: readonly RegionRow[]): Promise<void> {
    const { metadata } = this.#options;
    const standing = refused.filter((row) => {
      const now = metadata.regionsOf(row.space).get(row.region);
      return now?.epoch === row.epoch && now.state === 'granted';
    });
    await metadata.commit(standing.map((row) => ({ table: 'regions', remove: row }) as const));
  }

  #answer(rows: readonly RegionRow[]): Result<{ regions: PlacedRegion[] }> {
    const { metadata } = this.#options;
    const space = rows[0]?.space;
    if (space === undefined || metadata.activeSpace(space) === undefined) {
      return refuse(Status.NotFound, `space ${space} was removed meanwhile`);
    }
    this.#granted += rows.length;
    return ok({ regions: rows.map((row) => this.#placed(row)) });
  }

  #placed(row: RegionRow): PlacedRegion {
    const { membership } = this.#options;
    const member = membership.members.get(row.node);
    const { region, epoch, node, memoryId } = row;
    const placed = { region, epoch, node, memoryId, address: member?.row.address ?? '' };
    if (row.state === 'lost' || member === undefined) {
      // While nodes are asked one may turn out to have it.
      const isRestoring = this.#options.metadata.next('restoring') !== 0;
      return { ...placed, state: isRestoring ? 'away' : 'lost' };
    }
    const isThere =
      membership.state(member) === 'serving' && member.confirmed.has(regionKey(row.space, region));
    return { ...placed, state: isThere ? 'serving' : 'away' };
  }

  #commit(changes: readonly MetadataChange[]): Promise<void> {
    const { metadata, timers } = this.#options;
    if (!controllerFaults.regionGrantedTwiceAtRestart) return metadata.commit(changes);
    void metadata.commitLate(changes, sleep(timers, PLANTED_DELAY_MS));
    return Promise.resolve();
  }
}

/** Whether the node itself said no. */
function isRefusedByNode(status: Status): boolean {
  return !isNoAnswer(status) && status !== Status.Ok;
}

function isOwner(member: Member, row: RegionRow): boolean {
  return member.row.memoryId === row.memoryId && member.row.state === 'member';
}

function isOwed(member: Member, row: RegionRow): boolean {
  const key = regionKey(row.space, row.region);
  if (row.state !== 'granted' || !isOwner(member, row)) return false;
  return !member.confirmed.has(key) && !member.telling.has(key);
}

function regionRows(space: SpaceRow, members: readonly Member[], epoch: Epoch): RegionRow[] {
  return members.map(({ row }, i) => ({
    space: space.id,
    region: (space.nextRegion + i) as RegionIndex,
    epoch: (epoch + i) as Epoch,
    node: row.id,
    memoryId: row.memoryId,
    state: 'granted',
  }));
}
