/** What the links over datagrams of one process have done, and how each of them stands. */

import { DATAGRAM_BYTES_SURE } from '../../wire/datagram.js';

export interface DatagramCounters {
  datagramsSent: number;
  datagramsReceived: number;
  /** Of those sent, the ones that went while the window was below one datagram. */
  datagramsPaced: number;
  /** Parts in datagrams, each attempt counted. */
  partsSent: number;
  partsAnswered: number;
  /** Attempts that were given up: no answer in time, or answers to later ones; damaged ones. */
  timedOut: number;
  overtaken: number;
  damaged: number;
  /** What the node has answered with. */
  again: number;
  never: number;
  late: number;
  hellos: number;
  cookiesRefused: number;
  /** Nothing was heard for too long, so that hellos were sent instead. */
  silences: number;
  incarnations: number;
  /** Datagrams that make no sense, or answer nothing that was asked. */
  dropped: number;
  outcomesUnknown: number;
  /** The longest datagram that the link may send whose path was looked at last. */
  pathBytes: number;
  /** Pings that try, or check, a size of datagrams. */
  pathPings: number;
  pathPingsAnswered: number;
  /** How often longer datagrams were taken up, and how often they were given up. */
  pathsGrown: number;
  pathsShrunk: number;
  /** Attempts to withdraw changes that a path does not take any more. */
  withdrawals: number;
}

/** How a link over datagrams stands at the moment. Sizes are in bytes, times in milliseconds. */
export interface DatagramLinkState {
  /** What may be under way, requests and the replies to them, headers of IP and UDP included. */
  readonly windowBytes: number;
  readonly underWayBytes: number;
  /** What an average full datagram takes of that, its reply included. */
  readonly datagramBytes: number;
  /** The window is below that: one datagram at a time, and pauses between them. */
  readonly isBelowOneDatagram: boolean;
  /** Replies that are expected, and how many may be: a part of the receive buffer. */
  readonly expectedReplyBytes: number;
  readonly expectedReplyBytesMax: number;
  /** The longest datagram that is sent, without headers of IP and UDP. */
  readonly pathBytes: number;
  /** The best delay of late without the node's residence, and above which the window shrinks. */
  readonly bestDelayMs: number | undefined;
  readonly targetDelayMs: number | undefined;
  /** The mean of late, the node's residence included; 0 before the first. */
  readonly meanDelayMs: number;
  /** After it an attempt is taken for lost. */
  readonly timeoutMs: number;
  /** Of the node's process; 0: not known yet. */
  readonly incarnation: number;
}

export function createDatagramCounters(): DatagramCounters {
  return {
    datagramsSent: 0,
    datagramsReceived: 0,
    datagramsPaced: 0,
    partsSent: 0,
    partsAnswered: 0,
    timedOut: 0,
    overtaken: 0,
    damaged: 0,
    again: 0,
    never: 0,
    late: 0,
    hellos: 0,
    cookiesRefused: 0,
    silences: 0,
    incarnations: 0,
    dropped: 0,
    outcomesUnknown: 0,
    pathBytes: DATAGRAM_BYTES_SURE,
    pathPings: 0,
    pathPingsAnswered: 0,
    pathsGrown: 0,
    pathsShrunk: 0,
    withdrawals: 0,
  };
}
