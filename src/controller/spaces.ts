/**
 * Address spaces by name: opened or created, listed, removed.
 *
 * Removing has two steps. A durable mark takes the name and the space away at once; then every node
 * that holds a part of it is told, a node that is away when it returns, and entries of the file
 * directory that point into it go. The row goes last, so a restart continues where it was.
 */

import type { RegionIndex, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import { SpaceKind } from '../wire/messages.js';
import { isPageSize } from './join-rules.js';
import { isOnDisk, keptOf } from './kept.js';
import { PURGE_ROWS_MAX, REGIONS_BEYOND, SPACE_ID_END, SPACES_MAX } from './limits.js';
import type { Member } from './member.js';
import type { Membership } from './membership.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { RegionRow, SpaceRow } from './metadata/schema.js';
import { quote, refuseName, SLAB_SPACE_NAME, slabSpaceOf } from './names.js';
import type { NodeCalls } from './node-calls.js';
import { commonPageBytes } from './places.js';
import { beyondLast, regionRow, withRegion } from './reclaim.js';
import type { HeldRegion } from './reconcile.js';
import { isRefusal, ok, type Refusal, type Result, refuse } from './refusal.js';

/** Region 0 is never used, so that address 0 is never valid. */
const FIRST_REGION = 1 as RegionIndex;

export interface OpenSpace {
  readonly name: string;
  readonly create: boolean;
  /** Of `SpaceKind`; of a space that is created. */
  readonly kind: number;
  /** Of a space that is created; 0: that of most of the rack's memory. */
  readonly pageBytes: number;
}

export interface OpenedSpace {
  readonly space: SpaceRow;
  readonly created: boolean;
}

export interface SpacesOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly changes: Serial;
  readonly calls: NodeCalls;
  /** Whether a node remembers that this number was given out: they are told if none does. */
  readonly witness: (space: SpaceId) => Promise<boolean>;
}

export class Spaces {
  readonly #options: SpacesOptions;

  constructor(options: SpacesOptions) {
    this.#options = options;
  }

  open(request: OpenSpace): Promise<Result<OpenedSpace>> {
    const wrong = refuseName('space name', request.name) ?? refuseReserved(request.name);
    if (wrong !== undefined) return Promise.resolve(wrong);
    const known = this.#byName(request.name);
    if (known !== undefined) return this.#told({ space: known, created: false });
    if (!request.create) return Promise.resolve(refuseUnknown(request.name));
    return this.#createAndTell(request);
  }

  /** The space of the devices' slabs, made when there is none. */
  slabs(): Promise<Result<OpenedSpace>> {
    const known = slabSpaceOf(this.#options.metadata);
    if (known !== undefined) return Promise.resolve(ok({ space: known, created: false }));
    const wish = { name: SLAB_SPACE_NAME, create: true, kind: SpaceKind.DRAM, pageBytes: 0 };
    return this.#createAndTell(wish);
  }

  async #createAndTell(request: OpenSpace): Promise<Result<OpenedSpace>> {
    const result = await this.#options.changes.run(() => this.#create(request));
    return isRefusal(result) ? result : this.#told(result);
  }

  /**
   * Nodes may hold nothing of it: its number is to be remembered somewhere before anybody knows it,
   * or an older copy of the database would give it to another space.
   */
  async #told({ space, created }: OpenedSpace): Promise<Result<OpenedSpace>> {
    if (await this.#options.witness(space.id)) return ok({ space, created });
    const message = `no memory node can be told of space ${quote(space.name)} yet: try again`;
    return refuse(created ? Status.OutcomeUnknown : Status.Unavailable, message);
  }

  /**
   * A space that nodes hold and the metadata does not know becomes known again, with every region
   * that nodes which are there hold of it.
   */
  adopt(id: SpaceId, name: string): Promise<Result<{ space: SpaceRow }>> {
    const wrong = refuseName('space name', name);
    if (wrong !== undefined) return Promise.resolve(wrong);
    return this.#options.changes.run(() => this.#adopt(id, name));
  }

  /** All, those that are being removed included, by name. */
  list(): SpaceRow[] {
    const rows = [...this.#options.metadata.spaces.values()];
    return rows.sort((a, b) => (a.name === b.name ? a.id - b.id : a.name < b.name ? -1 : 1));
  }

  /** `Ok` once it is durable and every node that is there has been told. */
  async remove(name: string): Promise<Result<object>> {
    const { metadata, membership, changes } = this.#options;
    const reserved = refuseReserved(name);
    if (reserved !== undefined) return reserved;
    const removed = await changes.run(async () => {
      const row = this.#byName(name);
      if (row === undefined) return undefined;
      await metadata.commit([{ table: 'spaces', put: { ...row, state: 'removing' } }]);
      return row;
    });
    if (removed === undefined) return refuseUnknown(name);
    const holders = new Set([...metadata.regionsOf(removed.id).values()].map((row) => row.node));
    const serving = membership.serving().filter(({ row }) => holders.has(row.id));
    await Promise.all(serving.map((member) => this.#tellRemoval(member, removed.id)));
    await this.sweep(removed.id);
    return ok({});
  }

  /** Tells a node which spaces are gone. Called whenever it gives a sign of life. */
  async settle(member: Member): Promise<void> {
    for (const space of this.#owed(member)) {
      if (!member.isJoined || !(await this.#tellRemoval(member, space))) return;
      await this.sweep(space);
    }
  }

  /** After a start: goes on with removals that were under way. */
  async resume(): Promise<void> {
    for (const row of this.list()) if (row.state === 'removing') await this.sweep(row.id);
  }

  /** Drops what needs no node to be told; the last call for a space drops its row. */
  async sweep(space: SpaceId): Promise<void> {
    const { metadata, changes } = this.#options;
    if (metadata.spaces.get(space)?.state !== 'removing') return;
    const keys = [...metadata.files.values()].filter((file) => file.space === space);
    for (let at = 0; at < keys.length; at += PURGE_ROWS_MAX) {
      const part = keys.slice(at, at + PURGE_ROWS_MAX);
      await changes.run(() =>
        this.#purgeFiles(
          space,
          part.map((file) => file.key),
        ),
      );
    }
    const garbage = [...metadata.garbage.values()].filter((row) => row.space === space);
    for (let at = 0; at < garbage.length; at += PURGE_ROWS_MAX) {
      const part = garbage.slice(at, at + PURGE_ROWS_MAX);
      const removals = part.map((row) => ({ table: 'garbage', remove: row }) as const);
      await changes.run(() => metadata.commit(removals));
    }
    await changes.run(() => this.#dropRows(space));
  }

  #byName(name: string): SpaceRow | undefined {
    const { metadata } = this.#options;
    const id = metadata.spaceIds.get(name);
    return id === undefined ? undefined : metadata.spaces.get(id);
  }

  async #create(request: OpenSpace): Promise<Result<OpenedSpace>> {
    const { metadata } = this.#options;
    const known = this.#byName(request.name);
    if (known !== undefined) return ok({ space: known, created: false });
    const refusal = refuseNew(request, metadata);
    if (refusal !== undefined) return refusal;
    const id = metadata.next('space');
    const space: SpaceRow = {
      id,
      name: request.name,
      kind: request.kind === SpaceKind.PERSISTENT ? 'persistent' : 'dram',
      pageBytes: request.pageBytes === 0 ? this.#pageBytes(request.kind) : request.pageBytes,
      nextRegion: FIRST_REGION,
      state: 'active',
    };
    await metadata.commit([
      { table: 'counters', put: { name: 'space', next: id + 1 } },
      { table: 'spaces', put: space },
    ]);
    return ok({ space, created: true });
  }

  async #adopt(id: SpaceId, name: string): Promise<Result<{ space: SpaceRow }>> {
    const { metadata, membership } = this.#options;
    const holders = membership.unknownSpaces().get(id) ?? [];
    const [first] = holders;
    if (first === undefined) {
      const message = `no node that is there holds regions of an unknown space ${id}`;
      return refuse(Status.NotFound, message);
    }
    if (this.#byName(name) !== undefined) {
      return refuse(Status.Exists, `there is a space ${quote(name)} already: choose another name`);
    }
    const { pageBytes } = first.row;
    const kind = isOnDisk(metadata, first) ? 'persistent' : 'dram';
    let space: SpaceRow = {
      ...{ id, name, kind, pageBytes, state: 'active' as const },
      nextRegion: FIRST_REGION,
    };
    const rows = new Map<RegionIndex, RegionRow>();
    for (const { row, unknown } of holders) {
      for (const held of unknown.filter((one) => one.space === id)) {
        space = withRegion(space, held.region, pageBytes);
        if ((rows.get(held.region)?.epoch ?? 0) >= held.epoch) continue;
        rows.set(held.region, regionRow(row, held));
      }
    }
    space = beyondLast(space, REGIONS_BEYOND);
    const changes: MetadataChange[] = [
      { table: 'spaces', put: space },
      ...[...rows.values()].flatMap((put) => {
        return [{ table: 'regions', put } as const, ...keptOf(metadata, put.node, [put])];
      }),
    ];
    await metadata.commit(changes, { isRestored: true });
    for (const member of holders) confirmAdopted(member, rows);
    return ok({ space });
  }

  #pageBytes(kind: number): number {
    const { membership, metadata } = this.#options;
    const isIts = (member: Member): boolean =>
      isOnDisk(metadata, member) === (kind === SpaceKind.PERSISTENT);
    const ofServing = commonPageBytes(membership.serving().filter(isIts));
    if (ofServing !== 0) return ofServing;
    return commonPageBytes([...membership.members.values()].filter(isIts));
  }

  #owed(member: Member): Set<SpaceId> {
    const { metadata } = this.#options;
    const owed = new Set(member.removing);
    for (const row of metadata.regionsOfNode(member.row.id).values()) {
      const isGone = metadata.spaces.get(row.space)?.state === 'removing';
      if (isGone && isHeldBy(member, row)) owed.add(row.space);
    }
    return owed;
  }

  /** False when the node could not be told. */
  async #tellRemoval(member: Member, space: SpaceId): Promise<boolean> {
    const { metadata, calls, changes } = this.#options;
    const { memoryId } = member.row;
    const status = await calls.removeSpace(member.row, space);
    if (status !== Status.Ok || member.row.memoryId !== memoryId) {
      member.isSuspect = true;
      return false;
    }
    member.removing.delete(space);
    await changes.run(() => {
      const rows = [...metadata.regionsOf(space).values()].filter(
        (row) => isHeldBy(member, row) && metadata.moveOf(row) === undefined,
      );
      return metadata.commit(rows.map((row) => ({ table: 'regions', remove: row }) as const));
    });
    return true;
  }

  async #purgeFiles(space: SpaceId, keys: readonly string[]): Promise<void> {
    const { metadata } = this.#options;
    // A key may have been put again meanwhile, into another space.
    const gone = keys.filter((key) => metadata.files.get(key)?.space === space);
    await metadata.commit(gone.map((key) => ({ table: 'files', remove: key }) as const));
  }

  async #dropRows(space: SpaceId): Promise<void> {
    const { metadata, membership } = this.#options;
    if (metadata.spaces.get(space)?.state !== 'removing') return;
    const rows = [...metadata.regionsOf(space).values()];
    const lost = rows.filter((row) => row.state === 'lost' && metadata.moveOf(row) === undefined);
    const changes: MetadataChange[] = lost.map((row) => ({ table: 'regions', remove: row }));
    if (lost.length === rows.length) changes.push({ table: 'spaces', remove: space });
    await metadata.commit(changes);
    for (const node of new Set(lost.map((row) => row.node))) {
      await membership.forgetIfNothingIsLeft(node);
    }
  }
}

function confirmAdopted(member: Member, rows: ReadonlyMap<RegionIndex, RegionRow>): void {
  const isOwn = ({ space, region, epoch }: HeldRegion): boolean => {
    const row = rows.get(region);
    return row?.space === space && row.epoch === epoch && row.node === member.row.id;
  };
  for (const one of member.unknown.filter(isOwn)) {
    member.confirmed.add(regionKey(one.space, one.region));
  }
  member.unknown = member.unknown.filter((one) => !isOwn(one));
}

function isHeldBy(member: Member, row: RegionRow): boolean {
  const isSame = row.node === member.row.id && row.memoryId === member.row.memoryId;
  return isSame && row.state === 'granted';
}

function refuseUnknown(name: string): Refusal {
  return refuse(Status.NotFound, `there is no space ${quote(name)}`);
}

export function refuseReserved(name: string): Refusal | undefined {
  if (name !== SLAB_SPACE_NAME) return undefined;
  return refuse(Status.Denied, `${quote(name)} is the space of block devices: choose another name`);
}

function refuseNew(request: OpenSpace, metadata: Metadata): Refusal | undefined {
  if (request.kind !== SpaceKind.DRAM && request.kind !== SpaceKind.PERSISTENT) {
    return refuse(
      Status.Unsupported,
      `there are spaces of the kinds 'dram' and 'persistent', and none of number ${request.kind}`,
    );
  }
  if (request.pageBytes !== 0 && !isPageSize(request.pageBytes)) {
    return refuse(
      Status.Invalid,
      `page size ${request.pageBytes} is not a power of two from 64 KiB to 1 GiB`,
    );
  }
  if (metadata.spaces.size >= SPACES_MAX || metadata.next('space') >= SPACE_ID_END) {
    return refuse(
      Status.NoSpace,
      `the rack has ${metadata.spaces.size} spaces and takes no more: remove some`,
    );
  }
  return undefined;
}
