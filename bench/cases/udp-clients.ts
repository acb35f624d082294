/**
 * What a memory node keeps for clients that come by datagrams, each with a socket and ids of its
 * own, however many there are, and how long their reads and writes take: at one fixed rate of all
 * together, so that what a client costs by being there is seen, and not what its requests cost.
 */

import { Status } from '../../src/base/status.js';
import { MessageType } from '../../src/wire/messages.js';
import { type AskedNode, nodeOf } from '../figures/measure/asked-node.js';
import { connectClient } from '../figures/measure/clients.js';
import { Crowd } from '../figures/measure/crowd.js';
import {
  compare,
  cpuMicroseconds,
  type Measured,
  quantileOf,
  type Result,
  residentBytes,
  rowOf,
  type Side,
  type Turn,
} from '../harness.js';
import { type BenchRack, startRack } from '../rack.js';

const COUNTS = [1, 10, 100, 1_000, 10_000];
const PROCESSES = 10;
const PER_SECOND = 3_000;
/** Where a client has more than one turn, half of them are reads. */
const OPERATIONS_MIN = 2_000;
/** Of ten thousand clients a turn takes seconds. */
const ROUNDS_MAX = 3;
/** So long without a call, and the stream of a client is closed; not 5 s, as nobody waits. */
const IDLE_STREAM_MS = 1_000;
const QUIET_MS_MAX = 30_000;
const LOOK_MS = 100;

/** What the node says that it keeps. */
interface Kept {
  readonly stateBytes: number;
  /** Connections that it serves: those of clients are closed when idle. */
  readonly streams: number;
  readonly windows: number;
  /** Without the memory that it lends. */
  readonly residentBytes: number;
}

interface Counters {
  readonly stateBytes: number;
  readonly windows: number;
  readonly fabric: { readonly sessionsOpened: number; readonly sessionsClosed: number };
}

async function kept({ peer }: AskedNode, pid: number): Promise<Kept> {
  const reply = await peer.call(MessageType.Counters, {}, 10_000);
  if (reply.status !== Status.Ok) throw new Error(`no counters: status ${reply.status}`);
  const { stateBytes, windows, fabric } = JSON.parse(reply.json) as Counters;
  const { total, shared } = residentBytes(pid);
  const streams = fabric.sessionsOpened - fabric.sessionsClosed;
  return { stateBytes, streams, windows, residentBytes: total - shared };
}

/** A rack without clients, and what its node keeps then. */
interface World {
  readonly rack: BenchRack;
  readonly node: AskedNode;
  readonly crowd: Crowd;
  readonly empty: Kept;
  /** Where the clients read and write. */
  readonly at: number;
}

/** When no more streams are open than without clients. */
async function whenQuiet({ rack, node, empty }: World): Promise<Kept> {
  const end = performance.now() + QUIET_MS_MAX;
  for (;;) {
    const now = await kept(node, rack.nodePid);
    if (now.streams <= empty.streams) return now;
    if (performance.now() > end) throw new Error(`${now.streams} streams are still open`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

async function turnOf(world: World, count: number): Promise<Turn> {
  const { rack, node, crowd, empty, at } = world;
  const cpu = cpuMicroseconds(rack.nodePid);
  const operations = Math.max(2 * count, OPERATIONS_MIN);
  const found = await crowd.turn({ link: 'udp', count, at, operations, perSecond: PER_SECOND });
  const reads = Float64Array.from(found.reads).sort();
  const writes = Float64Array.from(found.writes).sort();
  const now = await kept(node, rack.nodePid);
  return {
    value: now.stateBytes,
    cpuPerOperation: (cpuMicroseconds(rack.nodePid) - cpu) / operations,
    extra: {
      'read p50 us': quantileOf(reads, 0.5),
      'read p99 us': quantileOf(reads, 0.99),
      'write p50 us': quantileOf(writes, 0.5),
      'write p99 us': quantileOf(writes, 0.99),
      'resident MiB': now.residentBytes / 2 ** 20,
      'resident MiB without clients': empty.residentBytes / 2 ** 20,
      windows: now.windows,
      streams: now.streams,
    },
  };
}

async function inWorld<T>(work: (world: World) => Promise<T>): Promise<T> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const node = await nodeOf(rack.url);
  const crowd = new Crowd(rack.url, PROCESSES);
  try {
    const { rack: preparing, space } = await connectClient(rack.url, 'tcp');
    const at = await space.alloc(2 ** 21);
    await space.write(at, new Uint8Array(2 ** 20));
    await preparing.close();
    return await work({ rack, node, crowd, empty: await kept(node, rack.nodePid), at });
  } finally {
    crowd.close();
    await node.close();
    await rack.close();
  }
}

/** So many clients in all, and until nothing of how they came is left at the node. */
async function grow(world: World, count: number): Promise<number> {
  const begin = performance.now();
  const { at } = world;
  await world.crowd.grow({ link: 'udp', count, at, idleStreamMs: IDLE_STREAM_MS });
  const ms = performance.now() - begin;
  await whenQuiet(world);
  return ms;
}

async function measure(world: World, rounds: number, notes: string[]): Promise<Measured[]> {
  const measured: Measured[] = [];
  let before = 0;
  for (const count of COUNTS) {
    const ms = await grow(world, count);
    const each = (ms / (count - before)).toFixed(1);
    if (count === COUNTS.at(-1)) notes.push(`the last clients came one each ${each} ms`);
    before = count;
    const side: Side = {
      name: count === 1 ? '1 client' : `${count} clients`,
      turn: () => turnOf(world, count),
    };
    const turns: Turn[] = [];
    for (let i = 0; i < Math.min(rounds, ROUNDS_MAX); i += 1) turns.push(await side.turn());
    measured.push({ side, turns });
  }
  return measured;
}

export async function udpClients(rounds: number): Promise<Result> {
  const notes = ['nearly all that is kept is the record of changes, which has one size'];
  const measured = await inWorld((world) => measure(world, rounds, notes));
  const [one, ...more] = measured as [Measured, ...Measured[]];
  const load = `${PER_SECOND} operations a second in all`;
  return {
    bench: 'udp-clients',
    what: `what a node keeps for clients over udp, in ${PROCESSES} processes; ${load}`,
    unit: 'bytes',
    rows: measured.map(({ side, turns }) => rowOf(side, turns)),
    comparisons: more.map((many) => compare(many, one, { atMost: 1 })),
    notes,
  };
}
