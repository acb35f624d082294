/** What a rack costs that does nothing, and what ten million operations leave on the heap. */

import { readFileSync } from 'node:fs';
import { connect } from '../../src/apps/library.js';
import {
  type Comparison,
  cpuMicroseconds,
  type Result,
  residentBytes,
  type Row,
} from '../harness.js';
import { spread } from '../harness.js';
import { startRack } from '../rack.js';

const IDLE_MS = 5_000;

export async function idleRack(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const rows: Row[] = [];
  const comparisons: Comparison[] = [];
  try {
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const shares = new Map<string, number[]>([...rack.pids.keys()].map((role) => [role, []]));
    for (let round = 0; round < rounds; round += 1) {
      const before = new Map([...rack.pids].map(([role, pid]) => [role, cpuMicroseconds(pid)]));
      await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
      for (const [role, pid] of rack.pids) {
        const used = cpuMicroseconds(pid) - (before.get(role) ?? 0);
        shares.get(role)?.push((used / (IDLE_MS * 1000)) * 100);
      }
    }
    const nothing = { median: Number.NaN, min: Number.NaN, max: Number.NaN };
    for (const [role, values] of shares) {
      const pid = rack.pids.get(role) ?? 0;
      const memory = residentBytes(pid);
      const own = (memory.total - memory.shared) / 2 ** 20;
      const value = spread(values);
      rows.push({ side: role, value, cpuPerOperation: nothing, extra: { residentMiB: own } });
      const cpu = { ours: `${role}, % of a core`, peer: '2 %', goal: 'at most 1 x' };
      const share = spread(values.map((one) => one / 2));
      comparisons.push({ ...cpu, ratio: share, met: share.median <= 1 });
      const ratio = spread([own / 100]);
      const goal = 'at most 1 x';
      comparisons.push({
        ours: `${role}, resident besides lent memory`,
        peer: '100 MiB',
        goal,
        ratio,
        met: ratio.median <= 1,
      });
    }
  } finally {
    await rack.close();
  }
  return {
    bench: 'idle',
    what: `processor share of each process of an idle rack over ${IDLE_MS} ms`,
    unit: '%',
    rows,
    comparisons,
    notes: [],
  };
}

/** Growth of the heap after ten million fast-path operations, in this process and at the node. */
export async function heapGrowth(operations = 10_000_000): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'tcp' });
  try {
    const space = await memrack.space('bench', { create: true });
    const at = await space.alloc(2 ** 21);
    const items = Array.from({ length: 200 }, (_, i) => ({
      at: at + i * 64,
      into: new Uint8Array(64),
    }));
    const read = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i += items.length) await space.readMany(items);
    };
    await read(operations / 10);
    globalThis.gc?.();
    const heap = process.memoryUsage().heapUsed;
    const node = anonymousBytes(rack.nodePid);
    await read(operations);
    globalThis.gc?.();
    const grown = Math.max(0, process.memoryUsage().heapUsed - heap) / 2 ** 20;
    const nodeGrown = (anonymousBytes(rack.nodePid) - node) / 2 ** 20;
    const nothing = { median: Number.NaN, min: Number.NaN, max: Number.NaN };
    const row = (side: string, value: number): Row => ({
      side,
      value: spread([value]),
      cpuPerOperation: nothing,
      extra: {},
    });
    return {
      bench: 'heap',
      what: `growth over ${operations} reads through readMany, in MiB`,
      unit: 'MiB',
      rows: [row('client, heap after collection', grown), row('node, anonymous memory', nodeGrown)],
      comparisons: [
        {
          ours: 'client heap',
          peer: '1 MiB',
          goal: 'at most 1 x',
          ratio: spread([grown]),
          met: grown <= 1,
        },
      ],
      notes: [
        'the heap is read after a collection when run with --expose-gc',
        "the node's figure includes what its collector has not yet returned",
      ],
    };
  } finally {
    await memrack.close();
    await rack.close();
  }
}

function anonymousBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}
