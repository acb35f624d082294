/**
 * Compares what a node says that it holds with what the database says, when the node joins.
 *
 * The node's memory is the truth about bytes, the database about ownership. A region that only the
 * node knows is left where it is, named in status, and its number is never granted to anybody; a
 * region that only the database knows is granted again (its first grant was lost on the way).
 */

import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';

export interface HeldRegion {
  readonly space: SpaceId;
  readonly region: RegionIndex;
  readonly epoch: Epoch;
}

export interface Reconciliation {
  /** Keys of regions that both know alike. */
  readonly confirmed: Set<number>;
  /** Regions that the database does not know as this node's. */
  readonly unknown: HeldRegion[];
  /** Spaces that are gone from the database's point of view, still held by the node. */
  readonly removing: Set<SpaceId>;
  /** Numbers that must never be given out again. */
  readonly changes: MetadataChange[];
}

export function reconcile(
  metadata: Metadata,
  node: { readonly id: string; readonly memoryId: number },
  held: readonly HeldRegion[],
): Reconciliation {
  const confirmed = new Set<number>();
  const unknown: HeldRegion[] = [];
  const removing = new Set<SpaceId>();
  for (const region of held) {
    const row = metadata.regionsOf(region.space).get(region.region);
    const isSame =
      row?.node === node.id && row.memoryId === node.memoryId && row.epoch === region.epoch;
    if (metadata.spaces.get(region.space)?.state === 'removing') removing.add(region.space);
    else if (isSame && row.state === 'granted') {
      confirmed.add(regionKey(region.space, region.region));
    } else if (!isMoving(metadata, node, region)) unknown.push(region);
  }
  return { confirmed, unknown, removing, changes: numbersTaken(metadata, unknown) };
}

/** A region on its way: who holds it the move finds out. */
function isMoving(metadata: Metadata, node: { readonly memoryId: number }, held: HeldRegion) {
  const move = metadata.moveOf(held);
  return move !== undefined && [move.fromMemory, move.toMemory].includes(node.memoryId);
}

/** Raises counters above every number that an unknown region carries. */
function numbersTaken(metadata: Metadata, unknown: readonly HeldRegion[]): MetadataChange[] {
  const changes: MetadataChange[] = [];
  const nextRegion = new Map<SpaceId, RegionIndex>();
  let space = metadata.next('space');
  let epoch = metadata.next('epoch');
  for (const region of unknown) {
    space = Math.max(space, region.space + 1) as SpaceId;
    epoch = Math.max(epoch, region.epoch + 1) as Epoch;
    const row = metadata.spaces.get(region.space);
    const next = nextRegion.get(region.space) ?? row?.nextRegion ?? Infinity;
    if (region.region >= next) nextRegion.set(region.space, (region.region + 1) as RegionIndex);
  }
  if (space > metadata.next('space')) {
    changes.push({ table: 'counters', put: { name: 'space', next: space } });
  }
  if (epoch > metadata.next('epoch')) {
    changes.push({ table: 'counters', put: { name: 'epoch', next: epoch } });
  }
  for (const [id, next] of nextRegion) {
    const row = metadata.spaces.get(id);
    if (row !== undefined) changes.push({ table: 'spaces', put: { ...row, nextRegion: next } });
  }
  return changes;
}
