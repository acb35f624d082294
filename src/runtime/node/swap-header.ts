/** What makes a disk swap: its first page (`union swap_header` of Linux' include/linux/swap.h). */

import { assert } from '../../base/assert.js';

const PAGE_BYTES = 4096;
const VERSION_AT = 1024;
const LAST_PAGE_AT = 1028;
const UUID_AT = 1036;
const LABEL_AT = 1052;
const LABEL_BYTES = 16;
const MAGIC = 'SWAPSPACE2';
/** Fewer pages are no swap (mkswap(8)). */
const PAGES_LEAST = 10;

/** The page for a disk of so many bytes; `uuid` has 16. */
export function swapHeader(bytes: number, uuid: Uint8Array, label: string): Uint8Array {
  const pages = Math.floor(bytes / PAGE_BYTES);
  assert(pages >= PAGES_LEAST && pages <= 2 ** 32, 'swap has 10 to 2^32 pages');
  assert(uuid.length === 16 && label.length < LABEL_BYTES);
  const page = Buffer.alloc(PAGE_BYTES);
  page.writeUInt32LE(1, VERSION_AT);
  page.writeUInt32LE(pages - 1, LAST_PAGE_AT);
  page.set(uuid, UUID_AT);
  page.write(label, LABEL_AT, 'latin1');
  page.write(MAGIC, PAGE_BYTES - MAGIC.length, 'latin1');
  return page;
}

/** The label of swap, from its first page; undefined where it is none. */
export function swapLabel(page: Buffer): string | undefined {
  const magic = page.toString('latin1', PAGE_BYTES - MAGIC.length, PAGE_BYTES);
  if (magic !== MAGIC) return undefined;
  const label = page.toString('latin1', LABEL_AT, LABEL_AT + LABEL_BYTES);
  return label.slice(0, label.indexOf('\0'));
}
