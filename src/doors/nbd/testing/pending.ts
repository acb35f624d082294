/** A request that the test client has sent, and what has come of it. */

import { NBD_CMD_READ } from '../protocol.js';

/** How a request ended. */
export interface Answer {
  readonly offset: number;
  readonly length: number;
  /** 0, an error of NBD, or -1: the connection was closed before. */
  readonly error: number;
  readonly message: string;
  /** Where it failed; -1: that was not told. */
  readonly failedAt: number;
  /** Of a read. */
  readonly data: Uint8Array;
  /** Of NBD_CMD_BLOCK_STATUS: length and state in turns. */
  readonly extents: readonly number[];
  /** Chunks of data, and of holes, that it came in. */
  readonly dataChunks: number;
  readonly holeChunks: number;
}

export interface Pending {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  readonly isStructured: boolean;
  readonly data: Uint8Array;
  /** 1: this byte was told. */
  readonly covered: Uint8Array;
  readonly extents: number[];
  error: number;
  message: string;
  failedAt: number;
  dataChunks: number;
  holeChunks: number;
  /** Settles it with what it has. */
  end(): void;
  close(): void;
}

export function newPending(
  type: number,
  flags: number,
  offset: number,
  length: number,
  isStructured: boolean,
  resolve: (answer: Answer) => void,
): Pending {
  const bytes = type === NBD_CMD_READ ? Math.min(length, 2 ** 26) : 0;
  const pending: Pending = {
    type,
    flags,
    offset,
    length,
    isStructured,
    data: new Uint8Array(bytes),
    covered: new Uint8Array(bytes),
    extents: [],
    error: 0,
    message: '',
    failedAt: -1,
    dataChunks: 0,
    holeChunks: 0,
    end: () => resolve(pending),
    close: () => {
      pending.error = -1;
      resolve(pending);
    },
  };
  return pending;
}
