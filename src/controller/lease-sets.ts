/**
 * The nodes of a lease, as they stand in its row. A node is meant with the memory that it had: what
 * was said to memory that is gone is gone with it, and other memory of that name never heard it.
 */
import { Status } from '../base/status.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import type { Member } from './member.js';
import { quote } from './names.js';
import type { NodeAt } from './node-calls.js';
import { refuse, type Refusal } from './refusal.js';

export interface LeaseNode {
  readonly id: string;
  readonly memoryId: number;
}

type Members = ReadonlyMap<string, Member>;

export function nodesText(nodes: readonly LeaseNode[]): string {
  return JSON.stringify(nodes.map(({ id, memoryId }) => [id, memoryId]));
}

export function nodesOf(text: string): LeaseNode[] {
  return (JSON.parse(text) as [string, number][]).map(([id, memoryId]) => ({ id, memoryId }));
}

/** Each once, in the order in which they are first named. */
export function unionOf(...sets: readonly (readonly LeaseNode[])[]): LeaseNode[] {
  const found = new Map<string, LeaseNode>();
  for (const node of sets.flat()) found.set(`${node.id} ${node.memoryId}`, node);
  return [...found.values()];
}

export function isSameSet(a: readonly LeaseNode[], b: readonly LeaseNode[]): boolean {
  return a.length === b.length && unionOf(a, b).length === a.length;
}

/** Without those whose memory is proved, or said, to be gone. Who is only silent stays. */
export function stillThere(nodes: readonly LeaseNode[], members: Members): LeaseNode[] {
  return nodes.filter(({ id, memoryId }) => {
    const row = members.get(id)?.row;
    return row !== undefined && row.memoryId === memoryId && row.state !== 'ended';
  });
}

/** Where it listens, with the memory that is meant. Only of what is still there. */
export function placeOf(node: LeaseNode, members: Members): NodeAt {
  return { address: members.get(node.id)?.row.address ?? '', memoryId: node.memoryId };
}

/** The nodes that somebody names, as they are now. */
export function chosenNodes(ids: readonly string[], members: Members): LeaseNode[] | Refusal {
  const unique = [...new Set(ids)];
  if (unique.length === 0 || unique.length > LEASE_NODES_MAX) {
    const message = `a lease is over 1 to ${LEASE_NODES_MAX} memory nodes, not ${unique.length}`;
    return refuse(Status.Invalid, message);
  }
  const nodes: LeaseNode[] = [];
  for (const id of unique) {
    const row = members.get(id)?.row;
    if (row === undefined || row.state === 'ended') {
      return refuse(Status.NotFound, `there is no memory node ${quote(id)}: see memrack nodes`);
    }
    nodes.push({ id, memoryId: row.memoryId });
  }
  return nodes;
}
