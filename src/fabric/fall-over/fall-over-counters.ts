/** How often the links of one process went over to another way. */

export interface FallOverCounters {
  /** From the stream to datagrams, and back. */
  toDatagrams: number;
  toStream: number;
  /** Datagrams were tried because the stream did not answer. */
  asked: number;
  /** Operations that were taken from a way that failed, to go another. */
  operationsMoved: number;
}

export function createFallOverCounters(): FallOverCounters {
  return { toDatagrams: 0, toStream: 0, asked: 0, operationsMoved: 0 };
}
