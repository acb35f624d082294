/**
 * What a node holds against what an older copy of the database says: theirs win where their epoch
 * is higher, and nothing is deleted that the database does not know. See
 * docs/internals/restore.md.
 */

import type { RegionIndex, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import { REGIONS_PER_SPACE_MAX } from '../wire/limits.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { RegionRow, SpaceRow } from './metadata/schema.js';
import { controllerFaults } from './planted.js';
import type { HeldRegion, Reconciliation } from './reconcile.js';

export interface Holder {
  readonly id: string;
  readonly memoryId: number;
  readonly pageBytes: number;
}

/** Also in `changes`: numbers of regions that were taken over are never granted again. */
export function reclaim(
  metadata: Metadata,
  holder: Holder,
  held: readonly HeldRegion[],
): Reconciliation {
  const confirmed = new Set<number>();
  const unknown: HeldRegion[] = [];
  const removing = new Set<SpaceId>();
  const changes: MetadataChange[] = [];
  const spaces = new Map<SpaceId, SpaceRow>();
  for (const region of held) {
    const space = spaces.get(region.space) ?? metadata.spaces.get(region.space);
    const row = metadata.regionsOf(region.space).get(region.region);
    const key = regionKey(region.space, region.region);
    if (space === undefined) {
      if (controllerFaults.unknownSpacesRemoved) removing.add(region.space);
      else unknown.push(region);
    } else if (space.state === 'removing') removing.add(space.id);
    else if (isAlike(row, holder, region)) confirmed.add(key);
    else if (row !== undefined && row.epoch >= region.epoch) unknown.push(region);
    else {
      changes.push({ table: 'regions', put: regionRow(holder, region) });
      confirmed.add(key);
      spaces.set(space.id, withRegion(space, region.region, holder.pageBytes));
    }
  }
  for (const put of spaces.values()) changes.push({ table: 'spaces', put });
  return { confirmed, unknown, removing, changes };
}

export function regionRow({ id, memoryId }: Holder, held: HeldRegion): RegionRow {
  const { space, region, epoch } = held;
  return { space, region, epoch, node: id, memoryId, state: 'granted' };
}

/** The space when this region of it is granted, at a node with such pages. */
export function withRegion(space: SpaceRow, region: RegionIndex, pageBytes: number): SpaceRow {
  return {
    ...space,
    pageBytes: space.pageBytes === 0 ? pageBytes : space.pageBytes,
    nextRegion: Math.max(space.nextRegion, region + 1) as RegionIndex,
  };
}

/** The space with so many region numbers given up, if it has as many left. */
export function beyondLast(space: SpaceRow, count: number): SpaceRow {
  const nextRegion = Math.min(space.nextRegion + count, REGIONS_PER_SPACE_MAX) as RegionIndex;
  return { ...space, nextRegion };
}

function isAlike(row: RegionRow | undefined, holder: Holder, held: HeldRegion): boolean {
  return (
    row?.state === 'granted' &&
    row.node === holder.id &&
    row.memoryId === holder.memoryId &&
    row.epoch === held.epoch
  );
}
