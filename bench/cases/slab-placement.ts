/**
 * How evenly 32 nodes are used by the policy that places slabs, as in Infiniswap's evaluation:
 * through the function by which hosts choose nodes (src/block/choose-node.ts), with what nodes have
 * free as of their last heartbeat. Programs of the machines use a part of them that is not the same
 * everywhere, and slabs come to be used to a part that nobody knows.
 */

import { chooseNode } from '../../src/block/choose-node.js';
import type { CopyPlace, SlabNode } from '../../src/block/ports.js';
import { Prng } from '../../src/base/prng.js';
import { GiB, MiB } from '../../src/base/units.js';
import { placementPolicy } from '../../src/policies/placement/placement-policies.js';
import { type Comparison, type Result, type Row, spread } from '../harness.js';

const NODES = 32;
const NODE_BYTES = 64 * GiB;
const SLAB_BYTES = 256 * MiB;
/** Of its machine, by programs: from the one to the other, at each node. */
const LOCAL = [0.1, 0.6] as const;
/** Hosts place so many slabs between two heartbeats, together. */
const HEARTBEAT_SLABS = 16;
/** When so much of all memory is used, it is looked how evenly. */
const FILLED = 0.75;
const POLICIES = ['random', 'best-free-of-two', 'best-free-of-k'] as const;
const COPIES = [1, 2];
const NOTHING = { median: Number.NaN, min: Number.NaN, max: Number.NaN };

interface Filled {
  /** Standard deviation of the nodes' use, in percentage points, at `FILLED`. */
  readonly deviation: number;
  readonly apart: number;
  /** Percent of all memory that was used when a node was full. */
  readonly full: number;
}

function fill(name: (typeof POLICIES)[number], copies: number, seed: number): Filled {
  const prng = new Prng(seed);
  const used = Array.from({ length: NODES }, () => {
    return NODE_BYTES * (LOCAL[0] + (LOCAL[1] - LOCAL[0]) * prng.fraction());
  });
  const policy = placementPolicy(name);
  let nodes: SlabNode[] = [];
  let even: Omit<Filled, 'full'> | undefined;
  for (let slab = 0; ; slab++) {
    if (slab % HEARTBEAT_SLABS === 0) nodes = used.map((bytes, i) => nodeOf(i, bytes));
    const bytes = SLAB_BYTES * prng.fraction();
    const places: CopyPlace[] = [];
    while (places.length < copies) {
      const node = chooseNode(nodes, places, new Set(), policy, prng);
      if (node === undefined) break;
      places.push({ copy: slab, node: node.id, memoryId: 1, space: 1, address: 0 });
      const index = Number(node.id);
      used[index] = (used[index] as number) + bytes;
    }
    const share = mean(used) / NODE_BYTES;
    if (even === undefined && share >= FILLED) even = evenness(used);
    if (Math.max(...used) >= NODE_BYTES) {
      return { ...(even ?? evenness(used)), full: 100 * share };
    }
  }
}

function nodeOf(index: number, bytes: number): SlabNode {
  return {
    ...{ id: `${index}`, memoryId: 1, machine: `${index}`, isServing: true, isLeaving: false },
    ...{ bytesLent: NODE_BYTES, bytesFree: NODE_BYTES - bytes, bytesCommitted: bytes },
  };
}

function evenness(used: readonly number[]): Omit<Filled, 'full'> {
  const shares = used.map((bytes) => (100 * bytes) / NODE_BYTES);
  const middle = mean(shares);
  const deviation = Math.sqrt(mean(shares.map((share) => (share - middle) ** 2)));
  return { deviation, apart: Math.max(...shares) - Math.min(...shares) };
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

export function slabPlacement(rounds: number): Promise<Result> {
  const rows: Row[] = [];
  const comparisons: Comparison[] = [];
  for (const copies of COPIES) {
    let chance: readonly Filled[] = [];
    for (const name of POLICIES) {
      const turns = Array.from({ length: rounds }, (_, i) => fill(name, copies, 1 + i));
      const side = `${name}, ${copies === 1 ? 'one copy' : `${copies} copies`}`;
      const extra = {
        'fullest less emptiest node': median(turns.map((one) => one.apart)),
        'used when one is full': median(turns.map((one) => one.full)),
      };
      const value = spread(turns.map((one) => one.deviation));
      rows.push({ side, value, cpuPerOperation: NOTHING, extra });
      if (name === 'random') chance = turns;
      else comparisons.push(fuller(side, turns, chance));
    }
  }
  return Promise.resolve({
    bench: 'slab-placement',
    what:
      `${NODES} simulated nodes of 64 GiB: deviation of what is used of each, with ` +
      `${100 * FILLED} % of all used`,
    unit: 'percentage points',
    rows,
    comparisons,
    notes: [
      `programs use ${100 * LOCAL[0]} to ${100 * LOCAL[1]} % of each node beforehand; slabs of ` +
        `${SLAB_BYTES / MiB} MiB, used to a part`,
      `a heartbeat every ${HEARTBEAT_SLABS} slabs; ratios: of all memory, used when a node is full`,
    ],
  });
}

const median = (values: readonly number[]): number => spread(values).median;

function fuller(ours: string, turns: readonly Filled[], chance: readonly Filled[]): Comparison {
  const ratio = spread(turns.map(({ full }, i) => full / (chance[i]?.full ?? Number.NaN)));
  return { ours, peer: 'random', ratio, goal: 'none', met: undefined };
}
