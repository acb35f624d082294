/** What the links over datagrams of one process have done. */

export interface DatagramCounters {
  datagramsSent: number;
  datagramsReceived: number;
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
}

export function createDatagramCounters(): DatagramCounters {
  return {
    datagramsSent: 0,
    datagramsReceived: 0,
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
  };
}
