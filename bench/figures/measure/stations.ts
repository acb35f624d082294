/**
 * Figure 4.14: where the time of one request goes. The node times its own stations; what pings take
 * without the node's part is the network (both kernels and what wakes the processes); the rest of a
 * request's latency is the client's.
 */

import { Prober } from '../../../src/fabric/datagram/prober.js';
import type { Peer } from '../../../src/fabric/link.js';
import {
  askStations,
  isSums,
  type StationSums,
  stationsBetween,
} from '../../../src/fabric/station-times.js';
import type { RequestKind, StationName } from '../../../src/fabric/stations.js';
import type { Space } from '../../../src/apps/library.js';
import { type Series, STATIONS } from '../series.js';
import { inWorld } from './clients.js';
import { Curves } from './curves.js';
import { type Latencies, loneLatencies, median } from './latency.js';
import { nodeOf } from './asked-node.js';

const SIZES = [4, 1024];
const OPERATIONS = 2_000;
const PINGS = 500;
const PING_BYTES = 128;
const TIMEOUT_MS = 5_000;
const MEASURE_MS = 60_000;

/** Of the picture, made up of the node's. */
const OF_NODE: Readonly<Record<(typeof STATIONS)[number], readonly StationName[]>> = {
  client: [],
  network: [],
  'network stack of the node': ['check', 'reply', 'send'],
  translation: ['translate'],
  'memory access': ['access'],
  'rest of the node': ['record'],
};

export async function breakdown(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.14');
  await inWorld({ memory: '256MiB', links: ['udp'] }, async ({ bench, space }) => {
    const at = await space.alloc(2 ** 21);
    await space.write(at, new Uint8Array(2 ** 16).fill(7));
    const node = await nodeOf(bench.url);
    const address = node.address.replace('tcp:', 'udp:');
    const prober = await Prober.open({ runtime: node.runtime, address, client: 1 });
    try {
      if ((await prober.hello(TIMEOUT_MS)) === undefined) throw new Error('no hello from the node');
      for (let round = -1; round < rounds; round += 1) {
        for (const bytes of SIZES) {
          for (const kind of ['read', 'write'] as const) {
            const found = await oneTurn({ node: node.peer, prober, space, at }, kind, bytes);
            if (round < 0) continue;
            for (const [station, us] of found.entries()) {
              curves.add(kind, `Memrack over udp, ${bytes} bytes`, station, us);
            }
          }
        }
      }
    } finally {
      prober.close();
      await node.close();
    }
  });
  return curves.series('node: means; network: median of pings; client: what is left of the median');
}

interface Parties {
  readonly node: Peer;
  readonly prober: Prober;
  readonly space: Space;
  readonly at: number;
}

/** Microseconds at each of `STATIONS`. */
async function oneTurn(
  { node, prober, space, at }: Parties,
  kind: 'read' | 'write',
  bytes: number,
): Promise<number[]> {
  const buffer = new Uint8Array(bytes);
  const untilSent = median(await networkLatencies(prober));
  const before = await sums(node, 1);
  const latencies = await loneLatencies(OPERATIONS, () =>
    kind === 'read' ? space.read(at, buffer) : space.write(at, buffer),
  );
  const { meanUs } = stationsBetween(before, await sums(node, 0))[kind satisfies RequestKind];
  const ofNode = STATIONS.map((name) => OF_NODE[name].reduce((sum, one) => sum + meanUs[one], 0));
  // The node's time ends in its answers before they are sent; that they are is counted at the node.
  const network = Math.max(0, untilSent - meanUs.send);
  const known = network + ofNode.reduce((sum, us) => sum + us, 0);
  const client = Math.max(0, median(latencies) - known);
  return STATIONS.map((name, i) =>
    name === 'client' ? client : name === 'network' ? network : (ofNode[i] as number),
  );
}

/** Round trips of short pings, without their time at the node until they are sent; microseconds. */
async function networkLatencies(prober: Prober): Promise<Latencies> {
  const latencies = new Float64Array(PINGS);
  let answered = 0;
  for (let i = 0; i < PINGS; i += 1) {
    const answer = await prober.ping(PING_BYTES, TIMEOUT_MS);
    if (answer === undefined) continue;
    latencies[answered] = (answer.roundTripMs - answer.residenceMs) * 1000;
    answered += 1;
  }
  if (answered < PINGS / 2) throw new Error(`of ${PINGS} pings ${answered} were answered`);
  return latencies.subarray(0, answered).sort();
}

async function sums(node: Peer, every: number): Promise<StationSums> {
  const answer = await askStations(node, { every, forMs: MEASURE_MS });
  if (!isSums(answer)) throw new Error(`no times of stations: ${answer.reason}`);
  return answer;
}
