/**
 * Promises frames for the untouched pages of a range, so that the writes that follow cannot run out
 * of memory halfway. All or nothing: pages that are missing or may not be written refuse it too.
 */

import { Status } from '../../base/status.js';
import { ENTRY_FRAME, type PageTable } from '../../disk/page-table.js';
import type { FramePool } from '../store/frame-pool.js';

export interface ReserveTarget {
  /** Entry of the page at an address, or a negated status; checks window, rights and range. */
  entryOf(address: number): number;
}

/**
 * The number of pages that were reserved, or a negated status. `[address, address + bytes)` lies
 * within one region, so the loop is bounded by the pages of a region.
 */
export function reserve(
  pages: PageTable,
  pool: FramePool,
  owner: { readonly slot: number; readonly reservation: number },
  range: {
    readonly space: number;
    readonly address: number;
    readonly bytes: number;
    readonly pageBytes: number;
  },
  target: ReserveTarget,
): number {
  const { address, bytes, pageBytes } = range;
  const first = address - (address % pageBytes);
  let untouched = 0;
  for (let at = first; at < address + bytes; at += pageBytes) {
    // A window may begin within the first page.
    const entry = target.entryOf(Math.max(at, address));
    if (entry < 0) return entry;
    if (pages.words[entry + ENTRY_FRAME] === 0) untouched += 1;
  }
  if (!pool.promise(owner.slot, owner.reservation, untouched)) return -Status.NoSpace;
  if (untouched > 0) {
    const firstPage = first / pageBytes;
    const endPage = Math.ceil((address + bytes) / pageBytes);
    pool.mean({ ...owner, space: range.space, firstPage, endPage });
  }
  return untouched;
}
