/**
 * Where the backup of a device is: a file that is made with the device, by whoever makes that, on
 * the machine whose host is to keep it. A host never makes one: else whoever may make devices could
 * have files made anywhere there.
 */

import { type Disk, DiskError, type File } from '../../runtime/disk.js';
import type { Checksum, Entropy } from '../../runtime/runtime.js';
import { type FileFacts, factsIn, HEAD_BYTES, headOf } from './layout.js';

export interface PathParts {
  readonly disk: Disk;
  readonly checksum: Checksum;
}

/** What is locked by the process that writes to the file. */
export const lockOf = (path: string): string => `${path}.lock`;

/** Durable when it resolves. Rejects with `DiskError`, of the kind `exists` where something is. */
export async function makeBackup(
  { disk, checksum, entropy }: PathParts & { readonly entropy: Entropy },
  path: string,
  of: Omit<FileFacts, 'file'>,
): Promise<void> {
  const file = await disk.open(path, 'create');
  try {
    const head = headOf({ ...of, file: entropy.u53() }, checksum);
    await file.write(0, head);
    await file.write(HEAD_BYTES, head);
    await file.flush();
    await disk.flushDirectory(folderOf(path));
  } catch (error) {
    await disk.remove(path).catch(() => undefined);
    throw error;
  } finally {
    await file.close();
  }
}

/** The file, open, and what it is; a text says why it is not the backup of this device. */
export async function openBackup(
  { disk, checksum }: PathParts,
  path: string,
  of: Omit<FileFacts, 'file'>,
): Promise<{ readonly file: File; readonly facts: FileFacts } | string> {
  let file: File;
  try {
    file = await disk.open(path, 'write');
  } catch (error) {
    if (error instanceof DiskError) return error.message;
    throw error;
  }
  const facts = await factsOf(file, checksum);
  if (typeof facts !== 'string') {
    if (facts.device === of.device && facts.slabBytes === of.slabBytes) return { file, facts };
  }
  await file.close();
  return `${path}: ${typeof facts === 'string' ? facts : 'it is that of another device'}`;
}

async function factsOf(file: File, checksum: Checksum): Promise<FileFacts | string> {
  const heads = new Uint8Array(2 * HEAD_BYTES);
  try {
    await file.read(0, heads);
  } catch (error) {
    if (error instanceof DiskError) return error.message;
    throw error;
  }
  return factsIn(heads, checksum);
}

/** Of a device that was removed. False: it is not here, or not that of this device. */
export async function removeBackup(
  parts: PathParts,
  path: string,
  of: Omit<FileFacts, 'file'>,
): Promise<boolean> {
  const opened = await openBackup(parts, path, of);
  if (typeof opened === 'string') return false;
  await opened.file.close();
  await parts.disk.remove(path);
  await parts.disk.remove(lockOf(path)).catch((error: unknown) => {
    if (!(error instanceof DiskError && error.kind === 'not-found')) throw error;
  });
  await parts.disk.flushDirectory(folderOf(path));
  return true;
}

const folderOf = (path: string): string => path.replace(/\/[^/]*$/, '') || '/';
