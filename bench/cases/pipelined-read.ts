/** 64-byte reads, many in flight on one connection, checksums on: throughput of small operations. */

import { connect } from '../../src/apps/library.js';
import { alternate, compare, cpuMicroseconds, has, type Result, rowOf, type Side } from '../harness.js';
import { startRedis } from '../peers/redis.js';
import { startRack } from '../rack.js';

const OPERATIONS = 600_000;
/** As `redis-benchmark -P 16 -c 50` keeps 800 requests in flight. */
const IN_FLIGHT = 800;
const BATCH = 200;

export async function pipelinedRead(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'tcp' });
  const space = await memrack.space('bench', { create: true });
  const at = await space.alloc(2 ** 21);
  await space.write(at, new Uint8Array(2 ** 16).fill(7));

  const timed = (name: string, work: () => Promise<void>): Side => ({
    name,
    turn: async () => {
      const cpu = process.cpuUsage();
      const node = cpuMicroseconds(rack.nodePid);
      const start = performance.now();
      await work();
      const wall = performance.now() - start;
      const used = process.cpuUsage(cpu);
      const all = used.user + used.system + cpuMicroseconds(rack.nodePid) - node;
      return { value: OPERATIONS / (wall / 1000), cpuPerOperation: all / OPERATIONS };
    },
  });

  const awaited = timed('memrack, each awaited', async () => {
    const one = async (lane: number): Promise<void> => {
      const target = new Uint8Array(64);
      const from = at + lane * 64;
      for (let i = lane; i < OPERATIONS; i += IN_FLIGHT) await space.read(from, target);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, (_, lane) => one(lane)));
  });
  const many = timed('memrack, readMany', async () => {
    const one = async (lane: number): Promise<void> => {
      const items = Array.from({ length: BATCH }, (_, i) => ({
        at: at + (lane * BATCH + i) * 64,
        into: new Uint8Array(64),
      }));
      for (let i = lane * BATCH; i < OPERATIONS; i += IN_FLIGHT) await space.readMany(items);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT / BATCH }, (_, lane) => one(lane)));
  });

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
