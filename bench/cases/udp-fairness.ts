/**
 * Many clients, each with a socket of its own, that read from one node through a narrow pipe: how
 * alike their shares are, and how long the queue in front of the pipe gets.
 */

import { connectRack, type Rack } from '../../src/client/rack.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { type FaultProxy, startFaultProxy } from '../../test/support/fault-proxy.js';
import { compareTo, type Result, rowOf, type Side, type Turn } from '../harness.js';
import type { Place } from '../loads.js';
import { freePort } from '../peers/redis.js';
import { RedirectedNetwork } from '../redirected-network.js';
import { startRack } from '../rack.js';

const CLIENTS = 64;
const IN_FLIGHT = 4;
const READ_BYTES = 1024;
/** What is in flight of each in a round trip without a queue: a hundredth of a datagram. */
const PIPE = { bytesPerSecond: 3e6, queueBytesMax: 256 * 1024 };
/** As long as an Ethernet carries. */
const DATAGRAM_BYTES = 1472;
/** A link makes its first five common pauses in so long. */
const SETTLE_MS = 6000;
const TURN_MS = 6000;
const LOOK_MS = 50;

interface Shares {
  readonly reads: number[];
  stop: boolean;
}

async function readOn(place: Place, client: number, shares: Shares): Promise<void> {
  const one = async (lane: number): Promise<void> => {
    const target = new Uint8Array(READ_BYTES);
    const at = place.at + lane * READ_BYTES;
    while (!shares.stop) {
      await place.space.read(at, target);
      shares.reads[client] = (shares.reads[client] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, lane) => one(lane)));
}

/** Jain's index: 1 where all have the same, 1/n where one has all. */
function fairness(shares: readonly number[]): number {
  const sum = shares.reduce((total, one) => total + one, 0);
  const squares = shares.reduce((total, one) => total + one * one, 0);
  return (sum * sum) / (shares.length * squares);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How many of the links have a window of less than a datagram, and the least window. */
function small(racks: readonly Rack[]): { below: number; least: number } {
  let below = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const rack of racks) {
    for (const { datagrams } of rack.counters().links) {
      if (datagrams === undefined) continue;
      if (datagrams.isBelowOneDatagram) below += 1;
      least = Math.min(least, datagrams.windowBytes / datagrams.datagramBytes);
    }
  }
  return { below, least };
}

interface Running {
  readonly proxy: FaultProxy;
  readonly racks: readonly Rack[];
  readonly shares: Shares;
}

async function turnOf({ proxy, racks, shares }: Running): Promise<Turn> {
  await proxy.reset();
  const before = [...shares.reads];
  const cpu = process.cpuUsage();
  const end = performance.now() + TURN_MS;
  let looks = 0;
  let below = 0;
  let least = Number.POSITIVE_INFINITY;
  while (performance.now() < end) {
    await pause(LOOK_MS);
    const seen = small(racks);
    looks += 1;
    below += seen.below;
    least = Math.min(least, seen.least);
  }
  const had = shares.reads.map((reads, i) => reads - (before[i] ?? 0));
  const { user, system } = process.cpuUsage(cpu);
  const { pipeToClient: pipe } = await proxy.stats();
  const used = (pipe?.bytes ?? 0) / ((TURN_MS / 1000) * PIPE.bytesPerSecond);
  return {
    value: fairness(had),
    cpuPerOperation: (user + system) / had.reduce((sum, one) => sum + one, 0),
    extra: {
      'queue mean bytes': ((pipe?.waitMsMean ?? 0) * PIPE.bytesPerSecond) / 1000,
      'queue most bytes': pipe?.queueBytesMost ?? 0,
      dropped: pipe?.dropped ?? 0,
      'pipe used': used,
      'links below one datagram %': (100 * below) / (looks * racks.length),
      'least window, datagrams': least,
    },
  };
}

export async function udpFairness(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const runtime = createRuntime({ source: 'bench', logLevel: 'warn' });
  const network = new RedirectedNetwork(runtime.network);
  const racks: Rack[] = [];
  const node = await nodeAddress(rack.url);
  const listen = `127.0.0.1:${await freePort()}`;
  const tooLong = { bytesMax: DATAGRAM_BYTES };
  const proxy = await startFaultProxy({
    targets: [{ listen, to: node }],
    seed: 1,
    toNode: tooLong,
    toClient: tooLong,
    pipeToClient: PIPE,
  });
  network.detours.set(`udp://${node}`, `udp://${listen}`);
  try {
    const places: Place[] = [];
    for (let i = 0; i < CLIENTS; i += 1) {
      const one = await connectRack({ ...runtime, network }, rack.url, { link: 'udp' });
      racks.push(one);
      const space = await one.space('bench', { create: i === 0 });
      places.push({ space, at: places[0]?.at ?? (await space.alloc(2 ** 16)) });
    }
    const shares: Shares = { reads: new Array<number>(CLIENTS).fill(0), stop: false };
    const running = { proxy, racks, shares };
    const all = Promise.all(places.map((place, client) => readOn(place, client, shares)));
    await pause(SETTLE_MS);
    const turns: Turn[] = [];
    for (let round = 0; round < rounds; round += 1) turns.push(await turnOf(running));
    shares.stop = true;
    await all;
    const side: Side = { name: `${CLIENTS} clients, reads of 1 KiB`, turn: () => turnOf(running) };
    const measured = { side, turns };
    return {
      bench: 'udp-fairness',
      what: `${CLIENTS} clients read through a pipe of 3 MB/s; Jain's index of what each has read`,
      unit: 'index',
      rows: [rowOf(side, turns)],
      comparisons: [compareTo(measured, { name: 'equal shares', value: 1 }, { atLeast: 0.95 })],
      notes: [`what finds no room in a queue of ${PIPE.queueBytesMax} bytes is lost`],
    };
  } finally {
    for (const one of racks) await one.close();
    await proxy.stop();
    await rack.close();
  }
}

/** `HOST:PORT` of the rack's memory node. */
async function nodeAddress(url: string): Promise<string> {
  const response = await fetch(`${url.replace('memrack:', 'http:')}/v1/nodes`);
  const nodes = (await response.json()) as { address: string; bytesLent: number }[];
  const address = nodes.find((one) => one.bytesLent > 0)?.address ?? '';
  return address.replace(/^[a-z]+:\/\//, '');
}
