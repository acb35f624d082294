/** Makes a range of memory zeros, and takes the frames of the pages that it covers. */

import type { FrameIndex } from '../../base/brands.js';
import { EntryFlag, NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import type { FramePool } from './frame-pool.js';
import type { Frames } from './frames.js';

export interface ClearParts {
  readonly table: TableFile;
  readonly frames: Pick<Frames, 'piece' | 'offset'>;
  readonly pool: Pick<FramePool, 'retireAll'>;
}

/**
 * Of pages that are allocated; nobody writes to the range meanwhile. A page that lies in it as a
 * whole loses its frame, by one store; of another one the part is filled with zeros, where it has a
 * frame. False, with nothing changed: a page is paused.
 */
export function clearPages(
  { table, frames, pool }: ClearParts,
  space: number,
  start: number,
  end: number,
): boolean {
  const { pages, facts } = table;
  const { pageBytes } = facts;
  const found: { readonly entry: number; readonly from: number; readonly to: number }[] = [];
  for (let page = Math.floor(start / pageBytes); page * pageBytes < end; page++) {
    const entry = pages.find(space, page);
    if (entry < 0 || pages.frameOf(entry) === NO_FRAME) continue;
    if ((pages.flagsOf(entry) & EntryFlag.PAUSED) !== 0) return false;
    const at = page * pageBytes;
    found.push({ entry, from: Math.max(0, start - at), to: Math.min(pageBytes, end - at) });
  }
  const dropped: FrameIndex[] = [];
  for (const { entry, from, to } of found) {
    const frame = pages.frameOf(entry) as FrameIndex;
    if (from === 0 && to === pageBytes) {
      pages.dropFrame(entry);
      dropped.push(frame);
    } else {
      const at = frames.offset(frame);
      frames.piece(frame).bytes.fill(0, at + from, at + to);
    }
  }
  // The slots are read now that no thread can find the frames any more.
  pool.retireAll(dropped);
  return true;
}
