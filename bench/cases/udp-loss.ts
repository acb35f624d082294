/** Goodput over udp when datagrams are lost, in both directions, against none lost. */

import { connectRack } from '../../src/client/rack.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { alternate, compare, type Goal, type Result, rowOf, type Side } from '../harness.js';
import { type Place, rated, readBatches, readLarge, writeBatches } from '../loads.js';
import { LossyNetwork } from '../lossy-network.js';
import { startRack } from '../rack.js';

const MIB = 2 ** 20;
const PLACES = 16;
const SEED = 20;
const LOSSES = [0, 1000, 10_000, 50_000];
/** What one loss in a hundred may cost. */
const GOALS: Readonly<Record<number, Goal>> = { 10_000: { atLeast: 0.7 } };

interface Load {
  readonly name: string;
  readonly operations: number;
  readonly bytes: number;
  readonly run: (place: Place, operations: number) => Promise<void>;
}

const LOADS: readonly Load[] = [
  { name: 'readMany of 64 B', operations: 150_000, bytes: 64, run: readBatches },
  { name: 'writeMany of 64 B', operations: 150_000, bytes: 64, run: writeBatches },
  {
    name: 'reads of 1 MiB',
    operations: 400,
    bytes: MIB,
    run: (place, reads) => readLarge(place, reads, PLACES),
  },
];

export async function udpLoss(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const runtime = createRuntime({ source: 'bench', logLevel: 'warn' });
  const network = new LossyNetwork(runtime.network, SEED);
  const memrack = await connectRack({ ...runtime, network }, rack.url, { link: 'udp' });
  try {
    const space = await memrack.space('bench', { create: true });
    const place = { space, at: await space.alloc(PLACES * MIB) };
    await space.write(place.at, new Uint8Array(PLACES * MIB).fill(7));
    const sides: Side[] = LOADS.flatMap(({ name, operations, bytes, run }) =>
      LOSSES.map((lost) => {
        const work = async (): Promise<void> => {
          network.lostPerMillion = lost;
          await run(place, operations);
        };
        return rated(`${name}, ${lost / 10_000} %`, rack, operations, work, bytes);
      }),
    );
    const turns = await alternate(sides, rounds);
    const measured = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'udp-loss',
      what: 'goodput of udp, with so many of the datagrams lost in each direction, against none',
      unit: 'B/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: sides.flatMap((_, i) => {
        const kind = i % LOSSES.length;
        if (kind === 0) return [];
        return [compare(measured(i), measured(i - kind), GOALS[LOSSES[kind] ?? 0] ?? {})];
      }),
      notes: ['turns follow each other on one link: its window carries over from one to the next'],
    };
  } finally {
    network.lostPerMillion = 0;
    await memrack.close();
    await rack.close();
  }
}
