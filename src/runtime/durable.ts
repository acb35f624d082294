/**
 * Memory files on a disk: mapped and handed on like those of `memory.ts`, they outlive processes,
 * and machines as far as they were flushed.
 */

import type { MemoryFile, MemoryHandle } from './memory.js';

/** Of a file, in bytes; multiples of 4,096. */
export interface FileRange {
  readonly offset: number;
  readonly bytes: number;
}

/**
 * `settled`: the file is as the disk has it. `lossy`: so it is, and something that was stored in it
 * is lost, because a flush failed, this one or one before. `in use`: it cannot be known, because
 * somebody has it mapped.
 */
export type Settled = 'settled' | 'lossy' | 'in use';

export interface DurableFile extends MemoryFile {
  /** Of which file of this machine it is an opening: a copy is another one. */
  readonly device: number;
  readonly inode: number;
  /** What the file lies on, as `ext4`; one that is not known by name as `0x` and its number. */
  readonly fileSystem: string;
  /**
   * When it resolves, what was stored in these ranges before the call survives the machine, each
   * aligned word of 8 bytes whole. What is not flushed may be on the disk at any time, and in any
   * order. Only of what this object has mapped. One at a time: the next begins when the one before
   * has ended.
   *
   * Rejects with a `DiskError`: what is on the disk is not known then. The system would let a later
   * flush succeed without having written it, so every later one of this object fails, too.
   */
  flush(ranges: readonly FileRange[]): Promise<void>;
  /**
   * As `flush`, of the whole file, whoever stored it and has it mapped. Rejects with a `DiskError`
   * also where a flush by another opening has failed since this one was made.
   */
  flushAll(): Promise<void>;
  /**
   * Makes the file as the disk has it, before it is mapped: flushes all, then lets go of what the
   * machine keeps of it.
   */
  settle(): Promise<Settled>;
  /**
   * Takes a lock of the file; false where others have it. It belongs to this opening of the file,
   * in all processes that it was handed to, and ends with the last of them, or with `release` in
   * the last. Taken again it changes to what is asked for. `part` is 0 to 7.
   */
  lock(part: number, how: 'shared' | 'exclusive'): boolean;
  unlock(part: number): void;
  /** Would take its place on the disk from the file: throws. */
  discard(offset: number, bytes: number): never;
}

export interface DurableFiles {
  /**
   * All zeros, with all of its place on the disk; whole pages of 4,096 bytes. Rejects with a
   * `DiskError` (`exists`, `full`, ...). Its name is durable after `Disk.flushDirectory`.
   */
  create(path: string, bytes: number): Promise<DurableFile>;
  /** Rejects with a `DiskError`, or a `MemoryError` where its length is none of such a file. */
  open(path: string): Promise<DurableFile>;
  /** As `Memory.adopt`; throws a `MemoryError` where it is no file on a disk. */
  adopt(handle: MemoryHandle): DurableFile;
  /** As `Memory.open`, for writing: an opening of its own. */
  openNamed(name: string): DurableFile;
}
