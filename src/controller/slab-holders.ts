/**
 * Who holds what in regions of slab spaces. Devices take slabs there by one call to a node that
 * they chose, and count on their staying where they are: such a region is never moved under its
 * holders. Whoever wants it away (a drain, a node that is short of memory, an operator) has them
 * asked, and waits; they copy away what they hold, each in its own time.
 */
import type { RegionIndex, SpaceId } from '../base/brands.js';

export interface SlabHolders {
  /**
   * Asks all who hold a part of the region to copy it away, and to take nothing more there; again
   * and again, which is the same. Names those who still hold something, for people. None: it may
   * move as any other. Never rejects; who could not be asked holds on.
   */
  ask(space: SpaceId, region: RegionIndex): Promise<readonly string[]>;
}

/** There are no slab spaces yet. */
export const NO_HOLDERS: SlabHolders = { ask: () => Promise.resolve([]) };
