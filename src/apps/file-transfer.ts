/**
 * Whole files in and out of remote memory, a window of pieces at a time, with a SHA-256 that is
 * taken on the way and kept in the directory. A file that fails on the way changes nothing: the
 * directory names it only when all of it is there, and on disk it appears by a rename.
 */

import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MiB } from '../base/units.js';
import { MemrackError } from '../client/error.js';
import type { FileFacts } from '../client/files.js';
import type { Rack } from '../client/rack.js';
import type { RemoteSpace } from '../client/space.js';

/** The space that files are put into. */
export const FILES_SPACE = 'files';
const CHUNK_BYTES = MiB;
/** Chunks under way at the same time. */
const CHUNKS_MAX = 8;

export interface TransferOptions {
  /** Told how many more bytes have gone. */
  readonly moved?: (bytes: number) => void;
  /** Ends it with the signal's reason, as a failure would: nothing is left behind. */
  readonly signal?: AbortSignal;
}

/** Writes the file into memory of its own and enters it under the key. */
export async function putFile(
  rack: Rack,
  key: string,
  path: string,
  options: TransferOptions = {},
): Promise<FileFacts> {
  const facts = await stat(path);
  if (!facts.isFile()) {
    const remedy = 'name a file';
    throw new MemrackError('Invalid', `${path} is not a regular file`, { remedy });
  }
  const space = await rack.space(FILES_SPACE, { create: true });
  const length = facts.size;
  // An empty file needs an entry, and no memory.
  const address = length === 0 ? 0 : await allocate(rack, space, length);
  const giveBack = async (error: unknown): Promise<never> => {
    if (address !== 0) await space.free(address).catch(() => {});
    throw error;
  };
  const sha256 = await upload(space, address, path, length, options).catch(giveBack);
  const entry = { key, space: space.id, address, length, sha256 };
  await rack.files.put([entry]).catch((error: unknown) => {
    // Otherwise the entry may have been made: what it names must stay.
    if (isRefusal(error)) return giveBack(error);
    throw error;
  });
  await freeGarbage(rack);
  return entry;
}

/** Takes the entry out and gives its memory back. */
export async function removeFile(rack: Rack, key: string): Promise<FileFacts> {
  const facts = await rack.files.remove(key);
  await freeGarbage(rack);
  return facts;
}

/** The file is put or removed already: what cannot be freed now is freed by the next one. */
async function freeGarbage(rack: Rack): Promise<void> {
  await rack.files.freeGarbage().catch(() => {});
}

/** What others have replaced and not freed is freed when memory is short. */
async function allocate(rack: Rack, space: RemoteSpace, bytes: number): Promise<number> {
  try {
    return await space.alloc(bytes);
  } catch (error) {
    if ((error as MemrackError).code !== 'NoSpace') throw error;
    while (await rack.files.freeGarbage());
    return await space.alloc(bytes);
  }
}

function isRefusal(error: unknown): boolean {
  return ['Invalid', 'NoSpace', 'NotFound', 'Denied'].includes((error as MemrackError).code);
}

async function upload(
  space: RemoteSpace,
  address: number,
  path: string,
  length: number,
  { moved, signal }: TransferOptions,
): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'r');
  const pending = new Set<Promise<void>>();
  try {
    for (let done = 0; done < length; ) {
      signal?.throwIfAborted();
      const chunk = await readChunk(file, done, Math.min(CHUNK_BYTES, length - done), path);
      hash.update(chunk);
      const write: Promise<void> = space.write(address + done, chunk).then(() => {
        pending.delete(write);
        moved?.(chunk.length);
      });
      // It is looked at below; until then its failure is nobody's.
      write.catch(() => {});
      pending.add(write);
      done += chunk.length;
      if (pending.size >= CHUNKS_MAX) await Promise.race(pending);
    }
    await Promise.all(pending);
    signal?.throwIfAborted();
  } finally {
    // A write whose failure ended the loop is not the only one under way.
    await Promise.allSettled(pending);
    await file.close();
  }
  return hash.digest('hex');
}

async function readChunk(
  file: FileHandle,
  position: number,
  bytes: number,
  path: string,
): Promise<Uint8Array> {
  const chunk = new Uint8Array(bytes);
  for (let got = 0; got < bytes; ) {
    const { bytesRead } = await file.read(chunk, got, bytes - got, position + got);
    if (bytesRead === 0) {
      const remedy = 'put it again when nobody writes to it';
      throw new MemrackError('Conflict', `${path} became shorter while it was read`, { remedy });
    }
    got += bytesRead;
  }
  return chunk;
}

export interface GetOptions extends TransferOptions {
  /** Told what is read, once more when it was replaced meanwhile. */
  readonly found?: (facts: FileFacts) => void;
}

/**
 * Writes what the key names to `path`. `Corrupt`, with nothing written, when the sum is wrong. A
 * file that is replaced while it is read is read again, once.
 */
export async function getFile(
  rack: Rack,
  key: string,
  path: string,
  options: GetOptions = {},
): Promise<FileFacts> {
  await checkTarget(path);
  const facts = await rack.files.get(key);
  try {
    return await copyOut(rack, facts, path, options);
  } catch (error) {
    if (!mayBeReplaced(error)) throw error;
    const now = await rack.files.get(key);
    const isSame = now.space === facts.space && now.address === facts.address;
    if (isSame && now.length === facts.length && now.sha256 === facts.sha256) throw error;
    return await copyOut(rack, now, path, options);
  }
}

/** What is there is replaced by a rename, which nobody means for a folder or a device. */
async function checkTarget(path: string): Promise<void> {
  const facts = await stat(path).catch(() => undefined);
  if (facts?.isFile() === false) {
    const remedy = 'name a file that may be written';
    throw new MemrackError('Invalid', `${path} is not a regular file`, { remedy });
  }
  const folder = dirname(path);
  const around = await stat(folder).catch(() => undefined);
  if (around?.isDirectory() === true) return;
  const remedy = 'make it first, or name another';
  throw new MemrackError('Invalid', `there is no folder ${folder}`, { remedy });
}

function mayBeReplaced(error: unknown): boolean {
  const { code } = error as MemrackError;
  return ['Corrupt', 'NotAllocated', 'NotFound', 'DataLost'].includes(code);
}

async function copyOut(
  rack: Rack,
  facts: FileFacts,
  path: string,
  options: GetOptions,
): Promise<FileFacts> {
  options.found?.(facts);
  const temporary = join(dirname(path), `.memrack-${process.pid}-${Date.now()}`);
  const file = await open(temporary, 'wx');
  try {
    const sha256 = await download(rack, facts, file, options);
    await file.close();
    if (facts.sha256 !== '' && sha256 !== facts.sha256) {
      const remedy = 'put the file again from its source';
      const what = `what was read for ${JSON.stringify(facts.key)} is not what was put`;
      throw new MemrackError('Corrupt', what, { remedy });
    }
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
  return facts;
}

async function download(
  rack: Rack,
  facts: FileFacts,
  file: FileHandle,
  { moved, signal }: TransferOptions,
): Promise<string> {
  const hash = createHash('sha256');
  if (facts.length === 0) return hash.digest('hex');
  const space = await rack.spaceOf(facts.space);
  const ahead: Promise<Uint8Array>[] = [];
  let asked = 0;
  for (let done = 0; done < facts.length; ) {
    signal?.throwIfAborted();
    while (asked < facts.length && ahead.length < CHUNKS_MAX) {
      const bytes = Math.min(CHUNK_BYTES, facts.length - asked);
      ahead.push(space.read(facts.address + asked, bytes));
      asked += bytes;
    }
    const chunk = await (ahead.shift() as Promise<Uint8Array>);
    hash.update(chunk);
    await writeAll(file, chunk, done);
    moved?.(chunk.length);
    done += chunk.length;
  }
  return hash.digest('hex');
}

async function writeAll(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let put = 0; put < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, put, chunk.length - put, position + put);
    put += bytesWritten;
  }
}
