/** Reads of 1 MiB, a few in flight: how much of a plain TCP stream is left. */

import { connect } from '../../src/apps/library.js';
import { alternate, compare, has, type Result, rowOf, type Side } from '../harness.js';
import { iperf } from '../peers/iperf.js';
import { measured, startRack } from '../rack.js';

const MIB = 2 ** 20;
const READS = 3_000;
const LANES = 4;

export async function largeRead(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'tcp' });
  const space = await memrack.space('bench', { create: true });
  const at = await space.alloc(64 * MIB);
  const bytes = new Uint8Array(MIB).fill(7);
  for (let i = 0; i < 64; i += 1) await space.write(at + i * MIB, bytes);
  const ours: Side = {
    name: 'memrack read, 1 MiB',
    turn: async () => {
      const one = async (lane: number): Promise<void> => {
        const target = new Uint8Array(MIB);
        for (let i = lane; i < READS; i += LANES) await space.read(at + (i % 64) * MIB, target);
      };
      const { wallMs, cpuPerOperation } = await measured(rack, READS, async () => {
        await Promise.all(Array.from({ length: LANES }, (_, lane) => one(lane)));
      });
      return { value: (READS * MIB) / (wallMs / 1000), cpuPerOperation };
    },
  };
  try {
    const sides = has('iperf3') ? [ours, iperf(1)] : [ours];
    const turns = await alternate(sides, rounds);
    const peer = sides[1];
    return {
      bench: 'large-read',
      what: '1 MiB reads, four in flight, tcp over loopback, checksums on; bytes per second',
      unit: 'B/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons:
        peer === undefined
          ? []
          : [
              compare(
                { side: ours, turns: turns[0] ?? [] },
                { side: peer, turns: turns[1] ?? [] },
                { atLeast: 0.8 },
              ),
            ],
      notes: peer === undefined ? ['iperf3 is missing: not compared'] : [],
    };
  } finally {
    await memrack.close();
    await rack.close();
  }
}
