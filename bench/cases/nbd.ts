/**
 * Block devices over NBD, driven by fio, beside nbdkit's memory plugin: a disk in the memory of one
 * process. Ours crosses to a memory node, over shared memory or over tcp to another network
 * namespace, checks every block's checksum, and with two copies writes twice.
 */

import { connect, type Rack } from '../../src/apps/library.js';
import { createDevice, deviceUri } from '../../src/block/manage.js';
import { type FarRack, farRackMissing, startFarRack } from '../far-rack.js';
import { alternate, compare, type Goal, has, type Result, rowOf, type Side } from '../harness.js';
import { type FioFigure, type FioLoad, fioSide, type NbdPeer } from '../peers/fio.js';
import { startNbdkit } from '../peers/nbdkit.js';
import { startRack } from '../rack.js';

const MIB = 1024 * 1024;
const DEVICE_BYTES = 256 * MIB;
const SECONDS = 2;

/** How the host reaches the memory nodes. */
type Link = 'shm' | 'tcp';

interface Case {
  readonly load: FioLoad;
  readonly goals: Readonly<Record<Link, Goal>>;
  /** Two copies are compared with one instead of a peer. */
  readonly isOfCopies?: boolean;
}

const load = (rw: FioLoad['rw'], blockKiB: number, depth: number, connections = 1): FioLoad => ({
  rw,
  blockKiB,
  depth,
  connections,
});

const goals = (shm: Goal, tcp: Goal): Record<Link, Goal> => ({ shm, tcp });
const NONE = goals({}, {});
const OF_COPIES = goals({ atMost: 1.6 }, { atMost: 1.6 });
const OF_LARGE = goals({ atLeast: 0.8 }, { atLeast: 0.8 });

const LATENCY: readonly Case[] = [
  { load: load('randread', 4, 1), goals: goals({ atMost: 1 }, { atMost: 2 }) },
  { load: load('randwrite', 4, 1), goals: NONE },
  { load: load('randwrite', 4, 1), goals: OF_COPIES, isOfCopies: true },
];
const RATE: readonly Case[] = [
  { load: load('randread', 4, 32), goals: goals({ atLeast: 1 }, { atLeast: 0.5 }) },
  { load: load('randread', 4, 32, 4), goals: goals({ atLeast: 1 }, { atLeast: 0.5 }) },
  { load: load('randwrite', 4, 32), goals: NONE },
];
const SEQUENTIAL: readonly Case[] = [
  { load: load('read', 128, 8), goals: OF_LARGE },
  { load: load('write', 128, 8), goals: OF_LARGE },
];

interface Kind {
  readonly bench: string;
  readonly what: string;
  readonly unit: FioFigure;
  readonly cases: readonly Case[];
}

const LATENCY_KIND: Kind = {
  ...{ bench: 'nbd-latency', what: 'one request at a time' },
  ...{ unit: 'latency us', cases: LATENCY },
};
const RATE_KIND: Kind = {
  ...{ bench: 'nbd-rate', what: 'many requests at a time' },
  ...{ unit: 'operations/s', cases: RATE },
};
const SEQUENTIAL_KIND: Kind = {
  ...{ bench: 'nbd-sequential', what: 'large requests one after another' },
  ...{ unit: 'bytes/s', cases: SEQUENTIAL },
};

export const nbdLatency = (rounds: number): Promise<Result> => nbd(LATENCY_KIND, 'shm', rounds);
export const nbdRate = (rounds: number): Promise<Result> => nbd(RATE_KIND, 'shm', rounds);
export const nbdSequential = (rounds: number): Promise<Result> =>
  nbd(SEQUENTIAL_KIND, 'shm', rounds);
export const nbdLatencyTcp = (rounds: number): Promise<Result> => nbd(LATENCY_KIND, 'tcp', rounds);
export const nbdRateTcp = (rounds: number): Promise<Result> => nbd(RATE_KIND, 'tcp', rounds);
export const nbdSequentialTcp = (rounds: number): Promise<Result> =>
  nbd(SEQUENTIAL_KIND, 'tcp', rounds);

const NODES = 2;
const MEMORY = '768MiB';

async function startNear(): Promise<FarRack> {
  const extra = ['--nbd-port', '0'];
  const { url, pids, close } = await startRack({ nodes: NODES, memory: MEMORY, extra });
  const serving = [...pids].filter(([role]) => role !== 'up').map(([, pid]) => pid);
  return { url, pids: serving, close };
}

const LINKS = {
  shm: {
    start: startNear,
    missing: () => undefined,
    note: 'the node is reached over shared memory',
  },
  tcp: {
    start: () => startFarRack(NODES, MEMORY),
    missing: farRackMissing,
    note: 'the node is in another network namespace, and reached over tcp',
  },
} as const;

async function nbd(kind: Kind, link: Link, rounds: number): Promise<Result> {
  const { unit, cases } = kind;
  const { start, missing, note } = LINKS[link];
  const bench = link === 'shm' ? kind.bench : `${kind.bench}-${link}`;
  const result = { bench, what: `block devices over NBD, ${kind.what}`, unit };
  const why = has('fio') && has('nbdkit') ? missing() : 'needs fio and nbdkit';
  if (why !== undefined) return { ...result, rows: [], comparisons: [], notes: [why] };
  const rack = await start();
  const closing: { close(): Promise<void> }[] = [rack];
  try {
    const client = await connect(rack.url);
    closing.push(client);
    const peer = await startNbdkit(DEVICE_BYTES);
    closing.push(peer);
    const make = async (name: string, copies: number): Promise<NbdPeer> => {
      await createDevice(client.core, { name, bytes: DEVICE_BYTES, copies });
      const words = copies === 1 ? 'one copy' : `${copies} copies`;
      const uri = await deviceUri(client.core, name);
      return { name: `memrack, ${words}`, uri, pids: rack.pids };
    };
    const one = await make('one', 1);
    const two = await make('two', 2);
    // Memory is there on both sides before anything is measured.
    for (const side of [one, two, peer]) {
      await fioSide(side, load('write', 128, 8), unit, SECONDS).turn();
    }
    await checkLink(client, link);
    const side = (of: NbdPeer, it: Case): Side => fioSide(of, it.load, unit, SECONDS);
    const sides = cases.flatMap((it) =>
      it.isOfCopies === true ? [side(two, it), side(one, it)] : [side(one, it), side(peer, it)],
    );
    const turns = await alternate(sides, rounds);
    const measured = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    const comparisons = cases.map((it, i) =>
      compare(measured(2 * i), measured(2 * i + 1), it.goals[link]),
    );
    const rows = sides.map((it, i) => rowOf(it, turns[i] ?? []));
    return { ...result, rows, comparisons, notes: [note] };
  } finally {
    for (const one of closing.reverse()) await one.close();
  }
}

/** The host opens the memory of nodes that it can open, and of no others. */
async function checkLink(client: Rack, link: Link): Promise<void> {
  for (const { node, counters } of await client.nodeNumbers()) {
    const isAttached = Number(counters?.['processesAttached']) > 0;
    if (isAttached !== (link === 'shm')) throw new Error(`${node} is not reached over ${link}`);
  }
}
