/** 64-byte reads, one at a time, over tcp: the latency that a program feels. */

import { connect } from '../../src/apps/library.js';
import { alternate, compare, has, type Result, rowOf, type Side } from '../harness.js';
import { pingPong } from '../peers/ping-pong.js';
import { startRedis } from '../peers/redis.js';
import { measured, startRack } from '../rack.js';

const READS = 60_000;

export async function loneRead(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'tcp' });
  const space = await memrack.space('bench', { create: true });
  const at = await space.alloc(2 ** 21);
  await space.write(at, new Uint8Array(64).fill(7));
  const target = new Uint8Array(64);
  const latencies = new Float64Array(READS);
  const ours: Side = {
    name: 'memrack read, 64 B',
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured(rack, READS, async () => {
        for (let i = 0; i < READS; i += 1) {
          const before = performance.now();
          await space.read(at, target);
          latencies[i] = performance.now() - before;
        }
      });
      latencies.sort();
      return {
        value: (latencies[READS >> 1] ?? 0) * 1000,
        cpuPerOperation,
        extra: {
          mean: (wallMs * 1000) / READS,
          p99: (latencies[Math.floor(READS * 0.99)] ?? 0) * 1000,
        },
      };
    },
  };
  const floor = pingPong();
  const redis = has('redis-server') ? await startRedis(0) : undefined;
  const get: Side = {
    name: 'Redis GET, 64 B',
    turn: async () => {
      const operations = 20_000;
      const turn = await redis?.get({ clients: 1, pipeline: 1, operations });
      if (turn === undefined) throw new Error('redis-server is missing');
      const { p50 = Number.NaN, p99 = Number.NaN } = turn.extra ?? {};
      return { ...turn, value: p50, extra: { mean: 1e6 / turn.value, p99 } };
    },
  };
  try {
    const sides = redis === undefined ? [ours, floor] : [ours, floor, get];
    const turns = await alternate(sides, rounds);
    const mine = { side: ours, turns: turns[0] ?? [] };
    const comparisons = [compare(mine, { side: floor, turns: turns[1] ?? [] }, { atMost: 2.5 })];
    if (redis !== undefined) {
      comparisons.push(compare(mine, { side: get, turns: turns[2] ?? [] }, { atMost: 0.2 }));
    }
    return {
      bench: 'lone-read',
      what: '64 B read, one at a time, tcp over loopback; median microseconds of each turn',
      unit: 'us',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons,
      notes: redis === undefined ? ['redis-server is missing: not compared'] : [],
    };
  } finally {
    floor.close();
    await redis?.close();
    await memrack.close();
    await rack.close();
  }
}
