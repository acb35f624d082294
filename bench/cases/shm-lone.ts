/**
 * Lone 64-byte operations on memory of this machine: what a program waits for one of them, without
 * a node (shm), and by messages through shared memory (ring) and loopback (tcp).
 */

import { connect, type Rack, type Space } from '../../src/apps/library.js';
import {
  alternate,
  compare,
  compareTo,
  type Measured,
  quantileOf,
  type Result,
  rowOf,
  type Side,
} from '../harness.js';
import { openLmdb } from '../peers/lmdb.js';
import { startRingRack } from '../peers/ring-rack.js';
import { type BenchRack, measured, startRack } from '../rack.js';

const OPERATIONS = 200_000;
const OPERATIONS_BY_MESSAGE = 10_000;
export const BYTES = 64;
/** 1 MiB of values. */
export const KEYS = 2 ** 14;
/** From one to the next: neither in order nor in the cache lines that were fetched ahead. */
const STRIDE = 7919;
const MICROSECOND = { name: '1 us', value: 1 };

/** The key of the `i`th operation. */
export function keyOf(i: number): number {
  return (i * STRIDE) & (KEYS - 1);
}

/** A space with 64 bytes for each key, all written. */
export async function filledSpace(memrack: Rack): Promise<{ space: Space; at: number }> {
  const space = await memrack.space('bench', { create: true });
  const at = await space.alloc(KEYS * BYTES);
  await space.write(at, new Uint8Array(KEYS * BYTES).fill(7));
  return { space, at };
}

type Operation = (i: number) => Promise<unknown>;

/** The median of each turn; what the clock itself takes is in it. */
function lone(name: string, rack: BenchRack, operations: number, operation: Operation): Side {
  const latencies = new Float64Array(operations);
  return {
    name,
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured(rack, operations, async () => {
        for (let i = 0; i < operations; i += 1) {
          const before = performance.now();
          await operation(i);
          latencies[i] = performance.now() - before;
        }
      });
      return turnOf(latencies, wallMs, cpuPerOperation);
    },
  };
}

function turnOf(latencies: Float64Array, wallMs: number, cpuPerOperation: number) {
  latencies.sort();
  return {
    value: quantileOf(latencies, 0.5) * 1000,
    cpuPerOperation,
    extra: {
      mean: (wallMs * 1000) / latencies.length,
      p99: quantileOf(latencies, 0.99) * 1000,
    },
  };
}

function shmSides(rack: BenchRack, space: Space, at: number): Side[] {
  const bytes = new Uint8Array(BYTES).fill(7);
  const placeOf = (i: number): number => at + keyOf(i) * BYTES;
  let last = 0n;
  const sides: [string, Operation][] = [
    ['shm read', (i) => space.read(placeOf(i), bytes)],
    ['shm write', (i) => space.write(placeOf(i), bytes)],
    ['shm fetchAndAdd', () => space.fetchAndAdd(at, 1n)],
    [
      'shm compareAndSwap',
      async () => {
        last = await space.compareAndSwap(at, last, last + 1n);
      },
    ],
  ];
  return sides.map(([name, operation]) => lone(name, rack, OPERATIONS, operation));
}

function readBy(name: string, rack: BenchRack, space: Space, at: number): Side {
  const target = new Uint8Array(BYTES);
  const read: Operation = (i) => space.read(at + keyOf(i) * BYTES, target);
  return lone(name, rack, OPERATIONS_BY_MESSAGE, read);
}

async function lmdbSide(): Promise<{ side: Side; close: () => Promise<void> }> {
  const store = await openLmdb(KEYS, BYTES);
  const latencies = new Float64Array(OPERATIONS);
  const turn = async () => {
    const { wallMs, cpuPerOperation } = await measured([], OPERATIONS, async () => {
      for (let i = 0; i < OPERATIONS; i += 1) {
        const before = performance.now();
        store.get(keyOf(i));
        latencies[i] = performance.now() - before;
      }
    });
    return turnOf(latencies, wallMs, cpuPerOperation);
  };
  return { side: { name: 'LMDB get', turn }, close: () => store.close() };
}

export async function shmLone(rounds: number): Promise<Result> {
  const racks = [await startRack({ nodes: 1, memory: '256MiB' }), await startRingRack(2 ** 28)];
  const [rack, ringRack] = racks as [BenchRack, BenchRack];
  const clients = [
    await connect(rack.url, { link: 'shm' }),
    await connect(rack.url, { link: 'tcp' }),
    await connect(ringRack.url, { link: 'tcp' }),
  ];
  const [shm, tcp, ring] = clients as [Rack, Rack, Rack];
  const lmdb = await lmdbSide();
  try {
    const { space, at } = await filledSpace(shm);
    const byTcp = await tcp.space('bench');
    const byRing = await filledSpace(ring);
    const sides = [
      ...shmSides(rack, space, at),
      readBy('ring read', ringRack, byRing.space, byRing.at),
      readBy('tcp read', rack, byTcp, at),
      lmdb.side,
    ];
    const turns = await alternate(sides, rounds);
    const of = (i: number): Measured => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'shm-lone',
      what: `${BYTES} B, one at a time, ${KEYS} keys; median microseconds of each turn`,
      unit: 'us',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [
        ...[0, 1, 2, 3].map((i) => compareTo(of(i), MICROSECOND, { atMost: 1 })),
        ...[4, 5, 6].map((peer) => compare(of(0), of(peer), {})),
      ],
      notes: [`${clockNs()} ns of every figure are the clock's own`],
    };
  } finally {
    await lmdb.close();
    for (const client of clients) await client.close();
    for (const one of racks) await one.close();
  }
}

/** What two looks at the clock take that follow each other. */
function clockNs(): number {
  const gaps = new Float64Array(100_000);
  for (let i = 0; i < gaps.length; i += 1) {
    const before = performance.now();
    gaps[i] = performance.now() - before;
  }
  return Math.round(quantileOf(gaps.sort(), 0.5) * 1e6);
}
