/** What a door counts, for metrics and tests. */

export interface NbdCounters {
  connections: number;
  /** Closed at once, because there were too many. */
  connectionsRefused: number;
  /** Ended before an export was chosen. */
  negotiationsFailed: number;
  exportsChosen: number;
  /** Ended because the client broke the protocol. */
  malformed: number;
  /** Of the transmission phase, by type. */
  reads: number;
  writes: number;
  otherRequests: number;
  bytesRead: number;
  bytesWritten: number;
  /** Answered with an error. */
  requestsFailed: number;
  /** Pieces that could not be done at once. */
  piecesQueued: number;
  /** Times that a connection's input was held because its output was not read. */
  outputFull: number;
  /** ... because its buffers or rows were all in use. */
  crowded: number;
}

export function newCounters(): NbdCounters {
  return {
    connections: 0,
    connectionsRefused: 0,
    negotiationsFailed: 0,
    exportsChosen: 0,
    malformed: 0,
    reads: 0,
    writes: 0,
    otherRequests: 0,
    bytesRead: 0,
    bytesWritten: 0,
    requestsFailed: 0,
    piecesQueued: 0,
    outputFull: 0,
    crowded: 0,
  };
}
