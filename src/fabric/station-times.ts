/**
 * Asks a memory node where its requests spend their time, from outside:
 *
 *     const before = await askStations(peer, { every: 1, forMs: 10_000 });
 *     ...                                            // reads and writes, over whatever link
 *     const times = stationsBetween(before, await askStations(peer, { every: 0, forMs: 0 }));
 *     times.read.meanUs.translate                    // microseconds of one read
 *
 * What is measured is all that the node serves meanwhile, of whomever. One that measures nothing
 * counts nothing, so who asks often asks with the same `every`, which begins the time anew.
 */

import { Status } from '../base/status.js';
import { MessageType, type Reply } from '../wire/messages.js';
import type { Peer } from './link.js';
import { REQUEST_KINDS, type RequestKind, type StationName } from './stations.js';

const ASK_MS = 5_000;

export interface StationWish {
  /** Of so many looks at what has arrived one is measured; 0: no more. */
  readonly every: number;
  /** For how long, in milliseconds; at most 60,000. */
  readonly forMs: number;
}

/** What the node has said: sums since its start. */
export type StationSums = Extract<
  Reply<typeof MessageType.MeasureStations>,
  { readonly sums: unknown }
>;

export interface StationTimes {
  /** Requests of this kind that were measured. */
  readonly requests: number;
  /** Microseconds of one request at each station on average. */
  readonly meanUs: Readonly<Record<StationName, number>>;
}

/** The sums until now; or why there is no answer, as a status and for people. */
export async function askStations(
  peer: Peer,
  wish: StationWish,
  timeoutMs = ASK_MS,
): Promise<StationSums | { readonly status: Status; readonly reason: string }> {
  return peer.call(MessageType.MeasureStations, wish, timeoutMs);
}

export function isSums(answer: StationSums | { readonly status: Status }): answer is StationSums {
  return answer.status === Status.Ok;
}

/** What was measured between two answers of one process of a node. */
export function stationsBetween(
  before: StationSums,
  after: StationSums,
): Readonly<Record<RequestKind, StationTimes>> {
  const times = REQUEST_KINDS.map((name, kind): [RequestKind, StationTimes] => {
    const from = sumsOf(before, kind);
    const to = sumsOf(after, kind);
    // A node that was started again has counted from 0.
    const requests = Math.max(0, to.requests - from.requests);
    const mean = (fromNs: number, toNs: number): number => {
      if (requests === 0) return 0;
      return Math.max(0, toNs - fromNs) / requests / 1000;
    };
    const meanUs = {
      check: mean(from.checkNs, to.checkNs),
      record: mean(from.recordNs, to.recordNs),
      translate: mean(from.translateNs, to.translateNs),
      access: mean(from.accessNs, to.accessNs),
      reply: mean(from.replyNs, to.replyNs),
      send: mean(from.sendNs, to.sendNs),
    };
    return [name, { requests, meanUs }];
  });
  return Object.fromEntries(times) as Record<RequestKind, StationTimes>;
}

const NOTHING = {
  ...{ requests: 0, checkNs: 0, recordNs: 0, translateNs: 0, accessNs: 0, replyNs: 0, sendNs: 0 },
};

function sumsOf({ sums }: StationSums, kind: number): typeof NOTHING {
  return sums.find((each) => each.kind === kind) ?? NOTHING;
}
