/** Reads and writes of 1 MiB without the node, against a plain copy between mapped buffers. */

import { connect, type Space } from '../../src/apps/library.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { alternate, compare, type Measured, type Result, rowOf, type Side } from '../harness.js';
import { measured, startRack } from '../rack.js';

const MIB = 2 ** 20;
const OPERATIONS = 1_000;
/** Four times the largest cache that these machines have. */
const COLD_MIB = 128;

type Operation = (offset: number) => Promise<unknown> | undefined;

function bandwidth(name: string, places: number, operation: Operation): Side {
  return {
    name,
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured([], OPERATIONS, async () => {
        for (let i = 0; i < OPERATIONS; i += 1) {
          const pending = operation((i % places) * MIB);
          if (pending !== undefined) await pending;
        }
      });
      return { value: (OPERATIONS * MIB) / (wallMs / 1000), cpuPerOperation };
    },
  };
}

/** Pairs: ours, and the plain copy in the same direction. */
function sidesOf(space: Space, at: number): Side[] {
  const { memory } = createRuntime();
  const far = memory.create('memrack-bench-far', COLD_MIB * MIB).map(0, COLD_MIB * MIB).bytes;
  const near = memory.create('memrack-bench-near', MIB).map(0, MIB).bytes;
  far.fill(7);
  near.fill(7);
  const own = new Uint8Array(MIB).fill(7);
  const copyFrom: Operation = (offset) => void memory.copy(near, 0, far, offset, MIB);
  const copyTo: Operation = (offset) => void memory.copy(far, offset, near, 0, MIB);
  const read: Operation = (offset) => space.read(at + offset, own);
  const write: Operation = (offset) => space.write(at + offset, own);
  return [
    bandwidth('read, hot', 1, read),
    bandwidth('copy, hot', 1, copyFrom),
    bandwidth('read, cold', COLD_MIB, read),
    bandwidth('copy from cold', COLD_MIB, copyFrom),
    bandwidth('write, hot', 1, write),
    bandwidth('copy back, hot', 1, copyTo),
    bandwidth('write, cold', COLD_MIB, write),
    bandwidth('copy to cold', COLD_MIB, copyTo),
  ];
}

export async function shmLarge(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '512MiB' });
  const memrack = await connect(rack.url, { link: 'shm' });
  try {
    const space = await memrack.space('bench', { create: true });
    const at = await space.alloc(COLD_MIB * MIB);
    const bytes = new Uint8Array(MIB).fill(7);
    for (let i = 0; i < COLD_MIB; i += 1) await space.write(at + i * MIB, bytes);
    const sides = sidesOf(space, at);
    const turns = await alternate(sides, rounds);
    const of = (i: number): Measured => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'shm-large',
      what: '1 MiB at a time, without the node; bytes per second',
      unit: 'B/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [0, 2, 4, 6].map((i) => compare(of(i), of(i + 1), { atLeast: 0.8 })),
      notes: [
        `hot: the same MiB each time; cold: ${COLD_MIB} in turn, at the rack's side; ` +
          "the program's is one",
      ],
    };
  } finally {
    await memrack.close();
    await rack.close();
  }
}
