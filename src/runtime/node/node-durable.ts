/** Memory files on a disk: fallocate, shared mappings, msync, locks of open file descriptions. */

import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  openSync,
  readlinkSync,
  type Stats,
  statfsSync,
  unlinkSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { assert } from '../../base/assert.js';
import { DiskError } from '../disk.js';
import type { DurableFile, DurableFiles, FileRange, Settled } from '../durable.js';
import { MemoryError, type MemoryHandle } from '../memory.js';
import { diskError } from './node-disk.js';
import { checkLength, descriptorOf, handleOf, NodeMemoryFile, openOf } from './node-memory.js';
import {
  addressOf,
  allocateFile,
  dropCached,
  errnoName,
  flushMapped,
  isCached,
  LOCK_NONE,
  LOCK_READ,
  LOCK_WRITE,
  lockByte,
} from './system.js';

const PAGE_BYTES = 4096;
/** Owner alone: they hold what users stored. */
const FILE_MODE = 0o600;
const LOCK_PARTS = 8;
/** Locks are of bytes far behind the end of every file. */
const LOCKS_AT = 2 ** 50;

const dataSync = promisify(fdatasync);

export const nodeDurables: DurableFiles = {
  async create(path, bytes) {
    checkLength(bytes);
    const fd = openPath(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
    const errno = await allocateFile(fd, bytes);
    if (errno === 0) return opened(fd);
    closeSync(fd);
    unlinkSync(path);
    const code = errnoName(errno);
    throw diskError(code, `the disk does not give ${bytes} bytes for ${path}: ${code}`);
  },

  async open(path) {
    return opened(openPath(path, constants.O_RDWR));
  },

  adopt(handle) {
    return durableFile(descriptorOf(handle), handle);
  },

  openNamed(name) {
    return opened(openOf(name, 'write'));
  },
};

function openPath(path: string, flags: number): number {
  try {
    return openSync(path, flags, FILE_MODE);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw diskError(code, `cannot open ${path}: ${message}`);
  }
}

/** The descriptor is closed where that fails. */
function opened(fd: number): DurableFile {
  try {
    return durableFile(fd, handleOf(fd));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function durableFile(fd: number, handle: MemoryHandle): DurableFile {
  const name = readlinkSync(`/proc/self/fd/${fd}`);
  const stat = fstatSync(fd);
  const { size, nlink } = stat;
  if (nlink === 0 || !stat.isFile())
    throw new MemoryError(`${name} is no durable memory file: no disk has it`);
  if (size === 0 || size % PAGE_BYTES !== 0) {
    throw new MemoryError(`${name} is no durable memory file: it is ${size} bytes long`);
  }
  return new NodeDurableFile(handle, fd, name, stat);
}

/** By the numbers that `statfs` gives them; see statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlay',
  0x2fc12fc1: 'zfs',
  0x6969: 'nfs',
};

function fileSystemOf(fd: number): string {
  const { type } = statfsSync(`/proc/self/fd/${fd}`);
  return FILE_SYSTEMS[type] ?? `0x${type.toString(16)}`;
}

interface Place {
  readonly address: number;
  readonly bytes: number;
}

class NodeDurableFile extends NodeMemoryFile implements DurableFile {
  readonly device: number;
  readonly inode: number;
  readonly fileSystem: string;
  /** The last flush that was asked for. */
  #flushed: Promise<void> = Promise.resolve();

  constructor(handle: MemoryHandle, fd: number, name: string, stat: Stats) {
    super(handle, fd, name, stat.size);
    this.device = stat.dev;
    this.inode = stat.ino;
    this.fileSystem = fileSystemOf(fd);
  }

  flush(ranges: readonly FileRange[]): Promise<void> {
    const places = ranges.flatMap((range) => this.#placesOf(range));
    this.#flushed = this.#flushed.then(() => this.#flushPlaces(places));
    return this.#flushed;
  }

  /** Where a range is mapped. */
  #placesOf({ offset, bytes }: FileRange): Place[] {
    this.check(offset, bytes);
    const end = offset + bytes;
    const places: Place[] = [];
    for (let at = offset; at < end; ) {
      const piece = this.mapped.find((one) => {
        return one.offset <= at && at < one.offset + one.buffer.byteLength;
      });
      assert(piece !== undefined, 'only what is mapped is flushed');
      const address = addressOf(new Uint8Array(piece.buffer)) + (at - piece.offset);
      const length = Math.min(end, piece.offset + piece.buffer.byteLength) - at;
      places.push({ address, bytes: length });
      at += length;
    }
    return places;
  }

  async #flushPlaces(places: readonly Place[]): Promise<void> {
    for (const { address, bytes } of places) {
      if (await flushMapped(address, bytes)) continue;
      throw new DiskError('io', `${bytes} bytes of ${this.name} cannot be written to the disk`);
    }
  }

  flushAll(): Promise<void> {
    this.#flushed = this.#flushed.then(async () => {
      try {
        await dataSync(this.fd);
      } catch (error) {
        const { message } = error as Error;
        throw new DiskError('io', `${this.name} cannot be written to the disk: ${message}`);
      }
    });
    return this.#flushed;
  }

  async settle(): Promise<Settled> {
    assert(this.mapped.length === 0, 'who has a file mapped cannot settle it');
    let isWhole = true;
    try {
      await dataSync(this.fd);
    } catch {
      // Perhaps because of a flush before: the system tells it each opening of the file once.
      isWhole = false;
    }
    await dropCached(this.fd);
    if (isCached(this.fd, this.bytes)) return 'in use';
    return isWhole ? 'settled' : 'lossy';
  }

  lock(part: number, how: 'shared' | 'exclusive'): boolean {
    assert(part >= 0 && part < LOCK_PARTS, 'a file has 8 locks');
    return lockByte(this.fd, LOCKS_AT + part, how === 'shared' ? LOCK_READ : LOCK_WRITE);
  }

  unlock(part: number): void {
    lockByte(this.fd, LOCKS_AT + part, LOCK_NONE);
  }

  override discard(): never {
    throw new MemoryError(
      `${this.name} is on a disk: what is discarded would lose its place there`,
    );
  }
}
