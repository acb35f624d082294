/**
 * Which regions go away from a machine that is short of memory, and in which order: a pure
 * function. Rarely used ones first; what is used alike goes by its size, so that little is moved.
 */

export interface RegionLoad {
  /** That its pages use. */
  readonly bytes: number;
  /** Accesses a second, by and large. */
  readonly rate: number;
}

/** Rates up to this factor apart are alike: sampled ones are not much better than that. */
const ALIKE = 8;

/**
 * Indices of the regions that use anything, in the order in which they should go. Among those that
 * are used alike the smallest one that is enough comes first, then the largest of the others; who
 * is not in a hurry lets the coldest go among these, too.
 */
export function orderToGive(
  regions: readonly RegionLoad[],
  bytesToGive: number,
  isUrgent: boolean,
): number[] {
  const ranked = regions.flatMap(({ bytes, rate }, index) => {
    return bytes > 0 ? [{ index, bytes, rate, rank: rankOf(rate) }] : [];
  });
  ranked.sort((a, b) => {
    if (a.rank !== b.rank) return a.rank - b.rank;
    if (!isUrgent && a.rate !== b.rate) return a.rate - b.rate;
    const isEnough = a.bytes >= bytesToGive;
    if (isEnough !== b.bytes >= bytesToGive) return isEnough ? -1 : 1;
    const bySize = isEnough ? a.bytes - b.bytes : b.bytes - a.bytes;
    return bySize === 0 ? a.index - b.index : bySize;
  });
  return ranked.map(({ index }) => index);
}

/** Below one access a second nobody would notice. */
function rankOf(rate: number): number {
  let rank = 0;
  for (let most = 1; rate >= most && Number.isFinite(rate); most *= ALIKE) rank += 1;
  return rank;
}
