/**
 * The file of a persistent memory, as its supervisor makes and opens it. To make one is an act of
 * its own, so that a disk that is not mounted never looks like an empty node; to open one is to
 * know that nobody else does, what is on the disk, and whose it is. See
 * docs/internals/persistence.md.
 */

import { formatBytes } from '../../base/units.js';
import { writeImage } from '../../disk/durable-image.js';
import {
  type Checkpoint,
  durablePlaces,
  type DurableSizes,
  MAPPED_PART,
  SERVED_PART,
  writeSuperblock,
} from '../../disk/durable-layout.js';
import { LogWriter } from '../../disk/durable-log.js';
import { readStoredTable, type StoredTable } from '../../disk/durable-table.js';
import {
  formatTableFile,
  TableFile,
  tableFileBytes,
  type TableFacts,
} from '../../disk/table-file.js';
import { sleep } from '../../runtime/clock.js';
import { DiskError } from '../../runtime/disk.js';
import type { DurableFile } from '../../runtime/durable.js';
import { MAPPING_BYTES_MAX, type Mapping, MemoryError } from '../../runtime/memory.js';
import type { Runtime } from '../../runtime/runtime.js';
import { CannotStart } from '../process.js';
import type { PersistentConfig } from '../config.js';
import { durableFaults } from './planted.js';

/** Each store that was flushed there is known to be there after a crash. */
const PROVEN: readonly string[] = ['ext4', 'xfs'];
/** A process that was killed holds its locks until the system is done with it. */
const LOCK_MS = 5_000;
const LOCK_LOOK_MS = 20;
const SAY_MS = 10_000;
const FIRST: Checkpoint = {
  generation: 1,
  salt: 0,
  image: 0,
  opening: 0,
  device: 0,
  inode: 0,
  isClosed: true,
};

/** Makes the file with all of its place on the disk; it has its name when it is whole. */
export async function createFile(
  runtime: Runtime,
  { path, logBytes }: PersistentConfig,
  facts: TableFacts,
): Promise<void> {
  const { durables, disk } = runtime;
  const sizes: DurableSizes = {
    frameBytes: facts.frames * facts.pageBytes,
    tableBytes: tableFileBytes(facts),
    logBytes,
  };
  const { end } = durablePlaces(sizes);
  if (end - sizes.frameBytes > MAPPING_BYTES_MAX) {
    throw new CannotStart(
      `the tables of ${formatBytes(sizes.frameBytes)} are too large: take larger pages`,
    );
  }
  if (await exists(runtime, path)) {
    throw new CannotStart(`${path} is there already: leave out --create to serve what is in it`);
  }
  const made = `${path}.new`;
  const file = await attempt(durables.create(made, end), (error) =>
    notMade(path, made, end, error),
  );
  let name = made;
  try {
    formatFile(runtime, file, sizes, facts);
    const range = { offset: sizes.frameBytes, bytes: end - sizes.frameBytes };
    if (!durableFaults.creationNotFlushed) await file.flush([range]);
    await disk.rename(made, path);
    name = path;
    if (!durableFaults.creationNotFlushed) await disk.flushDirectory(folderOf(path));
  } catch (error) {
    // Also under its own name: whoever served it then could lose it with its name.
    await disk.remove(name).catch(() => undefined);
    throw new CannotStart(`${path} could not be made: ${String(error)}`);
  } finally {
    file.release();
  }
}

async function exists({ disk }: Runtime, path: string): Promise<boolean> {
  try {
    await (await disk.open(path, 'read')).close();
    return true;
  } catch (error) {
    if (error instanceof DiskError && error.kind === 'not-found') return false;
    throw new CannotStart(`${path} cannot be looked at: ${String(error)}`);
  }
}

function notMade(path: string, made: string, bytes: number, error: unknown): string {
  const kind = error instanceof DiskError ? error.kind : undefined;
  if (kind === 'full') {
    return (
      `the disk has no ${formatBytes(bytes)} left for ${path}: free some, lend less (--memory), ` +
      'or name a file on another disk'
    );
  }
  if (kind === 'exists') {
    return `${made} is there: somebody makes the file just now, or died of it; then remove it`;
  }
  return `${path} cannot be made: ${String(error)}`;
}

function formatFile(
  { memory, checksum, entropy }: Runtime,
  file: DurableFile,
  sizes: DurableSizes,
  facts: TableFacts,
): void {
  const shown = file.map(sizes.frameBytes, file.bytes - sizes.frameBytes);
  const table = memory.create('memrack-new-table', sizes.tableBytes);
  const mapping = table.map(0, sizes.tableBytes);
  formatTableFile(mapping, facts);
  const { device, inode } = file;
  const of = { ...FIRST, salt: entropy.u32(), device, inode };
  const start = sizes.frameBytes;
  const image = writeImage(shown, start, sizes, of, mapping.words, checksum);
  writeSuperblock(shown, start, sizes, { ...of, image: image.checksum });
  const { log } = durablePlaces(sizes);
  const writer = new LogWriter(partOf(shown, log - start, sizes.logBytes), log, checksum);
  writer.begin(of);
  writer.append({ count: 0, records: new Int32Array(0) });
  table.release();
}

function partOf({ bytes, words }: Mapping, from: number, length: number) {
  const part = bytes.subarray(from, from + length);
  const view = new DataView(part.buffer, part.byteOffset, part.length);
  return { bytes: part, words: words.subarray(from / 4, (from + length) / 4), view };
}

function folderOf(path: string): string {
  const end = path.lastIndexOf('/');
  return end < 0 ? '.' : path.slice(0, Math.max(1, end));
}

export interface OpenedFile {
  /** For the processes that serve; the locks are this opening's. */
  readonly file: DurableFile;
  /** Told itself of every flush that fails, whoever asked for it. */
  readonly flusher: DurableFile;
  readonly stored: StoredTable;
  /** Where nobody has shown that it keeps what was flushed; else empty. */
  readonly unprovenFileSystem: string;
  /** Of this opening: not one of those before. */
  readonly opening: number;
}

/** Rejects with a `CannotStart`, and holds nothing then. */
export async function openFile(
  runtime: Runtime,
  config: PersistentConfig,
  nodeId: string,
  isStopped: () => boolean,
): Promise<OpenedFile> {
  const { path } = config;
  const file = await attempt(runtime.durables.open(path), (error) => notOpened(path, error));
  try {
    const unprovenFileSystem = checkFileSystem(file, config);
    await lock(runtime, file, path, isStopped);
    const flusher = await settled(runtime, file, config);
    const show = (offset: number, bytes: number): Mapping => file.map(offset, bytes);
    const stored = readStoredTable(show, file.bytes, runtime.checksum);
    if (typeof stored === 'string') {
      const remedy = `see memrack doctor --verify ${path}; restore the file from a copy`;
      throw new CannotStart(`${path} is damaged: ${stored}; ${remedy}`);
    }
    checkOwner(file, stored, config, nodeId);
    // From here on others may map it together.
    file.unlock(MAPPED_PART);
    const opening = newOpening(runtime, stored.table);
    return { file, flusher, stored, unprovenFileSystem, opening };
  } catch (error) {
    file.release();
    throw error;
  }
}

async function attempt<T>(made: Promise<T>, reason: (error: unknown) => string): Promise<T> {
  try {
    return await made;
  } catch (error) {
    throw new CannotStart(reason(error));
  }
}

function notOpened(path: string, error: unknown): string {
  if (error instanceof DiskError && error.kind === 'not-found') {
    return (
      `there is no ${path}: mount its disk; a new file, with new and empty memory, is made by ` +
      '--create'
    );
  }
  if (error instanceof MemoryError) return `${path} is damaged, or no such file: ${error.message}`;
  return `${path} cannot be opened: ${String(error)}`;
}

function checkFileSystem({ fileSystem }: DurableFile, config: PersistentConfig): string {
  if (PROVEN.includes(fileSystem)) return '';
  if (config.unprovenFileSystem) return fileSystem;
  throw new CannotStart(
    `${config.path} is on ${fileSystem}, and it is known of ${PROVEN.join(' and ')} alone that ` +
      'what was flushed survives: name a file on one of these, or accept that it may not ' +
      '(--unproven-file-system)',
  );
}

/**
 * Nobody serves the file, and nobody has its frames mapped: a thread of a process that was stopped
 * could store into what belongs to somebody else by now.
 */
async function lock(
  { clock, timers, log }: Runtime,
  file: DurableFile,
  path: string,
  isStopped: () => boolean,
): Promise<void> {
  const untilMs = clock.now() + LOCK_MS;
  while (!file.lock(SERVED_PART, 'exclusive')) {
    if (clock.now() >= untilMs) {
      throw new CannotStart(`${path} is being served: end that memory node first`);
    }
    await sleep(timers, LOCK_LOOK_MS);
  }
  for (let saidMs = clock.now(); !file.lock(MAPPED_PART, 'exclusive'); ) {
    if (isStopped()) throw new CannotStart('it was told to end');
    if (clock.now() - saidMs >= SAY_MS) {
      saidMs = clock.now();
      log.write('warn', 'a program of this machine still has the memory: end it, or let it go on', {
        path,
      });
    }
    await sleep(timers, LOCK_LOOK_MS);
  }
}

/** An opening of its own for flushes, made when the file is as the disk has it. */
async function settled(
  runtime: Runtime,
  file: DurableFile,
  { path, unprovenFileSystem }: PersistentConfig,
): Promise<DurableFile> {
  const { clock, timers, log, memory, durables } = runtime;
  const untilMs = clock.now() + LOCK_MS;
  while (!durableFaults.notSettled) {
    const end = await file.settle();
    if (end === 'lossy') {
      log.write('warn', 'something that was not flushed is lost: the disk had failed', { path });
    }
    if (end !== 'in use') break;
    if (clock.now() >= untilMs) {
      if (unprovenFileSystem) break;
      throw new CannotStart(`what the disk has of ${path} cannot be known: a program reads it`);
    }
    await sleep(timers, LOCK_LOOK_MS);
  }
  return durables.openNamed(memory.nameOf(file.handle));
}

function checkOwner(
  { inode }: DurableFile,
  { table, checkpoint }: StoredTable,
  { path, trustCopy }: PersistentConfig,
  nodeId: string,
): void {
  const opened = TableFile.open(mappingOf(table));
  if (typeof opened === 'string') throw new CannotStart(`${path} is damaged: ${opened}`);
  const { facts } = opened;
  if (facts.nodeId !== nodeId) {
    throw new CannotStart(`${path} is the memory of ${facts.nodeId}, not of ${nodeId}`);
  }
  if (checkpoint.isClosed || checkpoint.inode === inode || trustCopy) return;
  throw new CannotStart(
    `${path} is a copy of a file that was being served when it was made: serve that one; if it ` +
      'is gone for good, and what was stored since may be lost, say so by --trust-copy',
  );
}

/** Words as a mapping of their own. */
export function mappingOf(words: Int32Array): Mapping {
  const { buffer, byteOffset, byteLength } = words;
  return {
    words,
    bytes: new Uint8Array(buffer, byteOffset, byteLength),
    view: new DataView(buffer, byteOffset, byteLength),
    wide: new BigUint64Array(buffer, byteOffset, byteLength / 8),
  };
}

function newOpening({ entropy }: Runtime, table: Int32Array): number {
  const opened = TableFile.open(mappingOf(table));
  const before = typeof opened === 'string' ? [] : opened.openings;
  for (;;) {
    const opening = entropy.u32();
    if (opening !== 0 && !before.includes(opening)) return opening;
  }
}
