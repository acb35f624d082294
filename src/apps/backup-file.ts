/**
 * A back-up of the metadata as a file: one line of text that says what follows, then the copy of
 * the database. The line is checked before anything else is believed.
 *
 *   memrack-backup {"version":1,"madeAt":"2026-01-31T12:00:00.000Z","bytes":4096,"sha256":"..."}
 */

import { createHash } from 'node:crypto';
import { existsSync, linkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SCHEMA } from '../controller/metadata/schema.js';
import { DiskError } from '../runtime/disk.js';
import { nodeDatabases } from '../runtime/node/node-database.js';
import { flushFolder, writeWholeFile } from '../runtime/node/whole-file.js';

const MAGIC = 'memrack-backup ';
const VERSION = 1;
const HEAD_BYTES_MAX = 1024;
const DRAFT = 'controller-draft';

interface Head {
  readonly version: number;
  readonly madeAt: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Backup {
  readonly madeAt: string;
  readonly copy: Uint8Array;
}

export function encodeBackup(copy: Uint8Array, madeAt: Date): Uint8Array {
  const head: Head = {
    version: VERSION,
    madeAt: madeAt.toISOString(),
    bytes: copy.length,
    sha256: digestOf(copy),
  };
  return Buffer.concat([Buffer.from(`${MAGIC}${JSON.stringify(head)}\n`, 'utf8'), copy]);
}

/** A string says why it cannot be used, for people. */
export function decodeBackup(file: Uint8Array): Backup | string {
  const end = file.indexOf(0x0a);
  const line = Buffer.from(file.subarray(0, Math.min(end, HEAD_BYTES_MAX))).toString('utf8');
  if (end < 0 || end > HEAD_BYTES_MAX || !line.startsWith(MAGIC)) return 'it is no back-up';
  let head: Partial<Head>;
  try {
    head = JSON.parse(line.slice(MAGIC.length)) as Partial<Head>;
  } catch {
    return 'its first line is damaged';
  }
  const { version, madeAt = '', bytes, sha256 } = head;
  if (version !== VERSION) {
    return `it has version ${String(version)}, this program knows ${VERSION}: use the other one`;
  }
  const copy = file.subarray(end + 1);
  if (copy.length !== bytes) return `it has ${copy.length} bytes of ${String(bytes)}`;
  if (digestOf(copy) !== sha256) return 'its checksum does not match: it was damaged';
  return { madeAt, copy };
}

/** Throws (EEXIST) where there is a file of that name, and leaves nothing behind then. */
export function writeBackup(path: string, bytes: Uint8Array): void {
  writeWholeFile(path, bytes);
}

/**
 * Puts the copy where a controller will find it, marked as older than the truth, so that it asks
 * all nodes first. Rejects with `DiskError` where there is a database already.
 */
export async function restoreMetadata(folder: string, { copy }: Backup): Promise<void> {
  const path = join(folder, 'controller.sqlite');
  for (const left of [path, `${path}-wal`]) {
    if (!existsSync(left)) continue;
    const remedy = 'name another folder, or move it away, with the files beside it';
    throw new DiskError('exists', `${left} exists already: ${remedy}`);
  }
  // Under another name until it is marked: nobody shall start on it before.
  const draft = join(folder, `${DRAFT}.sqlite`);
  for (const end of ['', '-wal', '-shm', '.draft']) rmSync(`${draft}${end}`, { force: true });
  await nodeDatabases.restore(folder, DRAFT, copy);
  const database = await nodeDatabases.open(folder, DRAFT, SCHEMA);
  await database.commit([{ put: 'counters', row: { name: 'restoring', next: 1 } }]);
  await database.close();
  // Unlike a rename it never takes the place of a file that came meanwhile.
  linkSync(draft, path);
  for (const end of ['', '-wal', '-shm', '.lock']) rmSync(`${draft}${end}`, { force: true });
  flushFolder(folder);
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
