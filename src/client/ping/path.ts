/**
 * What the network between here and a memory node does to datagrams: whether any comes through, how
 * long they take, how many are lost, and how long they may be, one way and there and back. Nothing
 * is sent in fragments, so a ping that is answered tells that the path takes its length.
 */

import type { Answer, Prober } from '../../fabric/datagram/prober.js';
import { PATH_BYTES } from '../../fabric/datagram/path-size.js';
import { sleep, type Timers } from '../../runtime/clock.js';
import { DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_SURE } from '../../wire/datagram.js';
import { quantile } from './levels.js';

export interface PathParts {
  readonly timers: Timers;
  readonly prober: Pick<Prober, 'hello' | 'ping'>;
  /** How many pings for loss and round trip. */
  readonly pings: number;
  /** Called for each of them; may throw, which ends it. */
  readonly progress: () => void;
}

export interface PathReport {
  /** Pings that came through at the rate of some hundred a second, and those that were sent. */
  readonly sent: number;
  readonly answered: number;
  readonly minMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The longest datagram that arrived at the node, and that was answered by one as long. */
  readonly bytesThere: number;
  readonly bytesBoth: number;
  /** What the node's system keeps of datagrams that it has not taken yet. */
  readonly nodeReceiveBytes: number;
}

const HELLOS = 6;
const HELLO_MS = 400;
const PING_MS = 1_000;
/** So that the pings themselves fill no queue. */
const PACE_MS = 2;
/** A length counts as lost when so many at a time are. */
const TRIES = 6;
const TRY_MS_MIN = 150;
const TRY_MS_MAX = 500;
const LEAST_BYTES = 64;
/** Beginning with those that links use. */
const USUAL_BYTES = [...PATH_BYTES].reverse().concat(LEAST_BYTES);

/** Undefined: no hello was answered, so datagrams do not come through, there or back. */
export async function examinePath(parts: PathParts): Promise<PathReport | undefined> {
  const { prober } = parts;
  const hello = await greet(prober);
  if (hello === undefined) return undefined;
  const tryMs = Math.min(TRY_MS_MAX, Math.max(TRY_MS_MIN, 4 * hello.roundTripMs));
  const bytesThere = await longest(prober, tryMs, true, DATAGRAM_BYTES_MAX);
  const bytesBoth = await longest(prober, tryMs, false, bytesThere);
  const answers = await pingMany(parts, Math.min(bytesBoth, DATAGRAM_BYTES_SURE));
  const times = answers.map(({ roundTripMs }) => roundTripMs);
  return {
    sent: parts.pings,
    answered: answers.length,
    minMs: quantile(times, 0),
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    bytesThere,
    bytesBoth,
    nodeReceiveBytes: hello.receiveBytes,
  };
}

async function greet(prober: PathParts['prober']): Promise<Awaited<ReturnType<Prober['hello']>>> {
  for (let i = 0; i < HELLOS; i++) {
    const hello = await prober.hello(HELLO_MS);
    if (hello !== undefined) return hello;
  }
  return undefined;
}

/** Half of them as short as can be, half `longBytes` long. */
async function pingMany(
  { prober, pings, timers, progress }: PathParts,
  longBytes: number,
): Promise<Answer[]> {
  const asked: Promise<Answer | undefined>[] = [];
  for (let i = 0; i < pings; i++) {
    progress();
    asked.push(prober.ping(i % 2 === 0 ? LEAST_BYTES : Math.max(longBytes, LEAST_BYTES), PING_MS));
    await sleep(timers, PACE_MS);
  }
  const answers = await Promise.all(asked);
  return answers.flatMap((answer) => answer ?? []);
}

/** The longest multiple of 8 up to `most` that comes through. */
async function longest(
  prober: PathParts['prober'],
  tryMs: number,
  isOneWay: boolean,
  most: number,
): Promise<number> {
  const passes = async (bytes: number): Promise<boolean> => {
    const asked = Array.from({ length: TRIES }, () => prober.ping(bytes, tryMs, isOneWay));
    return (await Promise.all(asked)).some((answer) => answer !== undefined);
  };
  if (await passes(most)) return most;
  let tooLong = most;
  let good = 0;
  for (const bytes of USUAL_BYTES) {
    if (bytes >= tooLong) continue;
    if (await passes(bytes)) {
      good = bytes;
      break;
    }
    tooLong = bytes;
  }
  while (good > 0 && tooLong - good > 8) {
    const middle = good + 8 * Math.floor((tooLong - good) / 16);
    if (await passes(middle)) good = middle;
    else tooLong = middle;
  }
  return good;
}
