/** Takes pages out of the table, and lets their frames go: not before nobody is at work on them. */

import type { FrameIndex } from '../../base/brands.js';
import { freePages, type PageRange } from '../../disk/table-changes.js';
import { NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import { memoryNodeFaults } from '../planted.js';
import type { FramePool } from './frame-pool.js';

/** Every page of the range that is allocated. Returns how many it was. */
export function unmapPages(table: TableFile, range: PageRange, pool: FramePool): number {
  if (memoryNodeFaults.slotsReadBeforeUnmapping) {
    pool.retireAll(framesOf(table, range));
    return freePages(table, range, () => {});
  }
  const frames: FrameIndex[] = [];
  const removed = freePages(table, range, (frame) => frames.push(frame));
  // The slots are read now that no thread can find the frames any more.
  pool.retireAll(frames);
  return removed;
}

function framesOf({ pages }: TableFile, range: PageRange): FrameIndex[] {
  const frames: FrameIndex[] = [];
  for (let page = range.firstPage; page < range.firstPage + range.pages; page++) {
    const entry = pages.find(range.space, page);
    const frame = entry < 0 ? NO_FRAME : pages.frameOf(entry);
    if (frame !== NO_FRAME) frames.push(frame);
  }
  return frames;
}
