/**
 * Takes over the memory that the supervisor hands to a new process: fresh, or as the process before
 * it left it. Before anything else is changed, `alive` says that nobody serves, so that threads
 * which read and write without the node believe nothing that they see from now on; then the
 * incarnation is raised. Frames that such threads are still at work on are neither zeroed nor given
 * out.
 */

import { type StoreWord, storeWord } from '../disk/layout.js';
import { ENTRY_WORDS } from '../disk/page-table.js';
import { recover, verify } from '../disk/table-changes.js';
import { TableFile } from '../disk/table-file.js';
import type { FrameIndex } from '../base/brands.js';
import { memoryNodeFaults } from './planted.js';
import type { Mapping } from '../runtime/memory.js';
import type { Quiescence } from './store/quiescence.js';

export interface AdoptedTable {
  readonly table: TableFile;
  /** False when no process has ever used the memory. */
  readonly isUsed: boolean;
  /** Frames that pages use, and pages that are allocated. */
  readonly mapped: number;
  readonly committed: number;
  /** For each frame whether a page uses it. */
  readonly used: Uint8Array;
}

/** A string says why the memory cannot be taken over, for people. */
export function adoptTable(mapping: Mapping, store?: StoreWord): AdoptedTable | string {
  const table = TableFile.open(mapping, store, storeWord);
  if (typeof table === 'string') return table;
  table.alive = 0;
  const isUsed = table.incarnation > 0;
  if (!isUsed || !memoryNodeFaults.epochNotRaisedAtReadoption) table.raiseIncarnation();
  const reason = recover(table);
  if (reason !== undefined) return reason;
  const used = verify(table);
  if (typeof used === 'string') return used;
  // Never 0, which would say that a thread is idle.
  table.raiseGeneration();
  return { table, isUsed, mapped: countUsed(used), committed: countPages(table), used };
}

/**
 * The frames that no page uses and that a thread may be at work on: it began while the process
 * before this one served. Whoever publishes a frame later sees that nobody serves.
 */
export function framesAtWork({ used }: AdoptedTable, quiescence: Quiescence): FrameIndex[] {
  if (memoryNodeFaults.adoptionDoesNotWait) return [];
  return [...quiescence.heldFrames()].filter((frame) => used[frame] === 0);
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
