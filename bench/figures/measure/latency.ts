/**
 * How latency is taken. Lone: the next operation starts when the one before has ended; what is
 * looked at are medians, which pauses of the machine do not move. Paced: operations are due at
 * fixed times, as from a program with other work; one that could not start because the one before
 * had not ended counts from when it was due, so that a pause of 1 ms counts for all that it held
 * up and not once.
 */

import { quantileOf } from '../../harness.js';

/** Of one operation; the number counts them. */
export type Operation = (number: number) => Promise<unknown>;

/** Microseconds of each operation, from the shortest to the longest. */
export type Latencies = Float64Array;

/** A turn on a machine with other work ends after this time, with fewer operations. */
const TURN_MS_MOST = 60;

/** At most `count` of them. */
export async function loneLatencies(count: number, operation: Operation): Promise<Latencies> {
  const latencies = new Float64Array(count);
  const end = performance.now() + TURN_MS_MOST;
  let done = 0;
  while (done < count) {
    const before = performance.now();
    if (before >= end && done > 0) break;
    await operation(done);
    latencies[done] = (performance.now() - before) * 1000;
    done += 1;
  }
  return latencies.subarray(0, done).sort();
}

const turnOfEventLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Microseconds of each operation in its order, `perSecond` of them due a second. Where they take
 * twice their time it ends; those that were due by then and never began count with their wait.
 */
export async function pacedLatencies(
  count: number,
  perSecond: number,
  operation: Operation,
): Promise<Latencies> {
  const latencies = new Float64Array(count);
  const start = performance.now() + 1;
  const end = start + (2000 * count) / perSecond;
  for (let i = 0; i < count; i += 1) {
    const due = start + (i * 1000) / perSecond;
    const now = performance.now();
    if (now > end) {
      latencies[i] = (now - due) * 1000;
      continue;
    }
    const isLate = now > due;
    while (performance.now() < due) await turnOfEventLoop();
    const from = isLate ? due : performance.now();
    await operation(i);
    latencies[i] = (performance.now() - from) * 1000;
  }
  return latencies;
}

export function median(sorted: Latencies): number {
  return quantileOf(sorted, 0.5);
}

export function p99(sorted: Latencies): number {
  return quantileOf(sorted, 0.99);
}

/** Whole numbers below `end`, always the same, in an order that no processor foresees. */
export function scattered(): (end: number) => number {
  let state = 12_345;
  return (end) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 4) % end;
  };
}
