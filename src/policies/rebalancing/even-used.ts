/**
 * From the node whose memory is used most to the one where it is used least, by shares. It begins
 * when the two are far from each other and goes on until they are near, so that what changes a
 * little all the time moves nothing. A region that would make the emptier node the fuller one stays
 * where it is: moved back and forth it would cost much and change nothing.
 */
import { rebalancingFaults } from './planted.js';
import { type BalancedNode, usedShare, type RebalancingPolicy } from './rebalancing.js';

/** Shares of what nodes lend, between the fullest and the emptiest. */
export const BEGINS_ABOVE = 0.3;
export const GOES_ON_ABOVE = 0.1;

export const evenUsed: RebalancingPolicy = ({ nodes, isUnderWay }) => {
  const threshold = isUnderWay ? GOES_ON_ABOVE : BEGINS_ABOVE;
  const byShare = [...nodes].sort((a, b) => usedShare(b) - usedShare(a));
  const to = byShare.at(-1);
  if (to === undefined) return undefined;
  for (const from of byShare) {
    if (usedShare(from) - usedShare(to) <= threshold) return undefined;
    const key = largestThatFits(from, to);
    if (key !== undefined) return { key, from: from.node, to: to.node };
  }
  return undefined;
};

function largestThatFits(from: BalancedNode, to: BalancedNode): number | undefined {
  let best: { readonly key: number; readonly bytes: number } | undefined;
  for (const region of from.regions) {
    const { bytes } = region;
    const isFuller = usedShare(from, -bytes) < usedShare(to, bytes);
    if (isFuller && !rebalancingFaults.movesForEver) continue;
    if (bytes > (best?.bytes ?? 0)) best = region;
  }
  return best?.key;
}
