/** What a client may have at most. Reaching a limit pauses the client, or ends its connection. */

import { PIECE_BYTES } from '../backend.js';
import { assert } from '../../base/assert.js';
import { KiB, MiB } from '../../base/units.js';
import { STREAM_INPUT_BYTES_MAX, STREAM_RESERVE_BYTES_MAX } from '../../runtime/network.js';
import { DATA_CHUNK_BYTES, NBD_STRING_BYTES_MAX, REQUEST_BYTES } from './protocol.js';

/** "Block size constraints": what every client may count on without asking. */
export const PAYLOAD_BYTES_MAX = 32 * MiB;

/**
 * A request is executed in pieces of at most this many bytes, which end at its multiples. It is a
 * multiple of every block size, and a piece fits into input and output.
 */
export { PIECE_BYTES };
assert(REQUEST_BYTES + PIECE_BYTES < STREAM_INPUT_BYTES_MAX / 2);
assert(DATA_CHUNK_BYTES + PIECE_BYTES <= STREAM_RESERVE_BYTES_MAX);

/** "Block size constraints": a minimum block is no larger. */
export const BLOCK_BYTES_MAX = 64 * KiB;
assert(PIECE_BYTES % BLOCK_BYTES_MAX === 0);

export interface NbdLimits {
  /** Connections of one door. Further ones are closed at once. */
  readonly connections: number;
  /** From connecting to choosing an export. */
  readonly negotiationMs: number;
  /** Of the data of one option; longer ones are refused and skipped. */
  readonly optionBytes: number;
  /** Of all that is received before an export is chosen. */
  readonly negotiationBytes: number;
  readonly options: number;
  /** Requests of one connection that are begun and not answered. */
  readonly requests: number;
  /** Pieces of them that are at work or wait to be sent. */
  readonly pieces: number;
  /** Of the buffers that these pieces have. */
  readonly bufferBytes: number;
  /**
   * A read whose answer is in one piece, without structured replies or with NBD_CMD_FLAG_DF, is
   * answered when all of it is known to be good, up to this length. A longer one is refused with
   * DF; without structured replies a failure in its middle ends the connection.
   */
  readonly heldBytes: number;
  /** Descriptors in one answer to NBD_CMD_BLOCK_STATUS. */
  readonly descriptors: number;
  /** How much one connection does before others have their turn: bytes, roughly. */
  readonly turnWork: number;
  /** How long a connection that is over is kept for the client to read its last answers. */
  readonly lingerMs: number;
  /** How long a door that stops waits for what its clients have under way. */
  readonly stopMs: number;
}

export const NBD_LIMITS: NbdLimits = {
  connections: 256,
  negotiationMs: 10_000,
  // A name, and some queries or information requests.
  optionBytes: 16 * KiB,
  negotiationBytes: MiB,
  options: 256,
  requests: 256,
  pieces: 512,
  bufferBytes: 2 * MiB,
  heldBytes: MiB,
  descriptors: 1024,
  turnWork: 4 * MiB,
  lingerMs: 5000,
  stopMs: 5000,
};

/** So much one step through the map of holes counts as, in bytes. */
export const EXTENT_WORK = 256;

/** "Structured reply types": so much is to be had with NBD_CMD_FLAG_DF. */
const UNFRAGMENTED_BYTES_MIN = 64 * KiB;

/** The limits belong together; see `Transmission`. */
export function checkLimits(limits: NbdLimits): NbdLimits {
  const { heldBytes, bufferBytes, pieces, optionBytes } = limits;
  assert(optionBytes >= 2 * NBD_STRING_BYTES_MAX + 12, 'a name and a query fit into an option');
  assert(optionBytes < STREAM_INPUT_BYTES_MAX / 2, 'an option fits into the input');
  assert(heldBytes >= UNFRAGMENTED_BYTES_MIN, 'reads that must be served in one piece');
  // One that begins and ends within a piece has two more. And one is kept (`UnderWay`).
  assert(bufferBytes >= heldBytes + 3 * PIECE_BYTES, 'a held read gets all its buffers');
  assert(pieces >= heldBytes / PIECE_BYTES + 3 && limits.requests >= 1, 'and all its pieces');
  assert(limits.descriptors * 8 < PIECE_BYTES, 'a status fits into the output');
  return limits;
}
