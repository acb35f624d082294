/** 64-byte operations per second of one thread on memory of this machine, without its node. */

import { connect, type Space } from '../../src/apps/library.js';
import {
  alternate,
  compare,
  compareTo,
  type Measured,
  type Result,
  rowOf,
  type Side,
} from '../harness.js';
import { openLmdb } from '../peers/lmdb.js';
import { sharedRate } from '../peers/shared-buffer.js';
import { measured, startRack } from '../rack.js';
import { BYTES, filledSpace, keyOf, KEYS } from './shm-lone.js';

const OPERATIONS = 600_000;
const BATCH = 200;
const SHARED_OPERATIONS = 5_000_000;
const AWAITED = { name: '1.5 M/s', value: 1.5e6 };
const BATCHED = { name: '3 M/s', value: 3e6 };

type Work = () => Promise<void>;

/** Processor time is that of this process: the node takes no part. */
function rate(name: string, work: Work): Side {
  return {
    name,
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured([], OPERATIONS, work);
      return { value: OPERATIONS / (wallMs / 1000), cpuPerOperation };
    },
  };
}

function ours(space: Space, at: number): Side[] {
  const bytes = new Uint8Array(BYTES).fill(7);
  // As a program does that has used the values of one call before the next.
  const values = Array.from({ length: BATCH }, () => new Uint8Array(BYTES).fill(7));
  const batches = Array.from({ length: KEYS / BATCH }, (_, batch) =>
    values.map((value, i) => {
      return { at: at + keyOf(batch * BATCH + i) * BYTES, into: value, from: value };
    }),
  );
  const each = (start: (i: number) => Promise<unknown>) => async (): Promise<void> => {
    for (let i = 0; i < OPERATIONS; i += 1) await start(i);
  };
  const many = (start: (items: (typeof batches)[number]) => Promise<unknown>): Work => {
    return async () => {
      for (let i = 0; i < OPERATIONS / BATCH; i += 1) {
        await start(batches[i % batches.length] as (typeof batches)[number]);
      }
    };
  };
  return [
    rate(
      'read, each awaited',
      each((i) => space.read(at + keyOf(i) * BYTES, bytes)),
    ),
    rate(
      'write, each awaited',
      each((i) => space.write(at + keyOf(i) * BYTES, bytes)),
    ),
    rate(
      'readMany',
      many((items) => space.readMany(items)),
    ),
    rate(
      'writeMany',
      many((items) => space.writeMany(items)),
    ),
    rate(
      'fetchAndAdd, each awaited',
      each(() => space.fetchAndAdd(at, 1n)),
    ),
  ];
}

export async function shmRate(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'shm' });
  const store = await openLmdb(KEYS, BYTES);
  const get = rate('LMDB get', async () => {
    for (let i = 0; i < OPERATIONS; i += 1) store.get(keyOf(i));
  });
  const shared = (['copy', 'atomic copy', 'add'] as const).map((work) => ({
    name: `SharedArrayBuffer, ${work}`,
    turn: async () => sharedRate(work, SHARED_OPERATIONS),
  }));
  try {
    const { space, at } = await filledSpace(memrack);
    const sides = [...ours(space, at), get, ...shared];
    const turns = await alternate(sides, rounds);
    const of = (i: number): Measured => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'shm-rate',
      what: `${BYTES} B, ${KEYS} keys, one thread, nothing else in flight; operations per second`,
      unit: '/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [
        ...[0, 1].map((i) => compareTo(of(i), AWAITED, { atLeast: 1 })),
        ...[2, 3].map((i) => compareTo(of(i), BATCHED, { atLeast: 1 })),
        ...[0, 2].map((i) => compare(of(i), of(5), {})),
        ...[0, 2].map((i) => compare(of(i), of(6), {})),
        compare(of(4), of(8), {}),
      ],
      notes: [
        'LMDB answers at once, without a promise; many gets share one transaction',
        `readMany and writeMany take ${BATCH} at a time, all keys in turn, ${BATCH} arrays`,
      ],
    };
  } finally {
    await store.close();
    await memrack.close();
    await rack.close();
  }
}
