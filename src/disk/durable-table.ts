/**
 * What a durable memory file says of its table, put together from superblock, image and log: for
 * who takes the file over, and for the offline check.
 */

import type { Bytes } from '../runtime/network.js';
import type { Checksum } from '../runtime/runtime.js';
import { readImage } from './durable-image.js';
import { BLOCK_BYTES, durablePlaces, readSuperblocks, type Superblock } from './durable-layout.js';
import { replayLog } from './durable-log.js';

/** Shows part of a file; `offset` and `bytes` are multiples of 4,096. */
export type ShowRange = (offset: number, bytes: number) => Bytes;

export interface StoredTable extends Superblock {
  /** The words of the table file, as they were when the last whole batch was written. */
  readonly table: Int32Array;
  readonly batches: number;
  readonly logBytesUsed: number;
}

/** A string says why the file cannot be believed, for people. */
export function readStoredTable(
  show: ShowRange,
  fileBytes: number,
  checksum: Checksum,
): StoredTable | string {
  if (fileBytes < 2 * BLOCK_BYTES) return 'the file is shorter than its superblocks';
  const last = fileBytes - 2 * BLOCK_BYTES;
  const superblock = readSuperblocks(show(last, 2 * BLOCK_BYTES), fileBytes);
  if (typeof superblock === 'string') return superblock;
  const { sizes, checkpoint } = superblock;
  const start = sizes.frameBytes;
  const table = readImage(show(start, fileBytes - start), start, sizes, checkpoint, checksum);
  if (typeof table === 'string') return table;
  const log = show(durablePlaces(sizes).log, sizes.logBytes);
  const replayed = replayLog(log, checkpoint, table, checksum);
  if (typeof replayed === 'string') return replayed;
  return { ...superblock, table, batches: replayed.batches, logBytesUsed: replayed.bytes };
}
