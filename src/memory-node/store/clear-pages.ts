/** Makes a range of memory zeros, and takes the frames of pages in which nothing else is. */

import type { FrameIndex } from '../../base/brands.js';
import { MiB } from '../../base/units.js';
import { ENTRY_WORDS, EntryFlag, NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import type { FramePool } from './frame-pool.js';
import type { Frames } from './frames.js';

/** Of a page that is looked through for other bytes than zeros: it takes about a millisecond. */
export const SCANNED_BYTES_MAX = 4 * MiB;

export interface ClearParts {
  readonly table: TableFile;
  readonly frames: Pick<Frames, 'piece' | 'offset'>;
  readonly pool: Pick<FramePool, 'retireAll'>;
  /** As `Access` has it. */
  readonly ownEntry: Int32Array;
}

/** Pages from `keepFrom` on keep their frames. */
export interface ClearRange {
  readonly space: number;
  readonly start: number;
  readonly end: number;
  readonly keepFrom: number;
}

interface Part {
  readonly entry: number;
  readonly from: number;
  readonly to: number;
  readonly mayGo: boolean;
}

/**
 * The range, in pages that are allocated, is zeros then, and a page of it that is zeros as a whole
 * loses its frame, by one store. No thread may be at work in these pages. False, with nothing
 * changed: one is paused.
 */
export function clearPages(parts: ClearParts, range: ClearRange): boolean {
  const found = partsOf(parts, range);
  if (found === undefined) return false;
  const { table, frames, pool, ownEntry } = parts;
  const { pages, facts } = table;
  const dropped: FrameIndex[] = [];
  for (const { entry, from, to, mayGo } of found) {
    const frame = pages.frameOf(entry) as FrameIndex;
    const isWhole = to - from === facts.pageBytes;
    const at = frames.offset(frame);
    const { bytes, words } = frames.piece(frame);
    ownEntry[0] = entry / ENTRY_WORDS + 1;
    if (!isWhole || !mayGo) bytes.fill(0, at + from, at + to);
    ownEntry[0] = 0;
    if (!mayGo || !(isWhole || isZero(words, at, from, to, facts.pageBytes))) continue;
    pages.dropFrame(entry);
    dropped.push(frame);
  }
  // The slots are read now that no thread can find the frames any more.
  pool.retireAll(dropped);
  return true;
}

/** Of the range, by pages that have frames; undefined: one is paused. */
function partsOf({ table }: ClearParts, range: ClearRange): Part[] | undefined {
  const { space, start, end, keepFrom } = range;
  const { pages, facts } = table;
  const { pageBytes } = facts;
  const found: Part[] = [];
  for (let page = Math.floor(start / pageBytes); page * pageBytes < end; page++) {
    const entry = pages.find(space, page);
    if (entry < 0 || pages.frameOf(entry) === NO_FRAME) continue;
    if ((pages.flagsOf(entry) & EntryFlag.PAUSED) !== 0) return undefined;
    const at = page * pageBytes;
    const [from, to] = [Math.max(0, start - at), Math.min(pageBytes, end - at)];
    found.push({ entry, from, to, mayGo: at < keepFrom });
  }
  return found;
}

/**
 * Whether a page is zeros outside of a part of it: from the end of that on, because whoever trims
 * goes forward, and what comes next is still there.
 */
function isZero(
  words: Int32Array,
  at: number,
  from: number,
  to: number,
  pageBytes: number,
): boolean {
  if (pageBytes > SCANNED_BYTES_MAX) return false;
  const first = at >>> 2;
  return (
    areZeros(words, (at + to) >>> 2, first + (pageBytes >>> 2)) &&
    areZeros(words, first, (at + from) >>> 2)
  );
}

function areZeros(words: Int32Array, first: number, end: number): boolean {
  for (let word = first; word < end; word++) if (words[word] !== 0) return false;
  return true;
}
