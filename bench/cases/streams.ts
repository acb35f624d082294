/**
 * The three kinds of streams between two processes of one machine, in turns: what a round trip
 * costs, how many small requests go through with 64 in flight, and how many bytes in chunks.
 */

import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import {
  CHUNK_BYTES,
  loneLatencies,
  quantile,
  rate,
  REPLY_BYTES,
  Requester,
  REQUEST_BYTES,
} from '../../src/runtime/node/network.bench.js';
import type { Runtime } from '../../src/runtime/runtime.js';
import {
  alternate,
  compare,
  cpuMicroseconds,
  type Goal,
  type Result,
  rowOf,
  type Side,
} from '../harness.js';
import { startStreamServer } from '../peers/stream-server.js';

const TURN_MS = 500;

interface Figure {
  readonly value: number;
  readonly operations: number;
  readonly extra?: Readonly<Record<string, number>>;
}

type Measure = (runtime: Runtime, requester: Requester) => Promise<Figure>;
type Head = Pick<Result, 'bench' | 'what' | 'unit'>;

/** Each kind on a connection of its own, which rests while the others have their turn. */
async function streams(head: Head, rounds: number, goal: Goal, measure: Measure): Promise<Result> {
  const server = await startStreamServer();
  const runtime = createRuntime();
  const requesters: Requester[] = [];
  try {
    const sides: Side[] = [];
    for (const address of server.addresses) {
      const requester = new Requester(runtime);
      await requester.connect(address);
      requesters.push(requester);
      sides.push({
        name: address.replace(/:.*/, ''),
        turn: async () => {
          const cpu = process.cpuUsage();
          const there = cpuMicroseconds(server.pid);
          const { value, operations, extra = {} } = await measure(runtime, requester);
          const { user, system } = process.cpuUsage(cpu);
          const all = user + system + cpuMicroseconds(server.pid) - there;
          return { value, cpuPerOperation: all / operations, extra };
        },
      });
    }
    const turns = await alternate(sides, rounds);
    const sideOf = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      ...head,
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [0, 1].map((other) => compare(sideOf(2), sideOf(other), goal)),
      notes: [],
    };
  } finally {
    for (const requester of requesters) requester.close();
    await server.close();
  }
}

export function streamTrips(rounds: number): Promise<Result> {
  const what = `${REQUEST_BYTES} B there, ${REPLY_BYTES} B back, one at a time; microseconds`;
  const head = { bench: 'stream-trips', what, unit: 'us' };
  return streams(head, rounds, { atMost: 1 }, async (runtime, requester) => {
    const before = requester.replies;
    const latencies = await loneLatencies(runtime, requester, { ms: TURN_MS, restMs: 0 });
    const operations = requester.replies - before;
    const slept = await loneLatencies(runtime, requester, { ms: TURN_MS / 2, restMs: 3 });
    return {
      value: quantile(latencies, 0.5),
      operations,
      extra: { p99: quantile(latencies, 0.99), 'after a rest': quantile(slept, 0.5) },
    };
  });
}

export function streamPipelined(rounds: number): Promise<Result> {
  const what = `${REQUEST_BYTES} B there, ${REPLY_BYTES} B back, 64 in flight; per second`;
  const head = { bench: 'stream-pipelined', what, unit: '/s' };
  const load = { window: 64, bytes: REQUEST_BYTES, replyBytes: REPLY_BYTES, ms: TURN_MS };
  return streams(head, rounds, { atLeast: 1 }, async (runtime, requester) => {
    const before = requester.replies;
    const value = await rate(runtime, requester, load);
    return { value, operations: requester.replies - before };
  });
}

export function streamChunks(rounds: number): Promise<Result> {
  const what = `${CHUNK_BYTES / 1024} KiB back for each request, 8 in flight; bytes per second`;
  const head = { bench: 'stream-chunks', what, unit: 'B/s' };
  const load = { window: 8, bytes: REQUEST_BYTES, replyBytes: CHUNK_BYTES, ms: TURN_MS };
  return streams(head, rounds, { atLeast: 1 }, async (runtime, requester) => {
    const before = requester.replies;
    const value = (await rate(runtime, requester, load)) * CHUNK_BYTES;
    return { value, operations: requester.replies - before };
  });
}
