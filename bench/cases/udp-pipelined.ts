/** 64-byte operations, 800 in flight, over udp and over tcp in turn. */

import { alternate, type Result, rowOf, type Side } from '../harness.js';
import {
  addEach,
  rated,
  readBatches,
  readEach,
  type SmallLoad,
  writeBatches,
  writeEach,
} from '../loads.js';
import { comparePairs, startTwoLinks } from '../two-links.js';

const OPERATIONS = 200_000;

export async function udpPipelined(rounds: number): Promise<Result> {
  const links = await startTwoLinks(2 ** 17);
  const both = (name: string, load: SmallLoad): Side[] => [
    rated(`udp, ${name}`, links.rack, OPERATIONS, () => load(links.udp, OPERATIONS)),
    rated(`tcp, ${name}`, links.rack, OPERATIONS, () => load(links.tcp, OPERATIONS)),
  ];
  try {
    const sides = [
      ...both('reads, each awaited', readEach),
      ...both('readMany', readBatches),
      ...both('writes, each awaited', writeEach),
      ...both('writeMany', writeBatches),
      ...both('fetchAndAdd, each awaited', addEach),
    ];
    const turns = await alternate(sides, rounds);
    return {
      bench: 'udp-pipelined',
      what: '64 B, 800 in flight, udp against tcp over loopback; operations per second',
      unit: '/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: comparePairs(sides, turns, { atLeast: 0.8 }),
      notes: [],
    };
  } finally {
    await links.close();
  }
}
