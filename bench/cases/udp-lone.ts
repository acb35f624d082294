/** 64-byte operations, one at a time, over udp and over tcp in turn. */

import { alternate, quantileOf, type Result, rowOf, type Side } from '../harness.js';
import type { Place } from '../loads.js';
import { type BenchRack, measured } from '../rack.js';
import { comparePairs, startTwoLinks } from '../two-links.js';

const OPERATIONS = 30_000;

/** One operation after the other; the figure is the median of their times. */
function lone(name: string, rack: BenchRack, one: () => Promise<unknown>): Side {
  const latencies = new Float64Array(OPERATIONS);
  return {
    name,
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured(rack, OPERATIONS, async () => {
        for (let i = 0; i < OPERATIONS; i += 1) {
          const before = performance.now();
          await one();
          latencies[i] = performance.now() - before;
        }
      });
      latencies.sort();
      return {
        value: quantileOf(latencies, 0.5) * 1000,
        cpuPerOperation,
        extra: { mean: (wallMs * 1000) / OPERATIONS, p99: quantileOf(latencies, 0.99) * 1000 },
      };
    },
  };
}

export async function udpLone(rounds: number): Promise<Result> {
  const links = await startTwoLinks(2 ** 16);
  const bytes = new Uint8Array(64).fill(7);
  const both = (name: string, one: (place: Place) => Promise<unknown>): Side[] => [
    lone(`udp, ${name}`, links.rack, () => one(links.udp)),
    lone(`tcp, ${name}`, links.rack, () => one(links.tcp)),
  ];
  try {
    const sides = [
      ...both('read', ({ space, at }) => space.read(at, bytes)),
      ...both('write', ({ space, at }) => space.write(at, bytes)),
      ...both('fetchAndAdd', ({ space, at }) => space.fetchAndAdd(at, 1n)),
    ];
    const turns = await alternate(sides, rounds);
    return {
      bench: 'udp-lone',
      what: '64 B, one at a time, udp against tcp over loopback; median microseconds of each turn',
      unit: 'us',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: comparePairs(sides, turns, { atMost: 1 }),
      notes: [],
    };
  } finally {
    await links.close();
  }
}
