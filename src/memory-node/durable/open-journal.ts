/** Puts the journal of a process together, from the file and the table that it was handed. */

import { ENTRY_BYTES } from '../../disk/page-table.js';
import { BLOCK_BYTES, readSuperblocks } from '../../disk/durable-layout.js';
import { UNIT_BYTES } from '../../disk/durable-log.js';
import { TableFile } from '../../disk/table-file.js';
import type { DurableFile } from '../../runtime/durable.js';
import type { Mapping } from '../../runtime/memory.js';
import type { Runtime } from '../../runtime/runtime.js';
import { Journal } from './journal.js';

/** What a supervisor tells its processes of the file that it has opened. */
export interface DurableOptions {
  readonly opening: number;
}

/** A string says why there can be none, for people. */
export function openJournal(
  runtime: Runtime,
  file: DurableFile,
  table: Mapping,
  { opening }: DurableOptions,
  failed: (error: unknown) => void,
): Journal | string {
  const superblocks = file.map(file.bytes - 2 * BLOCK_BYTES, 2 * BLOCK_BYTES);
  const found = readSuperblocks(superblocks, file.bytes);
  if (typeof found === 'string') return found;
  const { sizes, checkpoint } = found;
  const opened = TableFile.open(table);
  if (typeof opened === 'string') return opened;
  if (sizes.tableBytes !== table.bytes.length) return 'the table is not that of the file';
  const { entries } = opened.pages;
  const { pageBytes, frames } = opened.facts;
  const first = (opened.pages.words.byteOffset - table.words.byteOffset) / UNIT_BYTES;
  const { clock, timers, entropy, checksum } = runtime;
  const shown = file.map(sizes.frameBytes, file.bytes - sizes.frameBytes);
  const { device, inode } = file;
  return new Journal({
    ...{ file, sizes, shown, table, clock, timers, entropy, checksum, failed },
    pages: { first, entries: (entries * ENTRY_BYTES) / UNIT_BYTES, pageBytes, frames },
    before: { ...checkpoint, opening, device, inode },
  });
}
