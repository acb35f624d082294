/** How the slabs of a device are, as the nodes were looked at last. */

import { BACKUP_SPACE } from '../wire/limits.js';
import type { CopyPlace, SetRow, SlabNode } from './ports.js';

/** Those that were never written are in none of these; each other one is in `kept`. */
export interface SlabStates {
  kept: number;
  /** Fewer copies at nodes that are there than are wanted, at least one. */
  degraded: number;
  /** No node that has a copy is there; some of them may come back. */
  away: number;
  /** No copy is left. */
  lost: number;
  /** No node that has a copy is there, but a host has the slab in its file. */
  inFile: number;
  /** Nodes have copies that counted in sets which the rows do not know. */
  inDoubt: number;
  /** Of those that are kept: used much (docs/internals/block-devices.md). */
  hot: number;
}

/** `nodes` undefined: nobody has told; then copies count wherever they are. */
export function countStates(
  rows: Iterable<SetRow>,
  nodes: readonly SlabNode[] | undefined,
  wanted: number,
): SlabStates {
  const states: SlabStates = {
    kept: 0,
    degraded: 0,
    away: 0,
    lost: 0,
    inFile: 0,
    inDoubt: 0,
    hot: 0,
  };
  const known = new Map(nodes?.map((node) => [node.id, node]));
  for (const { copies } of rows) {
    states.kept += 1;
    let there = 0;
    let gone = 0;
    let files = 0;
    for (const place of copies) {
      const node = known.get(place.node);
      if (place.space === BACKUP_SPACE) files += 1;
      else if (nodes === undefined || isThere(place, node)) there += 1;
      else if (node?.memoryId !== place.memoryId) gone += 1;
    }
    if (there === 0 && files > 0) states.inFile += 1;
    else if (gone === copies.length) states.lost += 1;
    else if (there === 0) states.away += 1;
    else if (there < wanted) states.degraded += 1;
  }
  return states;
}

function isThere({ memoryId }: CopyPlace, node: SlabNode | undefined): boolean {
  return node?.memoryId === memoryId && (node.isServing || node.isLeaving);
}
