/** What a process does that uses a lock as often as it can, and how long it waits each time. */

import type { Space } from '../../src/apps/library.js';

export interface LockOrder {
  readonly lockAt: number;
  /** A word of 8 bytes that only holders change: read, and written one higher. */
  readonly counterAt: number;
  readonly ms: number;
}

export interface LockUse {
  readonly uses: number;
  /** How often it waited how long: `[bucket, count]`. */
  readonly waits: readonly (readonly [number, number])[];
  readonly longestMs: number;
}

const BUCKETS_PER_DOUBLING = 8;

/** Of a time in milliseconds, from nanoseconds on; each bucket is 9 % longer than the last. */
function bucketOf(ms: number): number {
  return Math.max(0, Math.floor(Math.log2(ms * 1e6) * BUCKETS_PER_DOUBLING));
}

function endOf(bucket: number): number {
  return 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING) / 1e6;
}

export async function contend(space: Space, order: LockOrder): Promise<LockUse> {
  const { lockAt, counterAt, ms } = order;
  const lock = space.lock(lockAt);
  const counter = new Float64Array(1);
  const bytes = new Uint8Array(counter.buffer);
  const waits = new Map<number, number>();
  const end = performance.now() + ms;
  let uses = 0;
  let longestMs = 0;
  for (;;) {
    const askedAt = performance.now();
    if (askedAt >= end) break;
    const held = await lock.acquire({ waitMs: 60_000 });
    const waitedMs = performance.now() - askedAt;
    await space.read(counterAt, bytes);
    counter[0] = (counter[0] as number) + 1;
    await space.write(counterAt, bytes);
    await held.release();
    const bucket = bucketOf(waitedMs);
    waits.set(bucket, (waits.get(bucket) ?? 0) + 1);
    longestMs = Math.max(longestMs, waitedMs);
    uses += 1;
  }
  return { uses, waits: [...waits], longestMs };
}

/** In milliseconds, of all waits of all processes. */
export function waitQuantile(all: readonly LockUse[], part: number): number {
  const counts = new Map<number, number>();
  let total = 0;
  for (const { waits } of all) {
    for (const [bucket, count] of waits) {
      counts.set(bucket, (counts.get(bucket) ?? 0) + count);
      total += count;
    }
  }
  let left = total * part;
  for (const [bucket, count] of [...counts].sort(([a], [b]) => a - b)) {
    left -= count;
    if (left <= 0) return endOf(bucket);
  }
  return Number.NaN;
}
