/** Reads and writes of 1 MiB, four in flight, over udp and over tcp in turn. */

import { alternate, type Result, rowOf, type Side } from '../harness.js';
import { rated, readLarge, writeLarge } from '../loads.js';
import { comparePairs, startTwoLinks } from '../two-links.js';

const MIB = 2 ** 20;
const PLACES = 64;
const OPERATIONS = 800;

export async function udpLarge(rounds: number): Promise<Result> {
  const links = await startTwoLinks(PLACES * MIB);
  const { rack } = links;
  const both = (name: string, load: typeof readLarge): Side[] => [
    rated(`udp, ${name}`, rack, OPERATIONS, () => load(links.udp, OPERATIONS, PLACES), MIB),
    rated(`tcp, ${name}`, rack, OPERATIONS, () => load(links.tcp, OPERATIONS, PLACES), MIB),
  ];
  try {
    const sides = [...both('reads', readLarge), ...both('writes', writeLarge)];
    const turns = await alternate(sides, rounds);
    return {
      bench: 'udp-large',
      what: '1 MiB, four in flight, udp against tcp over loopback; bytes per second',
      unit: 'B/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: comparePairs(sides, turns, { atLeast: 0.8 }),
      notes: [],
    };
  } finally {
    await links.close();
  }
}
