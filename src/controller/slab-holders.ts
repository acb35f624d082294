/**
 * Who holds what in regions of the space of slabs. The sets of slabs name places, so such a region
 * is never moved under a copy that is in one: whoever wants it away (a drain, a node that is short
 * of memory, an operator) waits. Who serves a device sees which nodes are to be emptied, and copies
 * its slabs away.
 *
 * A copy that no set names yet holds nothing up here. Its node does not let the region go; and
 * where it went before the copy was taken, the copy is refused at a node that does not have it.
 */
import type { RegionIndex, SpaceId } from '../base/brands.js';
import type { Metadata } from './metadata/metadata.js';

/** Names, for people, what has a copy in the region. None: it may move as any other. */
export function slabHolders(
  { slabSets, deviceNames }: Pick<Metadata, 'slabSets' | 'deviceNames'>,
  { space, region }: { readonly space: SpaceId; readonly region: RegionIndex },
): readonly string[] {
  const names = slabSets.devicesIn(space, region).map((device) => deviceNames.get(device));
  // What a removed device had there is nobody's.
  return names.filter((name) => name !== undefined).map((name) => `device ${name}`);
}
