/**
 * The token of a window: a text that another process can be handed, and that names one window at
 * each node that holds a part of the range.
 *
 *   mw1-  then in hexadecimal, little-endian:
 *         space u32, rights u32, first address f64, bytes f64,
 *         per region in order: window u32, epoch u32,
 *         CRC-32C of all that u32
 *
 * A token may come from anywhere, so nothing in it is believed before all of it was checked. It is
 * a name that is hard to guess, not a secret of its own: whoever has it may do what it allows.
 */

import { crc32c } from '../base/crc32c.js';
import {
  ADDRESS_END,
  GRANT_REGIONS_MAX,
  REGION_BYTES,
  SPACE_ID_END,
  WINDOWS_END,
} from '../wire/limits.js';
import { invalid, MemrackError } from './error.js';

export type WindowRights = 'r' | 'rw';

/** One node's window over the part of the range in one region. */
export interface WindowPart {
  readonly window: number;
  readonly epoch: number;
}

export interface WindowFacts {
  readonly space: number;
  readonly at: number;
  readonly bytes: number;
  readonly rights: WindowRights;
  /** Of the regions from the first on. */
  readonly parts: readonly WindowPart[];
}

/** The longest range that can be allocated, which may begin within a region. */
const REGIONS_MAX = GRANT_REGIONS_MAX + 1;
const PREFIX = 'mw1-';
const HEAD_BYTES = 24;
const PART_BYTES = 8;
const SUM_BYTES = 4;
const TEXT_MAX = PREFIX.length + 2 * (HEAD_BYTES + REGIONS_MAX * PART_BYTES + SUM_BYTES);
const RIGHTS: readonly WindowRights[] = ['r', 'rw'];

/** Regions that a range lies in. */
export function regionCount(at: number, bytes: number): number {
  return Math.floor((at + bytes - 1) / REGION_BYTES) - Math.floor(at / REGION_BYTES) + 1;
}

/** What is wrong with a range that a window is to cover, or undefined. */
export function badWindowRange(at: number, bytes: number): string | undefined {
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(bytes) || at < 1 || bytes < 1) {
    return 'it has no range';
  }
  if (at + bytes > ADDRESS_END) return 'it ends beyond 2^53';
  if (regionCount(at, bytes) > REGIONS_MAX) return `it is longer than ${GRANT_REGIONS_MAX} GiB`;
  return undefined;
}

export function encodeToken({ space, at, bytes, rights, parts }: WindowFacts): string {
  const length = HEAD_BYTES + parts.length * PART_BYTES;
  const data = new Uint8Array(length + SUM_BYTES);
  const view = new DataView(data.buffer);
  view.setUint32(0, space, true);
  view.setUint32(4, RIGHTS.indexOf(rights), true);
  view.setFloat64(8, at, true);
  view.setFloat64(16, bytes, true);
  for (const [i, { window, epoch }] of parts.entries()) {
    view.setUint32(HEAD_BYTES + i * PART_BYTES, window, true);
    view.setUint32(HEAD_BYTES + i * PART_BYTES + 4, epoch, true);
  }
  view.setUint32(length, crc32c(data, 0, length), true);
  return PREFIX + Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function decodeToken(text: unknown): WindowFacts | MemrackError {
  if (typeof text !== 'string' || !/^mw\d{1,4}-/.test(text)) return wrong('it is no token');
  if (!text.startsWith(PREFIX)) {
    const remedy = 'use the same version of memrack on both sides';
    const what = 'the token of the window is of another version';
    return new MemrackError('Unsupported', what, { remedy });
  }
  const isHex = text.length <= TEXT_MAX && /^([0-9a-f]{2})+$/.test(text.slice(PREFIX.length));
  const length = (text.length - PREFIX.length) / 2 - SUM_BYTES;
  const partBytes = length - HEAD_BYTES;
  if (!isHex || partBytes < PART_BYTES || partBytes % PART_BYTES !== 0) {
    return wrong('a part of it is missing');
  }
  const data = Uint8Array.from({ length: length + SUM_BYTES }, (_, i) =>
    Number.parseInt(text.slice(PREFIX.length + 2 * i, PREFIX.length + 2 * i + 2), 16),
  );
  const view = new DataView(data.buffer);
  if (view.getUint32(length, true) !== crc32c(data, 0, length)) return wrong('it was changed');
  return factsOf(view, partBytes / PART_BYTES);
}

function factsOf(view: DataView, count: number): WindowFacts | MemrackError {
  const space = view.getUint32(0, true);
  const rights = RIGHTS[view.getUint32(4, true)];
  const at = view.getFloat64(8, true);
  const bytes = view.getFloat64(16, true);
  const problem = badWindowRange(at, bytes);
  if (problem !== undefined) return wrong(problem);
  const isSpace = space > 0 && space < SPACE_ID_END;
  if (!isSpace || rights === undefined || regionCount(at, bytes) !== count) {
    return wrong('it makes no sense');
  }
  const parts: WindowPart[] = [];
  for (let i = 0; i < count; i++) {
    const window = view.getUint32(HEAD_BYTES + i * PART_BYTES, true);
    const epoch = view.getUint32(HEAD_BYTES + i * PART_BYTES + 4, true);
    if (window >= WINDOWS_END || epoch === 0) return wrong('it makes no sense');
    parts.push({ window, epoch });
  }
  return { space, at, bytes, rights, parts };
}

function wrong(why: string): MemrackError {
  return invalid(`this is not the token of a window: ${why}`, 'pass what `token` gave, unchanged');
}
