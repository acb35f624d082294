/** Loads of small and of large operations, the same for every link that is compared. */

import type { Space } from '../src/apps/library.js';
import type { Side } from './harness.js';
import { type BenchRack, measured } from './rack.js';

/** As `redis-benchmark -P 16 -c 50` keeps 800 requests in flight. */
export const IN_FLIGHT = 800;
const BATCH = 200;
const WORD_BYTES = 64;

export interface Place {
  readonly space: Space;
  readonly at: number;
}

/** So many small operations, 800 in flight: each awaited, or in batches of 200. */
export type SmallLoad = (place: Place, operations: number) => Promise<void>;

/** As many lanes as operations in flight; each awaits its operation before the next. */
async function lanes(
  operations: number,
  one: (lane: number) => () => Promise<unknown>,
): Promise<void> {
  const run = async (lane: number): Promise<void> => {
    const operation = one(lane);
    for (let i = lane; i < operations; i += IN_FLIGHT) await operation();
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, lane) => run(lane)));
}

async function batches(
  operations: number,
  one: (first: number) => () => Promise<unknown>,
): Promise<void> {
  const run = async (lane: number): Promise<void> => {
    const batch = one(lane * BATCH);
    for (let i = lane * BATCH; i < operations; i += IN_FLIGHT) await batch();
  };
  await Promise.all(Array.from({ length: IN_FLIGHT / BATCH }, (_, lane) => run(lane)));
}

export const readEach: SmallLoad = ({ space, at }, operations) =>
  lanes(operations, (lane) => {
    const target = new Uint8Array(WORD_BYTES);
    return () => space.read(at + lane * WORD_BYTES, target);
  });

export const writeEach: SmallLoad = ({ space, at }, operations) =>
  lanes(operations, (lane) => {
    const bytes = new Uint8Array(WORD_BYTES).fill(lane);
    return () => space.write(at + lane * WORD_BYTES, bytes);
  });

export const addEach: SmallLoad = ({ space, at }, operations) =>
  lanes(operations, (lane) => () => space.fetchAndAdd(at + lane * WORD_BYTES, 1n));

export const readBatches: SmallLoad = ({ space, at }, operations) =>
  batches(operations, (first) => {
    const items = Array.from({ length: BATCH }, (_, i) => ({
      at: at + (first + i) * WORD_BYTES,
      into: new Uint8Array(WORD_BYTES),
    }));
    return () => space.readMany(items);
  });

export const writeBatches: SmallLoad = ({ space, at }, operations) =>
  batches(operations, (first) => {
    const items = Array.from({ length: BATCH }, (_, i) => ({
      at: at + (first + i) * WORD_BYTES,
      from: new Uint8Array(WORD_BYTES).fill(i),
    }));
    return () => space.writeMany(items);
  });

/** A side whose figure is operations, or bytes, per second. */
export function rated(
  name: string,
  rack: BenchRack,
  operations: number,
  work: () => Promise<void>,
  bytesPerOperation = 1,
): Side {
  return {
    name,
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured(rack, operations, work);
      return { value: (operations * bytesPerOperation) / (wallMs / 1000), cpuPerOperation };
    },
  };
}

const MIB = 2 ** 20;
const LARGE_LANES = 4;

/** 1 MiB each, four in flight, over `places` MiB. */
export async function readLarge({ space, at }: Place, reads: number, places: number) {
  const run = async (lane: number): Promise<void> => {
    const target = new Uint8Array(MIB);
    for (let i = lane; i < reads; i += LARGE_LANES) {
      await space.read(at + (i % places) * MIB, target);
    }
  };
  await Promise.all(Array.from({ length: LARGE_LANES }, (_, lane) => run(lane)));
}

export async function writeLarge({ space, at }: Place, writes: number, places: number) {
  const run = async (lane: number): Promise<void> => {
    const bytes = new Uint8Array(MIB).fill(lane);
    for (let i = lane; i < writes; i += LARGE_LANES) {
      await space.write(at + (i % places) * MIB, bytes);
    }
  };
  await Promise.all(Array.from({ length: LARGE_LANES }, (_, lane) => run(lane)));
}
