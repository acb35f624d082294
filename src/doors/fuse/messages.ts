/** Numbers in the bytes of requests and answers, and the bodies of answers that name files. */

import { readUtf8, utf8Bytes, writeUtf8 } from '../../base/utf8.js';
import type { Bytes } from '../../runtime/network.js';
import {
  ATTR_OUT_ATTR,
  ATTR_OUT_BYTES,
  ATTR_OUT_VALID,
  Attr,
  Dirent,
  DT_DIR,
  DT_REG,
  EntryOut,
  FUSE_ROOT_ID,
  INVAL_INODE_BYTES,
  IN_BYTES,
  IN_NODE,
  IN_UNIQUE,
  Notify,
  OUT_BYTES,
  OUT_ERROR,
  OUT_UNIQUE,
  S_IFDIR,
  S_IFREG,
  STATX_BASIC_STATS,
  STATX_OUT_STATX,
  STATX_OUT_VALID,
  Statx,
  StatfsOut,
} from './abi.js';
import type { FileFacts } from './files.js';

const TWO_TO_32 = 2 ** 32;
const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;
const NAME_BYTES_MAX = 255;
/** How long the kernel does not ask for names and sizes again. */
const VALID_SECONDS = 1;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** A 64-bit number; NaN where it is 2^53 or more. */
export function readNumber({ view }: Bytes, at: number): number {
  const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_TO_32;
  return value < Number.MAX_SAFE_INTEGER ? value : Number.NaN;
}

export function putNumber(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO_TO_32, true);
  view.setUint32(at + 4, Math.floor(value / TWO_TO_32), true);
}

export function nodeOf(input: Bytes): number {
  return readNumber(input, IN_NODE);
}

/** The header of an answer with a body of so many bytes; `errno` 0: it is none of an error. */
export function putHeader(output: Bytes, input: Bytes, bodyBytes: number, errno: number): number {
  const { view } = output;
  view.setUint32(0, OUT_BYTES + bodyBytes, true);
  view.setInt32(OUT_ERROR, -errno, true);
  view.setUint32(OUT_UNIQUE, input.view.getUint32(IN_UNIQUE, true), true);
  view.setUint32(OUT_UNIQUE + 4, input.view.getUint32(IN_UNIQUE + 4, true), true);
  return OUT_BYTES + bodyBytes;
}

/** The bytes of a name from the request's body on, without the zero behind it. */
export function nameOf(input: Bytes, inputBytes: number): string {
  const end = input.bytes.indexOf(0, IN_BYTES);
  const last = end < 0 || end > inputBytes ? inputBytes : end;
  return readUtf8(input.bytes, IN_BYTES, last) ?? '';
}

/** A file with the time when it was last written to here; undefined: the directory. */
export interface Shown {
  readonly facts: FileFacts;
  readonly writtenMs: number;
}

function putAttr(view: DataView, at: number, owner: Owner, shown: Shown | undefined): void {
  const file = shown?.facts;
  for (let i = 0; i < Attr.BYTES; i += 4) view.setUint32(at + i, 0, true);
  const bytes = file?.bytes ?? 0;
  putNumber(view, at + Attr.INO, file?.node ?? FUSE_ROOT_ID);
  putNumber(view, at + Attr.SIZE, bytes);
  putNumber(view, at + Attr.BLOCKS, Math.ceil(bytes / SECTOR_BYTES));
  const seconds = Math.floor((shown?.writtenMs ?? 0) / 1000);
  for (const time of [Attr.ATIME, Attr.MTIME, Attr.CTIME]) putNumber(view, at + time, seconds);
  view.setUint32(at + Attr.MODE, modeOf(file), true);
  view.setUint32(at + Attr.NLINK, file === undefined ? 2 : 1, true);
  view.setUint32(at + Attr.UID, owner.uid, true);
  view.setUint32(at + Attr.GID, owner.gid, true);
  view.setUint32(at + Attr.BLKSIZE, PAGE_BYTES, true);
}

function modeOf(file: FileFacts | undefined): number {
  return file === undefined ? S_IFDIR | 0o500 : S_IFREG | 0o600;
}

/** `file` undefined: the directory that they are in. Returns the length of the body. */
export function putAttrOut({ view }: Bytes, owner: Owner, file: Shown | undefined): number {
  putNumber(view, OUT_BYTES + ATTR_OUT_VALID, VALID_SECONDS);
  putNumber(view, OUT_BYTES + ATTR_OUT_VALID + 8, 0);
  putAttr(view, OUT_BYTES + ATTR_OUT_ATTR, owner, file);
  return ATTR_OUT_BYTES;
}

export function putEntryOut({ view }: Bytes, owner: Owner, file: Shown): number {
  for (let i = 0; i < EntryOut.ATTR; i += 4) view.setUint32(OUT_BYTES + i, 0, true);
  putNumber(view, OUT_BYTES + EntryOut.NODE, file.facts.node);
  putNumber(view, OUT_BYTES + EntryOut.ENTRY_VALID, VALID_SECONDS);
  putNumber(view, OUT_BYTES + EntryOut.ATTR_VALID, VALID_SECONDS);
  putAttr(view, OUT_BYTES + EntryOut.ATTR, owner, file);
  return EntryOut.BYTES;
}

/** As `putAttrOut`, for statx(2). */
export function putStatxOut({ view }: Bytes, owner: Owner, shown: Shown | undefined): number {
  const bytes = STATX_OUT_STATX + Statx.BYTES;
  for (let i = 0; i < bytes; i += 4) view.setUint32(OUT_BYTES + i, 0, true);
  putNumber(view, OUT_BYTES + STATX_OUT_VALID, VALID_SECONDS);
  const at = OUT_BYTES + STATX_OUT_STATX;
  const file = shown?.facts;
  const length = file?.bytes ?? 0;
  const seconds = Math.floor((shown?.writtenMs ?? 0) / 1000);
  view.setUint32(at + Statx.MASK, STATX_BASIC_STATS, true);
  view.setUint32(at + Statx.BLKSIZE, PAGE_BYTES, true);
  view.setUint32(at + Statx.NLINK, file === undefined ? 2 : 1, true);
  view.setUint32(at + Statx.UID, owner.uid, true);
  view.setUint32(at + Statx.GID, owner.gid, true);
  view.setUint16(at + Statx.MODE, modeOf(file), true);
  putNumber(view, at + Statx.INO, file?.node ?? FUSE_ROOT_ID);
  putNumber(view, at + Statx.SIZE, length);
  putNumber(view, at + Statx.BLOCKS, Math.ceil(length / SECTOR_BYTES));
  for (const time of [Statx.ATIME, Statx.CTIME, Statx.MTIME]) putNumber(view, at + time, seconds);
  return bytes;
}

/** That pages which the kernel has of a file are not to be shown any more. */
export function invalidation(node: number): Uint8Array {
  const bytes = new Uint8Array(OUT_BYTES + INVAL_INODE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setInt32(OUT_ERROR, Notify.INVAL_INODE, true);
  putNumber(view, OUT_BYTES, node);
  return bytes;
}

/** That all requests are to come again that were read and not answered. */
export function resending(): Uint8Array {
  const bytes = new Uint8Array(OUT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, OUT_BYTES, true);
  view.setInt32(OUT_ERROR, Notify.RESEND, true);
  return bytes;
}

/** The answer to a request, as it came, that there is none. */
export function refusalOf(request: Uint8Array, errno: number): Uint8Array {
  const bytes = new Uint8Array(OUT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, OUT_BYTES, true);
  view.setInt32(OUT_ERROR, -errno, true);
  bytes.set(request.subarray(IN_UNIQUE, IN_UNIQUE + 8), OUT_UNIQUE);
  return bytes;
}

export function putStatfsOut({ view }: Bytes, files: readonly FileFacts[]): number {
  for (let i = 0; i < StatfsOut.BYTES; i += 4) view.setUint32(OUT_BYTES + i, 0, true);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  putNumber(view, OUT_BYTES + StatfsOut.BLOCKS, Math.floor(bytes / PAGE_BYTES));
  putNumber(view, OUT_BYTES + StatfsOut.FILES, files.length);
  view.setUint32(OUT_BYTES + StatfsOut.BSIZE, PAGE_BYTES, true);
  view.setUint32(OUT_BYTES + StatfsOut.NAMELEN, NAME_BYTES_MAX, true);
  view.setUint32(OUT_BYTES + StatfsOut.FRSIZE, PAGE_BYTES, true);
  return StatfsOut.BYTES;
}

/** Entries of the directory from number `from` on, as many as fit into so many bytes. */
export function putDirents(
  output: Bytes,
  files: readonly FileFacts[],
  from: number,
  room: number,
): number {
  const parents = ['.', '..'].map((name) => ({ node: FUSE_ROOT_ID, name, type: DT_DIR }));
  const all = [...parents, ...files.map(({ node, name }) => ({ node, name, type: DT_REG }))];
  let used = 0;
  for (let i = from; i < all.length; i++) {
    const { node, name, type } = all[i] as (typeof all)[number];
    const text = utf8Of(name);
    const bytes = Math.ceil((Dirent.NAME + text.length) / 8) * 8;
    if (used + bytes > room) break;
    const at = OUT_BYTES + used;
    output.bytes.fill(0, at, at + bytes);
    putNumber(output.view, at + Dirent.INO, node);
    putNumber(output.view, at + Dirent.OFF, i + 1);
    output.view.setUint32(at + Dirent.NAMELEN, text.length, true);
    output.view.setUint32(at + Dirent.TYPE, type, true);
    output.bytes.set(text, at + Dirent.NAME);
    used += bytes;
  }
  return used;
}

function utf8Of(text: string): Uint8Array {
  const bytes = new Uint8Array(utf8Bytes(text));
  writeUtf8(bytes, 0, text);
  return bytes;
}
