/** Which node gets a copy of a slab: by a policy, apart from the other copies of it. */

import type { PlacementPolicy } from '../policies/placement/candidate.js';
import type { Entropy } from '../runtime/runtime.js';
import { blockFaults } from './planted.js';
import type { CopyPlace, SlabNode } from './ports.js';

/**
 * Not on a node of `beside`, nor of `tried`; not on a machine of `beside` while there is another.
 * Undefined: there is no node left.
 */
export function chooseNode(
  nodes: readonly SlabNode[],
  beside: readonly CopyPlace[],
  tried: ReadonlySet<string>,
  policy: PlacementPolicy,
  entropy: Entropy,
): SlabNode | undefined {
  const free = nodes.filter(({ id, isServing, isLeaving }) => {
    const hasOne = beside.some(({ node }) => node === id) && !blockFaults.madeBesideAnother;
    return isServing && !isLeaving && !tried.has(id) && !hasOne;
  });
  const taken = new Set(beside.map(({ node }) => machineOf(node, nodes)));
  const apart = free.filter(({ machine }) => !taken.has(machine));
  const chosen = apart.length > 0 ? apart : free;
  if (chosen.length === 0) return undefined;
  const candidates = chosen.map(({ id, bytesLent, bytesFree, bytesCommitted }) => {
    return { node: id, bytesLent, bytesFree, bytesCommitted, bytesPromised: 0, regions: 0 };
  });
  return chosen[policy({ candidates, chance: entropy, turn: 0 })];
}

function machineOf(node: string, nodes: readonly SlabNode[]): string | undefined {
  return nodes.find(({ id }) => id === node)?.machine;
}
