/** 64-byte reads, many in flight on one connection, checksums on: the rate of small operations. */

import { connect, type Space } from '../../src/apps/library.js';
import { alternate, compare, has, type Result, rowOf, type Side } from '../harness.js';
import { startRedis } from '../peers/redis.js';
import { type BenchRack, measured, startRack } from '../rack.js';

const OPERATIONS = 600_000;
/** As `redis-benchmark -P 16 -c 50` keeps 800 requests in flight. */
const IN_FLIGHT = 800;
const BATCH = 200;

function timed(name: string, rack: BenchRack, work: () => Promise<void>): Side {
  return {
    name,
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured(rack, OPERATIONS, work);
      return { value: OPERATIONS / (wallMs / 1000), cpuPerOperation };
    },
  };
}

/** As many lanes as reads in flight; each awaits its read before the next. */
async function awaitEach(space: Space, at: number): Promise<void> {
  const one = async (lane: number): Promise<void> => {
    const target = new Uint8Array(64);
    const from = at + lane * 64;
    for (let i = lane; i < OPERATIONS; i += IN_FLIGHT) await space.read(from, target);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, lane) => one(lane)));
}

async function inBatches(space: Space, at: number): Promise<void> {
  const one = async (lane: number): Promise<void> => {
    const items = Array.from({ length: BATCH }, (_, i) => ({
      at: at + (lane * BATCH + i) * 64,
      into: new Uint8Array(64),
    }));
    for (let i = lane * BATCH; i < OPERATIONS; i += IN_FLIGHT) await space.readMany(items);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT / BATCH }, (_, lane) => one(lane)));
}

export async function pipelinedRead(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'tcp' });
  const space = await memrack.space('bench', { create: true });
  const at = await space.alloc(2 ** 21);
  await space.write(at, new Uint8Array(2 ** 16).fill(7));
  const awaited = timed('memrack, each awaited', rack, () => awaitEach(space, at));
  const many = timed('memrack, readMany', rack, () => inBatches(space, at));

  const redis = has('redis-server') ? await startRedis(0) : undefined;
  const get: Side = {
    name: 'redis-benchmark -P 16 -c 50',
    turn: async () => {
      const turn = await redis?.get({ clients: 50, pipeline: 16, operations: 1_000_000 });
      if (turn === undefined) throw new Error('redis-server is missing');
      return turn;
    },
  };
  try {
    const sides = redis === undefined ? [awaited, many] : [awaited, many, get];
    const turns = await alternate(sides, rounds);
    const peer = { side: get, turns: turns[2] ?? [] };
    return {
      bench: 'pipelined-read',
      what: '64 B reads, 800 in flight on one connection, checksums on; operations per second',
      unit: '/s',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons:
        redis === undefined
          ? []
          : [
              compare({ side: awaited, turns: turns[0] ?? [] }, peer, { atLeast: 0.7 }),
              compare({ side: many, turns: turns[1] ?? [] }, peer, { atLeast: 1 }),
            ],
      notes: redis === undefined ? ['redis-server is missing: not compared'] : [],
    };
  } finally {
    await redis?.close();
    await memrack.close();
    await rack.close();
  }
}
