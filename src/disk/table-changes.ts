/**
 * Changes of a memory node's tables that touch several entries, each under its intent, and what a
 * new process does with a change that the one before it left half done.
 *
 * All of it runs on the one thread that writes the tables, without a pause in between: nobody who
 * is alive sees a change half done, and after a death `recover` runs before anything else.
 */

import { assert } from '../base/assert.js';
import type { FrameIndex } from '../base/brands.js';
import { type IntendedChange, IntentKind } from './intent.js';
import { ENTRY_WORDS, EntryFlag, NO_FRAME, RIGHTS_MASK } from './page-table.js';
import type { TableFile } from './table-file.js';

export interface PageRange {
  readonly space: number;
  readonly firstPage: number;
  readonly pages: number;
}

/** Told about every frame that no page uses any more. */
export type FrameRetired = (frame: FrameIndex) => void;

/** Makes entries without frames. `flags` are the rights; the first page also gets `startFlags`. */
export function allocatePages(
  table: TableFile,
  range: PageRange,
  flags: number,
  startFlags: number,
): void {
  table.intent.begin({ kind: IntentKind.ALLOCATE, ...range, rights: flags });
  for (let i = 0; i < range.pages; i++) {
    const own = i === 0 ? flags | EntryFlag.START | startFlags : flags;
    table.pages.insert(range.space, range.firstPage + i, own);
  }
  table.intent.end();
}

/** Removes every entry of the range; there may be pages without one. Returns how many it was. */
export function freePages(table: TableFile, range: PageRange, retired: FrameRetired): number {
  table.intent.begin({ kind: IntentKind.FREE, ...range, rights: 0 });
  const removed = removeEntries(table, range, retired);
  table.intent.end();
  return removed;
}

/** All pages of the range have an entry. `rights` are bits of the flags word. */
export function protectPages(table: TableFile, range: PageRange, rights: number): void {
  table.intent.begin({ kind: IntentKind.PROTECT, ...range, rights });
  storeRights(table, range, rights);
  table.intent.end();
}

function removeEntries(table: TableFile, range: PageRange, retired: FrameRetired): number {
  const { pages } = table;
  let removed = 0;
  for (let i = 0; i < range.pages; i++) {
    const entry = pages.find(range.space, range.firstPage + i);
    if (entry < 0) continue;
    const frame = pages.frameOf(entry);
    pages.remove(entry);
    if (frame !== NO_FRAME) retired(frame);
    removed += 1;
  }
  return removed;
}

function storeRights(table: TableFile, range: PageRange, rights: number): void {
  const { pages } = table;
  for (let i = 0; i < range.pages; i++) {
    const entry = pages.find(range.space, range.firstPage + i);
    assert(entry >= 0, 'protected page has no entry');
    pages.setFlags(entry, (pages.flagsOf(entry) & ~RIGHTS_MASK) | rights);
  }
}

/**
 * The whole piece of an allocation that begins at `entry`, which has START: the number of its
 * pages. It ends before a page without entry, before the next START, or with the region.
 */
export function allocationPages(table: TableFile, entry: number): number {
  const { pages } = table;
  assert((pages.flagsOf(entry) & EntryFlag.START) !== 0, 'an allocation is counted from its start');
  const space = pages.spaceOf(entry);
  const first = pages.pageOf(entry);
  const limit = table.pagesPerRegion - (first % table.pagesPerRegion);
  let count = 1;
  while (count < limit) {
    const next = pages.find(space, first + count);
    if (next < 0 || (pages.flagsOf(next) & EntryFlag.START) !== 0) break;
    count += 1;
  }
  return count;
}

/**
 * What a new process does before it believes the tables: undoes or finishes the change that was
 * under way, drops what lies in no region that is held (all who ask for it are told so), ends
 * pauses, and drops what no client had confirmed. A provisional continuation stays: the piece
 * before it decides. Regions that are being handed over stay as they are, and paused, because
 * another node may have them by now. May itself die anywhere and be run again. A string says why
 * the tables cannot be adopted, for people.
 */
export function recover(table: TableFile): string | undefined {
  const reason = recoverIntent(table);
  if (reason !== undefined) return reason;
  dropWhatIsNotHeld(table);
  settlePauses(table);
  const ignored: FrameRetired = () => {};
  for (let at = table.pages.next(0); at >= 0; at = table.pages.next(at + ENTRY_WORDS)) {
    const flags = table.pages.flagsOf(at);
    const isProvisional = (flags & EntryFlag.PROVISIONAL) !== 0;
    if (!isProvisional || (flags & EntryFlag.CONTINUATION) !== 0 || isHanding(table, at)) continue;
    const space = table.pages.spaceOf(at);
    const firstPage = table.pages.pageOf(at);
    freePages(table, { space, firstPage, pages: allocationPages(table, at) }, ignored);
  }
  return undefined;
}

function isHanding({ pages, regions, pagesPerRegion }: TableFile, at: number): boolean {
  return regions.isHanding(pages.spaceOf(at), Math.floor(pages.pageOf(at) / pagesPerRegion));
}

/**
 * Nobody moves these pages any more: each has its frame, be it the old one or the new one. Those of
 * a region that is being handed over are paused, which a file need not say of each.
 */
function settlePauses(table: TableFile): void {
  const { pages } = table;
  for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
    pages.setPaused(at, isHanding(table, at));
  }
}

/** The rest of the table means the same without them. */
function dropWhatIsNotHeld(table: TableFile): void {
  const { pages, regions } = table;
  for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
    const region = Math.floor(pages.pageOf(at) / table.pagesPerRegion);
    if (!regions.holds(pages.spaceOf(at), region)) pages.remove(at);
  }
  regions.dropLooseOpenings();
}

function recoverIntent(table: TableFile): string | undefined {
  const change: IntendedChange = table.intent.read();
  if (change.pages > table.pagesPerRegion) return 'the intent record is damaged';
  switch (change.kind) {
    case IntentKind.NONE:
      return undefined;
    case IntentKind.ALLOCATE:
    case IntentKind.FREE:
      removeEntries(table, change, () => {});
      break;
    case IntentKind.PROTECT:
      storeRights(table, change, change.rights & RIGHTS_MASK);
      break;
    default:
      return 'the intent record is of an unknown kind';
  }
  table.intent.end();
  return undefined;
}

/**
 * Looks at every entry and fails at the first that cannot be: outside of its bucket, a page twice,
 * a frame twice or out of range, a region that is not held, a piece without its start. Returns for
 * each frame whether a page uses it.
 */
export function verify(table: TableFile): Uint8Array | string {
  const { pages, facts } = table;
  const used = new Uint8Array(facts.frames);
  for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
    const problem = problemOfEntry(table, at, used);
    if (problem !== undefined) {
      return `${problem} (page ${pages.pageOf(at)} of space ${pages.spaceOf(at)})`;
    }
  }
  return used;
}

function problemOfEntry(table: TableFile, at: number, used: Uint8Array): string | undefined {
  const { pages } = table;
  const space = pages.spaceOf(at);
  const page = pages.pageOf(at);
  if (pages.find(space, page) !== at) return 'a page-table entry is in a wrong place or doubled';
  if (!table.regions.holds(space, Math.floor(page / table.pagesPerRegion))) {
    return 'a page-table entry belongs to a region that the node does not hold';
  }
  const isStart = (pages.flagsOf(at) & EntryFlag.START) !== 0;
  const isFirst = page % table.pagesPerRegion === 0;
  if (!isStart && (isFirst || pages.find(space, page - 1) < 0)) {
    return 'a page-table entry belongs to no allocation';
  }
  const frame = pages.frameOf(at);
  if (frame === NO_FRAME) return undefined;
  if (frame < 0 || frame >= used.length)
    return 'a page-table entry names a frame that does not exist';
  if (used[frame] !== 0) return 'two page-table entries name the same frame';
  used[frame] = 1;
  return undefined;
}
