/**
 * What the controller remembers of memory on disks: which opening of a file it has seen last, and
 * which regions a node has confirmed. A region that was confirmed and is missing when the node
 * comes back is lost: nobody who has written there may find a new and empty one.
 */

import { regionKey } from '../base/region-key.js';
import { SpaceKind } from '../wire/messages.js';
import type { NodeJoin } from './join-rules.js';
import type { Member } from './member.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { DiskRow, RegionRow } from './metadata/schema.js';

/** Whether the memory of the node outlives its machine. */
export function isOnDisk(metadata: Metadata, { row }: Member): boolean {
  return metadata.disks.has(row.id);
}

/** For a node that joins. */
export function diskChanges(metadata: Metadata, request: NodeJoin): MetadataChange[] {
  const { id, kind, openings, fileSystem } = request;
  const known = metadata.disks.get(id);
  if (kind !== SpaceKind.PERSISTENT) {
    return known === undefined ? [] : [{ table: 'disks', remove: id }];
  }
  const row: DiskRow = { node: id, opening: openings.at(-1) ?? 0, fileSystem };
  const isSame = known?.opening === row.opening && known.fileSystem === fileSystem;
  return isSame ? [] : [{ table: 'disks', put: row }];
}

/**
 * For a node that joins. What it must have and has not is looked for again: regions may have come
 * to it since it said what it has (`Regions.settle`).
 */
export function keptChanges(metadata: Metadata, request: NodeJoin): MetadataChange[] {
  if (request.kind !== SpaceKind.PERSISTENT) return [];
  const held = new Set(request.regions.map(({ space, region }) => regionKey(space, region)));
  const changes: MetadataChange[] = [];
  for (const row of metadata.regionsOfNode(request.id).values()) {
    if (row.memoryId !== request.memoryId || row.state !== 'granted') continue;
    const key = regionKey(row.space, row.region);
    const isKept = metadata.kept.get(key)?.epoch === row.epoch;
    if (held.has(key) && !isKept) changes.push(keptChange(row));
  }
  return changes;
}

/** Of a node that has joined: whether it must have the region, and has not. */
export function isMissing(metadata: Metadata, member: Member, row: RegionRow): boolean {
  const key = regionKey(row.space, row.region);
  const isKept = metadata.kept.get(key)?.epoch === row.epoch;
  return isKept && isOnDisk(metadata, member) && member.isJoined && !member.confirmed.has(key);
}

/** For a node whose regions become rows: it holds them, so it has confirmed them. */
export function keptOf(metadata: Metadata, node: string, rows: readonly RegionRow[]) {
  return metadata.disks.has(node) ? rows.map((row) => keptChange(row)) : [];
}

/** For a node that has confirmed a region. */
export function keptChange({ space, region, epoch }: RegionRow): MetadataChange {
  return { table: 'kept', put: { space, region, epoch } };
}
