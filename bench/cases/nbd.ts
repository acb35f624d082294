/**
 * Block devices over NBD, driven by fio, beside nbdkit's memory plugin: a disk in the memory of one
 * process. Ours crosses to a memory node over shared memory, checks every block's checksum, and
 * with two copies writes twice.
 */

import { connect } from '../../src/apps/library.js';
import { createDevice, deviceUri } from '../../src/block/manage.js';
import { alternate, compare, has, type Result, rowOf, type Side } from '../harness.js';
import { type FioFigure, type FioLoad, fioSide, type NbdPeer } from '../peers/fio.js';
import { startNbdkit } from '../peers/nbdkit.js';
import { startRack } from '../rack.js';

const MIB = 1024 * 1024;
const DEVICE_BYTES = 256 * MIB;
const SECONDS = 2;

interface Case {
  readonly load: FioLoad;
  readonly goal: { readonly atMost?: number; readonly atLeast?: number };
  /** Two copies are compared with one instead of a peer. */
  readonly isOfCopies?: boolean;
}

const load = (rw: FioLoad['rw'], blockKiB: number, depth: number, connections = 1): FioLoad => ({
  rw,
  blockKiB,
  depth,
  connections,
});

const LATENCY: readonly Case[] = [
  { load: load('randread', 4, 1), goal: { atMost: 1 } },
  { load: load('randwrite', 4, 1), goal: {} },
  { load: load('randwrite', 4, 1), goal: { atMost: 1.6 }, isOfCopies: true },
];
const RATE: readonly Case[] = [
  { load: load('randread', 4, 32), goal: { atLeast: 1 } },
  { load: load('randread', 4, 32, 4), goal: { atLeast: 1 } },
  { load: load('randwrite', 4, 32), goal: {} },
];
const SEQUENTIAL: readonly Case[] = [
  { load: load('read', 128, 8), goal: { atLeast: 0.8 } },
  { load: load('write', 128, 8), goal: { atLeast: 0.8 } },
];

export const nbdLatency = (rounds: number): Promise<Result> =>
  nbd('nbd-latency', 'one request at a time', 'latency us', LATENCY, rounds);
export const nbdRate = (rounds: number): Promise<Result> =>
  nbd('nbd-rate', 'many requests at a time', 'operations/s', RATE, rounds);
export const nbdSequential = (rounds: number): Promise<Result> =>
  nbd('nbd-sequential', 'large requests one after another', 'bytes/s', SEQUENTIAL, rounds);

async function nbd(
  bench: string,
  what: string,
  unit: FioFigure,
  cases: readonly Case[],
  rounds: number,
): Promise<Result> {
  const result = { bench, what: `block devices over NBD, ${what}`, unit };
  if (!has('fio') || !has('nbdkit')) {
    return { ...result, rows: [], comparisons: [], notes: ['needs fio and nbdkit'] };
  }
  const extra = ['--nbd-port', '0'];
  const rack = await startRack({ nodes: 2, memory: '768MiB', extra });
  const client = await connect(rack.url);
  const peer = await startNbdkit(DEVICE_BYTES);
  try {
    const make = async (name: string, copies: number): Promise<NbdPeer> => {
      await createDevice(client.core, { name, bytes: DEVICE_BYTES, copies });
      const words = copies === 1 ? 'one copy' : `${copies} copies`;
      const pids = [...rack.pids].filter(([role]) => role !== 'up').map(([, pid]) => pid);
      return { name: `memrack, ${words}`, uri: await deviceUri(client.core, name), pids };
    };
    const one = await make('one', 1);
    const two = await make('two', 2);
    // Memory is there on both sides before anything is measured.
    for (const side of [one, two, peer]) {
      await fioSide(side, load('write', 128, 8), unit, SECONDS).turn();
    }
    const side = (of: NbdPeer, it: Case): Side => fioSide(of, it.load, unit, SECONDS);
    const sides = cases.flatMap((it) =>
      it.isOfCopies === true ? [side(two, it), side(one, it)] : [side(one, it), side(peer, it)],
    );
    const turns = await alternate(sides, rounds);
    const measured = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      ...result,
      rows: sides.map((it, i) => rowOf(it, turns[i] ?? [])),
      comparisons: cases.map(({ goal }, i) => compare(measured(2 * i), measured(2 * i + 1), goal)),
      notes: ['the node is reached over shared memory'],
    };
  } finally {
    await peer.close();
    await client.close();
    await rack.close();
  }
}
