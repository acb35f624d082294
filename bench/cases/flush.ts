/**
 * What makes bytes durable costs: a write and a flush of a persistent space, against a write and
 * `fdatasync` of a file with all its blocks on the same file system, by the program itself.
 */

import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { connect, type Space } from '../../src/apps/library.js';
import { alternate, compare, type Result, rowOf, type Side, type Turn } from '../harness.js';
import { measured, projectRoot, startRack } from '../rack.js';

const KIB = 1024;
const FILE_BYTES = 64 * KIB * KIB;
/** Each flush makes one write of so many bytes durable. */
const SIZES = [4 * KIB, 64 * KIB, 1024 * KIB];
const FLUSHES = 60;

/** Where the next write goes: all over the file, so that no block is written twice in a row. */
function placeOf(i: number, bytes: number): number {
  const places = FILE_BYTES / bytes;
  return ((i * 7919) % places) * bytes;
}

async function turn(pids: readonly number[], one: (i: number) => Promise<void>): Promise<Turn> {
  const waits = new Float64Array(FLUSHES);
  const { wallMs, cpuPerOperation } = await measured(pids, FLUSHES, async () => {
    for (let i = 0; i < FLUSHES; i += 1) {
      const before = performance.now();
      await one(i);
      waits[i] = performance.now() - before;
    }
  });
  waits.sort();
  const longest = waits[FLUSHES - 1] ?? Number.NaN;
  return { value: (wallMs / FLUSHES) * 1000, cpuPerOperation, extra: { 'longest ms': longest } };
}

function flushed(space: Space, at: number, bytes: number, pid: number): Side {
  const from = new Uint8Array(bytes);
  let count = 0;
  return {
    name: `write and flush, ${bytes / KIB} KiB`,
    turn: () =>
      turn([pid], async (i) => {
        from.fill((count += 1));
        await space.write(at + placeOf(i, bytes), from);
        await space.flush(at + placeOf(i, bytes), bytes);
      }),
  };
}

function synced(file: number, bytes: number): Side {
  const from = new Uint8Array(bytes);
  let count = 0;
  return {
    name: `a file's write and fdatasync, ${bytes / KIB} KiB`,
    turn: () =>
      turn([], (i) => {
        from.fill((count += 1));
        writeSync(file, from, 0, bytes, placeOf(i, bytes));
        fdatasyncSync(file);
        return Promise.resolve();
      }),
  };
}

/** Beside the checkout: a folder for temporary files is in memory on many machines. */
export async function flush(rounds: number): Promise<Result> {
  const folder = mkdtempSync(join(projectRoot(), 'node_modules/.cache/memrack-flush-'));
  const extra = ['--data', folder, '--persistent-nodes', '1', '--unproven-file-system'];
  const rack = await startRack({ nodes: 1, persistentNodes: 1, memory: '128MiB', extra });
  const memrack = await connect(rack.url, { link: 'tcp' });
  const file = openSync(join(folder, 'peer'), 'w+');
  try {
    const chunk = new Uint8Array(KIB * KIB).fill(1);
    for (let at = 0; at < FILE_BYTES; at += chunk.length)
      writeSync(file, chunk, 0, chunk.length, at);
    fsyncSync(file);
    const space = await memrack.space('bench', { create: true, kind: 'persistent' });
    const at = await space.alloc(FILE_BYTES);
    for (let done = 0; done < FILE_BYTES; done += chunk.length) await space.write(at + done, chunk);
    await space.flush(at, FILE_BYTES);
    const pid = rack.pids.get('persistent-1') ?? 0;
    const sides = SIZES.flatMap((bytes) => [flushed(space, at, bytes, pid), synced(file, bytes)]);
    const turns = await alternate(sides, rounds);
    const one = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'flush',
      what: 'one write made durable, over tcp, against a file of the same file system',
      unit: 'us',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: SIZES.map((_, i) => compare(one(2 * i), one(2 * i + 1), { atMost: 2 })),
      notes: [],
    };
  } finally {
    closeSync(file);
    await memrack.close();
    await rack.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
