/**
 * Takes over the memory that the supervisor hands to a new process: fresh, or as the process before
 * it left it. The incarnation is raised before anything else is changed.
 */

import { ENTRY_WORDS } from '../disk/page-table.js';
import { recover, verify } from '../disk/table-changes.js';
import { TableFile } from '../disk/table-file.js';
import { memoryNodeFaults } from './planted.js';
import type { Mapping } from '../runtime/memory.js';

export interface AdoptedTable {
  readonly table: TableFile;
  /** False when no process has ever used the memory. */
  readonly isUsed: boolean;
  /** Frames that pages use, and pages that are allocated. */
  readonly mapped: number;
  readonly committed: number;
}

/** A string says why the memory cannot be taken over, for people. */
export function adoptTable(mapping: Mapping): AdoptedTable | string {
  const table = TableFile.open(mapping);
  if (typeof table === 'string') return table;
  const isUsed = table.incarnation > 0;
  if (!isUsed || !memoryNodeFaults.epochNotRaisedAtReadoption) table.raiseIncarnation();
  const reason = recover(table);
  if (reason !== undefined) return reason;
  const used = verify(table);
  if (typeof used === 'string') return used;
  return { table, isUsed, mapped: countUsed(used), committed: countPages(table) };
}

function countUsed(used: Uint8Array): number {
  let count = 0;
  for (const one of used) count += one;
  return count;
}

function countPages(table: TableFile): number {
  const { pages } = table;
  let count = 0;
  for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
    count += 1;
  }
  return count;
}
