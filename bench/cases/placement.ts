/**
 * Placement policies on a simulated rack of 100 nodes, through the function by which the controller
 * chooses places: memory fills region by region, and the controller knows what nodes have used as
 * of their last heartbeat. A region is used to a part that nobody knows when it is granted. What
 * counts is how much of all memory is used when the first node is full: from then on regions would
 * have to move, or wait. (Two choices: Infiniswap's slides; the rest for comparison.)
 */

import { Prng } from '../../src/base/prng.js';
import { GiB, MiB } from '../../src/base/units.js';
import { Member } from '../../src/controller/member.js';
import { choosePlaces } from '../../src/controller/places.js';
import {
  PLACEMENT_POLICY_NAMES,
  placementPolicy,
  type PlacementPolicyName,
} from '../../src/policies/placement/placement-policies.js';
import { type Comparison, type Result, type Row, spread } from '../harness.js';

const NODES = 100;
const NODE_GIB = [16, 32, 64, 128];
const PAGE_BYTES = 2 * MiB;
const REGION_BYTES = GiB;
/** Between two heartbeats so many regions are granted. */
const HEARTBEAT_GRANTS = 100;
/** A space prefers the node that it had first, for as long as that has room: every so many th. */
const NEAR_EVERY = 4;
const NOTHING = { median: Number.NaN, min: Number.NaN, max: Number.NaN };
const BASELINE: PlacementPolicyName = 'random';

interface Node {
  readonly member: Member;
  regions: number;
  /** As it is; `member` has it as of the last heartbeat. */
  bytesUsed: number;
  bytesCommitted: number;
}

function makeNodes(prng: Prng): Node[] {
  return Array.from({ length: NODES }, (_, i) => {
    const member = new Member({
      ...{ id: `n${i}`, memoryId: i + 1, incarnation: 1, address: '', machine: '', pid: 0 },
      ...{ keeper: '', process: '', pageBytes: PAGE_BYTES, state: 'member' as const },
      bytesLent: prng.pick(NODE_GIB) * GiB,
    });
    return { member, regions: 0, bytesUsed: 0, bytesCommitted: 0 };
  });
}

interface Filled {
  /** Percent of all memory that was used when the first node was full. */
  readonly used: number;
  /** By how much of it, in percentage points, the fullest and the emptiest node differed then. */
  readonly apart: number;
}

function fill(name: PlacementPolicyName, hasHomes: boolean, seed: number): Filled {
  const prng = new Prng(seed);
  const nodes = makeNodes(prng);
  const byMember = new Map(nodes.map((node) => [node.member, node]));
  for (let turn = 0; ; turn += 1) {
    if (turn % HEARTBEAT_GRANTS === 0) for (const node of nodes) heartbeat(node);
    const bytes = MiB * (1 + prng.below(1024));
    const near = hasHomes && turn % NEAR_EVERY === 0 ? `n${prng.below(NODES / 5)}` : '';
    const places = choosePlaces({
      ...{ members: nodes.map(({ member }) => member), pageBytes: PAGE_BYTES, count: 1, bytes },
      ...{ near, policy: placementPolicy(name), chance: prng, turn },
      regionsOf: (id) => nodes[Number(id.slice(1))]?.regions ?? 0,
    });
    const member = 'members' in places ? places.members[0] : undefined;
    const node = member === undefined ? undefined : byMember.get(member);
    if (node === undefined) return filled(nodes);
    node.regions += 1;
    node.member.bytesPromised += REGION_BYTES;
    node.bytesCommitted += bytes;
    node.bytesUsed += Math.round(bytes * prng.fraction());
    if (node.bytesUsed > node.member.bytesLent) return filled(nodes);
  }
}

function heartbeat({ member, bytesUsed, bytesCommitted }: Node): void {
  Object.assign(member, { bytesUsed, bytesCommitted, bytesPromised: 0 });
}

function filled(nodes: readonly Node[]): Filled {
  const lent = sum(nodes, ({ member }) => member.bytesLent);
  const used = sum(nodes, ({ bytesUsed }) => bytesUsed);
  const shares = nodes.map(({ member, bytesUsed }) => (100 * bytesUsed) / member.bytesLent);
  return { used: (100 * used) / lent, apart: Math.max(...shares) - Math.min(...shares) };
}

function sum(nodes: readonly Node[], of: (node: Node) => number): number {
  return nodes.reduce((total, node) => total + of(node), 0);
}

export function placement(rounds: number): Promise<Result> {
  const rows: Row[] = [];
  const used = new Map<string, number[]>();
  for (const hasHomes of [false, true]) {
    for (const name of PLACEMENT_POLICY_NAMES) {
      const side = hasHomes ? `${name}, a quarter near` : name;
      const turns = Array.from({ length: rounds }, (_, i) => fill(name, hasHomes, 1 + i));
      const values = turns.map((one) => one.used);
      used.set(side, values);
      const apart = spread(turns.map((one) => one.apart)).median;
      const extra = { 'fullest less emptiest node': apart };
      rows.push({ side, value: spread(values), cpuPerOperation: NOTHING, extra });
    }
  }
  const comparisons = PLACEMENT_POLICY_NAMES.filter((name) => name !== BASELINE).map((name) => {
    return ratioOf(name, used.get(name) ?? [], used.get(BASELINE) ?? []);
  });
  return Promise.resolve({
    bench: 'placement',
    what: `${NODES} simulated nodes of ${NODE_GIB.join(', ')} GiB: memory used when one is full`,
    unit: '%',
    rows,
    comparisons,
    notes: [
      `a heartbeat every ${HEARTBEAT_GRANTS} regions; near: a fifth of the nodes is asked for`,
    ],
  });
}

function ratioOf(name: string, ours: readonly number[], peer: readonly number[]): Comparison {
  const ratio = spread(ours.map((value, i) => value / (peer[i] ?? Number.NaN)));
  return { ours: name, peer: BASELINE, ratio, goal: 'none', met: undefined };
}
