/**
 * How the simulated machines are made: sizes and times, drawn anew for every seed, because a
 * protocol that works with one window size or one latency may not work with the next.
 */

import type { Prng } from '../../base/prng.js';
import { DATAGRAM_BYTES_MAX, STREAM_OUTPUT_BYTES } from '../network.js';

export interface Knobs {
  /** One way between two machines, and between two processes of one machine. */
  latencyNs: number;
  loopbackNs: number;
  /** Added to every latency, uniformly in [0, jitterNs]. */
  jitterNs: number;
  /** The tail: each further doubling of the latency is half as likely, up to this many. */
  tailDoublingsMax: number;
  /** Of each machine's link, each way; 0 stands for no limit. */
  bytesPerUs: number;
  /** What a stream carries on its way before the sender must wait for the reader. */
  windowBytes: number;
  /** The largest piece that travels as one. */
  segmentBytes: number;
  outputBytes: number;
  /** After at most this long a stream notices that the other side is gone. */
  keepaliveMs: number;
  /** What a socket keeps for a reader that does not read. */
  datagramBufferBytes: number;
  /** Longer datagrams vanish between machines. None unless it is asked for. */
  pathBytes: number;
  startMs: number;
  timerSlackUs: number;
  /** Until a sleeping thread runs after it was woken. */
  wakeUs: number;
  diskUs: number;
  flushUs: number;
  commitUs: number;
  driftPpm: number;
  /**
   * How often `memory.copy` lets another task run between its two halves, as another processor
   * would. Never unless it is asked for: only protocols over shared memory can bear it. Callbacks
   * of timers, rings and reads run there; code behind an `await` waits for the end of the step.
   */
  splitCopiesPerMillion: number;
  /**
   * How often the steps of a thread over shared memory (`Memory.run`) are made in parts, between
   * which time passes, others run, and the process may be paused or killed.
   */
  stepsApartPerMillion: number;
  /** A thread that is stopped in its steps goes on after that, but for once in a while. */
  stoppedMsMax: number;
  /** How often a datagram that arrives waits up to some microseconds for others. */
  gatherPerMillion: number;
}

/** One ordinary rack: what `shake: false` gives. */
export const PLAIN_KNOBS: Readonly<Knobs> = {
  latencyNs: 10_000,
  loopbackNs: 4_000,
  jitterNs: 2_000,
  tailDoublingsMax: 8,
  bytesPerUs: 3_000,
  windowBytes: 256 * 1024,
  segmentBytes: 64 * 1024,
  outputBytes: STREAM_OUTPUT_BYTES,
  keepaliveMs: 10_000,
  datagramBufferBytes: 208 * 1024,
  pathBytes: DATAGRAM_BYTES_MAX,
  startMs: 20,
  timerSlackUs: 200,
  wakeUs: 50,
  diskUs: 80,
  flushUs: 400,
  commitUs: 600,
  driftPpm: 50,
  splitCopiesPerMillion: 0,
  stepsApartPerMillion: 0,
  gatherPerMillion: 200_000,
  stoppedMsMax: 1_500,
};

/** What each knob may be; the plain value stands among them, so that ordinary racks come too. */
const CHOICES: { readonly [Name in keyof Knobs]: readonly number[] } = {
  latencyNs: [1_000, 10_000, 10_000, 50_000, 500_000],
  loopbackNs: [500, 4_000, 30_000],
  jitterNs: [0, 2_000, 20_000, 300_000],
  tailDoublingsMax: [0, 4, 8, 12],
  bytesPerUs: [0, 125, 3_000, 12_500],
  windowBytes: [4 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024],
  segmentBytes: [1_460, 8_960, 64 * 1024],
  outputBytes: [STREAM_OUTPUT_BYTES / 2, STREAM_OUTPUT_BYTES],
  keepaliveMs: [500, 10_000, 60_000],
  datagramBufferBytes: [16 * 1024, 208 * 1024],
  startMs: [1, 20, 400],
  timerSlackUs: [0, 200, 4_000],
  wakeUs: [1, 50, 2_000],
  diskUs: [5, 80, 3_000],
  flushUs: [10, 400, 20_000],
  commitUs: [20, 600, 30_000],
  driftPpm: [0, 50, 500],
  splitCopiesPerMillion: [0],
  stepsApartPerMillion: [0],
  pathBytes: [DATAGRAM_BYTES_MAX],
  gatherPerMillion: [200_000],
  stoppedMsMax: [1_500],
};

export function shakenKnobs(prng: Prng): Knobs {
  const knobs = { ...PLAIN_KNOBS };
  for (const name of Object.keys(CHOICES) as (keyof Knobs)[]) {
    knobs[name] = prng.pick(CHOICES[name]);
  }
  return knobs;
}

/**
 * One latency: the base, some jitter, and rarely a multiple. Integers only; how often a number of
 * trailing zero bits comes makes the tail, not a logarithm.
 */
export function drawLatency(prng: Prng, baseNs: number, knobs: Knobs): number {
  const bits = prng.u32();
  const jitter = Math.floor(((bits >>> 8) / 2 ** 24) * (knobs.jitterNs + 1));
  // The lowest byte is zero once in 256 draws; only these look for the tail.
  if ((bits & 0xff) !== 0) return baseNs + jitter;
  const doublings = Math.min(Math.clz32(prng.u32()), knobs.tailDoublingsMax);
  return (baseNs + jitter) * (1 << doublings);
}
