/** A number that two processes say to each other through memory, each looking until it changes. */

import { connect } from '../../src/apps/library.js';
import {
  alternate,
  compare,
  type Measured,
  quantileOf,
  type Result,
  rowOf,
  type Side,
} from '../harness.js';
import { startPartner } from '../peers/partner.js';
import { sharedTurn, type SharedWork } from '../peers/shared-buffer.js';
import { measured, startRack } from '../rack.js';

const TRIPS = 50_000;
const SHARED_TRIPS = 1_000_000;
const WAKES = 20_000;

function sharedSide(name: string, work: SharedWork, trips: number): Side {
  return {
    name,
    turn: async () => {
      const { ns, cpuNs } = sharedTurn(work, trips);
      return { value: ns / 1000, cpuPerOperation: cpuNs / 1000 };
    },
  };
}

export async function shmPing(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'shm' });
  const partner = await startPartner('echo', rack.url, 0);
  try {
    const space = await memrack.space('bench', { create: true });
    const latencies = new Float64Array(TRIPS);
    const word = new Float64Array(1);
    const bytes = new Uint8Array(word.buffer);
    const trips = async (at: number): Promise<void> => {
      for (let i = 1; i <= TRIPS; i += 1) {
        const before = performance.now();
        word[0] = i;
        await space.write(at, bytes);
        do await space.read(at + 64, bytes);
        while (word[0] !== i);
        latencies[i - 1] = performance.now() - before;
      }
    };
    const ours: Side = {
      name: 'two processes, shm',
      turn: async () => {
        // Another place each time: it begins with zeros, and the first touch is not measured.
        const at = await space.alloc(128);
        await space.write(at, new Uint8Array(128));
        const echoed = partner.ask({ link: 'shm', at, last: TRIPS });
        const { wallMs, cpuPerOperation } = await measured([partner.pid], TRIPS, () => trips(at));
        await echoed;
        await space.free(at);
        latencies.sort();
        const mean = (wallMs * 1000) / TRIPS;
        const p99 = quantileOf(latencies, 0.99) * 1000;
        return { value: quantileOf(latencies, 0.5) * 1000, cpuPerOperation, extra: { mean, p99 } };
      },
    };
    const sides = [
      ours,
      sharedSide('two threads, SharedArrayBuffer', 'ping', SHARED_TRIPS),
      sharedSide('the same, asleep: Atomics.wait', 'wake', WAKES),
    ];
    const turns = await alternate(sides, rounds);
    const of = (i: number): Measured => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'shm-ping',
      what: 'a word there and another back, both sides polling; microseconds',
      unit: 'us',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [1, 2].map((peer) => compare(of(0), of(peer), {})),
      notes: [
        'ours is the median of the trips of a turn, theirs the mean',
        'a trip of ours is at least one write and one read on each side, one after the other',
      ],
    };
  } finally {
    partner.close();
    await memrack.close();
    await rack.close();
  }
}
