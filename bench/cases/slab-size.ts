/**
 * What the size of slabs costs: devices of many users on 32 simulated nodes, written in three ways,
 * through what hosts and nodes use themselves (layout, choice of nodes, activity, eviction).
 *
 * Memory is taken by pages as they are written, so a slab takes less than its size; what it always
 * takes are the pages with its checksums, intent words and owner record.
 */

import { Prng } from '../../src/base/prng.js';
import { GiB, MiB } from '../../src/base/units.js';
import { Activity } from '../../src/block/activity.js';
import { chooseNode } from '../../src/block/choose-node.js';
import { slabBytesFor } from '../../src/block/manage.js';
import { leaseNodes } from '../../src/block/open-device.js';
import type { CopyPlace, SlabNode } from '../../src/block/ports.js';
import { planOf, type SlabPlan } from '../../src/block/slabs.js';
import { GOING_MAX } from '../../src/memory-node/eviction.js';
import { ownPages } from '../../src/memory-node/slabs.js';
import { coldest, SAMPLED_BEYOND } from '../../src/policies/eviction/coldest.js';
import { bestFreeOfTwo } from '../../src/policies/placement/best-free-of-two.js';
import { sample } from '../../src/policies/sample.js';
import { AREA_BYTES, BLOCK_BYTES } from '../../src/replication/layout.js';
import { type Result, type Row, spread } from '../harness.js';

const NODES = 32;
const NODE_BYTES = 64 * GiB;
const PAGE_BYTES = 2 * MiB;
/** Of its machine, by programs: from the one to the other, at each node. */
const LOCAL = [0.1, 0.5] as const;
const DEVICES_GIB = [4, 8, 16, 32, 64, 128, 4, 8, 16, 32, 64];
const COPIES = 2;
/** Hosts look at the nodes, and at what is used, so often. */
const SECONDS = 600;
/** Of copies that are made again: what a host copies in a second. */
const LOOK_BYTES = GiB;
/** What a node wants back. */
const WANTED_BYTES = 2 * GiB;
const SIZES: readonly (readonly [string, (bytes: number) => number])[] = [
  ...[64, 128, 256, 512, 1024].map(
    (size) => [size < 1024 ? `${size} MiB` : '1 GiB', () => size * MiB] as const,
  ),
  ['by device', slabBytesFor],
];
const NOTHING = { median: Number.NaN, min: Number.NaN, max: Number.NaN };

/** Which area is written to next, and how much of it. */
interface Writer {
  /** Of all that it does. */
  readonly writes: number;
  readonly bytesEach: number;
  next(): number;
}

type Pattern = (areas: number, prng: Prng) => Writer;

/** From the beginning, to four fifths of the device. */
const sequential: Pattern = (areas) => {
  let at = 0;
  return { writes: Math.floor(0.8 * areas), bytesEach: AREA_BYTES, next: () => at++ };
};

/** Single blocks anywhere: one in 128. */
const uniform: Pattern = (areas, prng) => ({
  writes: areas / 2,
  bytesEach: BLOCK_BYTES,
  next: () => prng.below(areas),
});

/** Extents are used by a power law, wherever they lie. */
const SKEW = -0.99;
const EXTENT_AREAS = (16 * MiB) / AREA_BYTES;

const skewed: Pattern = (areas, prng) => {
  const places = Array.from({ length: Math.floor(areas / EXTENT_AREAS) }, (_, i) => i);
  prng.shuffle(places);
  const sums = new Float64Array(places.length);
  let sum = 0;
  for (let i = 0; i < sums.length; i++) sums[i] = sum += (i + 1) ** SKEW;
  const next = (): number => {
    const wanted = prng.fraction() * sum;
    let low = 0;
    for (let high = sums.length - 1; low < high; ) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) > wanted) high = middle;
      else low = middle + 1;
    }
    return (places[low] as number) * EXTENT_AREAS + prng.below(EXTENT_AREAS);
  };
  return { writes: Math.floor(areas / 2), bytesEach: AREA_BYTES, next };
};

const PATTERNS: readonly (readonly [string, Pattern])[] = [
  ['sequential', sequential],
  ['uniform', uniform],
  ['skewed', skewed],
];

interface Slab {
  readonly device: Device;
  readonly activityRow: number;
  /** Numbers of nodes. */
  readonly nodes: readonly number[];
  readonly isPageUsed: Uint8Array;
  areasUsed: number;
  pagesUsed: number;
}

const pagesBytes = ({ pagesUsed }: Slab): number => pagesUsed * PAGE_BYTES;
const areasBytes = ({ areasUsed }: Slab): number => areasUsed * AREA_BYTES;

/** Nodes as hosts know them: as they were at the last look. */
class Nodes {
  readonly used: number[];
  told: readonly SlabNode[] = [];
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
    this.used = Array.from({ length: NODES }, () => {
      return NODE_BYTES * (LOCAL[0] + (LOCAL[1] - LOCAL[0]) * prng.fraction());
    });
    this.look();
  }

  look(): void {
    this.told = this.used.map((bytes, i) => ({
      ...{ id: `${i}`, memoryId: 1, machine: `${i}`, isServing: true, isLeaving: false },
      ...{ bytesLent: NODE_BYTES, bytesFree: NODE_BYTES - bytes, bytesCommitted: bytes },
    }));
  }

  take(node: number, bytes: number): void {
    this.used[node] = (this.used[node] as number) + bytes;
  }

  /** For a copy beside others, at one of these. */
  choose(beside: readonly number[], lease: ReadonlySet<string>): number {
    const places = beside.map((node): CopyPlace => {
      return { copy: 1, node: `${node}`, memoryId: 1, space: 1, address: 0 };
    });
    const nodes = this.told.filter(({ id }) => lease.has(id));
    const chosen = chooseNode(nodes, places, new Set(), bestFreeOfTwo, this.#prng);
    return Number(chosen?.id);
  }
}

class Device {
  readonly slabBytes: number;
  readonly plan: SlabPlan;
  /** Those that were written to, by their numbers. */
  readonly #slabs: (Slab | undefined)[];
  readonly activity: Activity;
  readonly lease: ReadonlySet<string>;
  readonly #nodes: Nodes;
  readonly #writer: Writer;
  readonly #isAreaUsed: Uint8Array;
  #written = 0;

  constructor(bytes: number, slabBytes: number, pattern: Pattern, nodes: Nodes, prng: Prng) {
    this.slabBytes = slabBytes;
    this.plan = planOf(bytes, slabBytes);
    this.activity = new Activity(this.plan.layout.blocks, 0);
    this.lease = new Set(leaseNodes(nodes.told, [], prng));
    this.#nodes = nodes;
    this.#writer = pattern(bytes / AREA_BYTES, prng);
    this.#isAreaUsed = new Uint8Array(bytes / AREA_BYTES);
    this.#slabs = Array.from({ length: this.plan.count }, () => undefined);
  }

  get slabs(): Slab[] {
    return this.#slabs.filter((slab) => slab !== undefined);
  }

  get bytesWritten(): number {
    // What is written whole is written once.
    if (this.#writer.bytesEach < AREA_BYTES) return this.#written * this.#writer.bytesEach;
    return sumOf(this.slabs.map(areasBytes));
  }

  /** What is written until then. */
  writeUntil(second: number): void {
    const until = Math.floor((this.#writer.writes * second) / SECONDS);
    for (; this.#written < until; this.#written++) this.#write(this.#writer.next());
    this.activity.look(second * 1000);
  }

  #write(at: number): void {
    const { areas } = this.plan.layout;
    const number = Math.floor(at / areas);
    const slab = this.#slabs[number] ?? this.#take(number);
    this.activity.written(slab.activityRow, this.#writer.bytesEach / BLOCK_BYTES);
    if (this.#isAreaUsed[at] === 1) return;
    this.#isAreaUsed[at] = 1;
    slab.areasUsed += 1;
    this.#touch(slab, Math.floor(((at - number * areas) * AREA_BYTES) / PAGE_BYTES));
  }

  #touch(slab: Slab, page: number): void {
    if (slab.isPageUsed[page] === 1) return;
    slab.isPageUsed[page] = 1;
    slab.pagesUsed += 1;
    for (const node of slab.nodes) this.#nodes.take(node, PAGE_BYTES);
  }

  #take(number: number): Slab {
    const nodes: number[] = [];
    while (nodes.length < COPIES) nodes.push(this.#nodes.choose(nodes, this.lease));
    const made: Slab = {
      ...{ device: this, activityRow: this.activity.add(), nodes, areasUsed: 0, pagesUsed: 0 },
      isPageUsed: new Uint8Array(this.slabBytes / PAGE_BYTES),
    };
    for (const page of ownPages(this.slabBytes, PAGE_BYTES)) this.#touch(made, page);
    this.#slabs[number] = made;
    return made;
  }
}

interface Figures {
  /** Bytes of memory for each that was written, of one copy. */
  readonly taken: number;
  /** Bytes that nodes have allocated for each that is taken. */
  readonly allocated: number;
  readonly deviation: number;
  readonly rows: number;
  readonly loss: Loss;
  readonly eviction: Eviction;
}

function play(pattern: Pattern, slabBytes: (bytes: number) => number, seed: number): Figures {
  const prng = new Prng(seed);
  const nodes = new Nodes(prng);
  const devices = DEVICES_GIB.map((size) => {
    const bytes = size * GiB;
    return new Device(bytes, slabBytes(bytes), pattern, nodes, prng);
  });
  for (let second = 1; second <= SECONDS; second++) {
    for (const device of devices) device.writeUntil(second);
    nodes.look();
  }
  const slabs = devices.flatMap((device) => device.slabs);
  const taken = sumOf(slabs.map(pagesBytes));
  const deviation = deviationOf(nodes.used);
  const all = Array.from({ length: NODES }, (_, node) => node);
  const losses = all.map((node) => lose(node, slabs, nodes));
  const evictions = all.flatMap((node) => evict(node, slabs, prng) ?? []);
  return {
    taken: taken / sumOf(devices.map(({ bytesWritten }) => bytesWritten)),
    allocated: sumOf(slabs.map(({ device }) => device.slabBytes)) / taken,
    ...{ deviation, rows: slabs.length },
    loss: meanOf(losses),
    eviction: meanOf(evictions),
  };
}

function deviationOf(used: readonly number[]): number {
  const shares = used.map((bytes) => (100 * bytes) / NODE_BYTES);
  const middle = sumOf(shares) / NODES;
  return Math.sqrt(sumOf(shares.map((share) => (share - middle) ** 2)) / NODES);
}

interface Loss {
  readonly bytes: number;
  /** Nodes that give or take some of it. */
  readonly sharing: number;
  /** Percent of what all these do, at the one that does most. */
  readonly busiest: number;
}

/** Each copy that was there is made again at another node, from the one that is left. */
function lose(lost: number, slabs: readonly Slab[], nodes: Nodes): Loss {
  const work = new Float64Array(NODES);
  const before = [...nodes.used];
  let bytes = 0;
  let unseen = 0;
  for (const slab of slabs) {
    const [source] = slab.nodes.filter((node) => node !== lost);
    if (source === undefined || !slab.nodes.includes(lost)) continue;
    const lease = new Set([...slab.device.lease].filter((id) => Number(id) !== lost));
    const target = nodes.choose([source], lease);
    nodes.take(target, pagesBytes(slab));
    unseen += areasBytes(slab);
    if (unseen >= LOOK_BYTES) {
      nodes.look();
      unseen = 0;
    }
    for (const node of [source, target]) work[node] = (work[node] as number) + areasBytes(slab);
    bytes += areasBytes(slab);
  }
  nodes.used.splice(0, NODES, ...before);
  nodes.look();
  const sharing = work.filter((one) => one > 0).length;
  return { bytes, sharing, busiest: (100 * Math.max(...work)) / Math.max(1, 2 * bytes) };
}

interface Eviction {
  /** For each byte that is copied away. */
  readonly freed: number;
  /** For each byte that is wanted. */
  readonly beyond: number;
  /** Of what went, in percent of what as much memory is used in the mean. */
  readonly use: number;
}

/** Rounds as a node makes them, until it has what it wants; undefined: copies have little of it. */
function evict(node: number, slabs: readonly Slab[], prng: Prng): Eviction | undefined {
  const all = slabs.filter(({ nodes }) => nodes.includes(node));
  const whole = { bytes: sumOf(all.map(pagesBytes)), use: sumOf(all.map(useOf)) };
  if (whole.bytes < 2 * WANTED_BYTES) return undefined;
  const gone = { bytes: 0, copied: 0, use: 0 };
  while (gone.bytes < WANTED_BYTES && all.length > 0) {
    const wanted = WANTED_BYTES - gone.bytes;
    const mean = sumOf(all.map(({ device }) => device.slabBytes)) / all.length;
    const most = Math.min(GOING_MAX, Math.ceil(wanted / mean));
    const asked = sample(all.length, most + SAMPLED_BEYOND, prng);
    const told = asked.map((index) => {
      const slab = all[index] as Slab;
      const activity = slab.device.activity.toldOf(slab.activityRow);
      return { bytes: pagesBytes(slab), activity };
    });
    const going = coldest(told, wanted, GOING_MAX).map((index) => all[asked[index] as number]);
    for (const slab of going as Slab[]) {
      gone.bytes += pagesBytes(slab);
      gone.copied += areasBytes(slab);
      gone.use += useOf(slab);
      all.splice(all.indexOf(slab), 1);
    }
  }
  return {
    freed: gone.bytes / gone.copied,
    beyond: gone.bytes / WANTED_BYTES,
    use: (100 * (gone.use / whole.use)) / (gone.bytes / whole.bytes),
  };
}

/** Accesses in a second. */
const useOf = ({ device, activityRow }: Slab): number =>
  device.activity.rateOf(activityRow) * device.plan.layout.blocks;

const sumOf = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0);

function meanOf<T extends { readonly [K in keyof T]: number }>(all: readonly T[]): T {
  const keys = Object.keys(all[0] ?? {}) as (keyof T)[];
  const means = keys.map((key) => [key, sumOf(all.map((one) => one[key])) / all.length] as const);
  return Object.fromEntries(means) as T;
}

function rowFor(side: string, turns: readonly Figures[]): Row {
  const of = (figure: (one: Figures) => number): number => spread(turns.map(figure)).median;
  return {
    side,
    value: spread(turns.map(({ taken }) => taken)),
    cpuPerOperation: NOTHING,
    extra: {
      'allocated x': of(({ allocated }) => allocated),
      deviation: of(({ deviation }) => deviation),
      rows: of(({ rows }) => rows),
      'lost GiB': of(({ loss }) => loss.bytes / GiB),
      'nodes that help': of(({ loss }) => loss.sharing),
      'busiest %': of(({ loss }) => loss.busiest),
      'freed x': of(({ eviction }) => eviction.freed),
      'of wanted x': of(({ eviction }) => eviction.beyond),
      'use %': of(({ eviction }) => eviction.use),
    },
  };
}

export function slabSize(rounds: number): Promise<Result> {
  const seeds = Array.from({ length: rounds }, (_, i) => 1 + i);
  const rows = PATTERNS.flatMap(([how, pattern]) =>
    SIZES.map(([size, slabBytes]) => {
      return rowFor(
        `${how}, ${size}`,
        seeds.map((seed) => play(pattern, slabBytes, seed)),
      );
    }),
  );
  return Promise.resolve({
    bench: 'slab-size',
    what:
      `${DEVICES_GIB.length} devices, two copies, ${NODES} simulated nodes of 64 GiB: ` +
      'memory of a copy for each byte written',
    unit: 'bytes',
    rows,
    comparisons: [],
    notes: [
      'sequential: from the beginning, to 80 %',
      'uniform: single blocks anywhere, one in 128',
      'skewed: extents of 16 MiB by a power law, half of what the device has',
      'by device: the default, by its size',
      'allocated: for each byte that is taken; rows: at the controller',
      'deviation: of what is used of the nodes, in percentage points',
      'lost: with a node, to be copied; help: nodes that give or take some; busiest: its share',
      `freed, of wanted: a node wants ${WANTED_BYTES / GiB} GiB back; for each byte copied, wanted`,
      'use: of what went so, in percent of what as much memory is used in the mean',
    ],
  });
}
