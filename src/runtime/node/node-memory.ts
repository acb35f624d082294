/**
 * Memory files: memfd_create, shared mappings, and what the machine can still give.
 *
 * A handle is the descriptor and the process that made it, so that it means the same in a thread,
 * and in a child under whatever number the descriptor was handed over (`MEMORY_VARIABLE` tells).
 * Descriptors are closed on exec: only children that are given a file keep it alive.
 */

import { closeSync, constants, fstatSync, ftruncateSync, openSync, readlinkSync } from 'node:fs';
import { assert } from '../../base/assert.js';
import { copyWords } from '../../base/copy-words.js';
import {
  MAPPING_BYTES_MAX,
  type Mapping,
  type Memory,
  MemoryError,
  type MemoryFile,
  type MemoryHandle,
  type Steps,
} from '../memory.js';
import { availableBytes, roomOf } from './available-memory.js';
import { identityOf } from './process-identity.js';
import {
  errnoName,
  F_ADD_SEALS,
  FALLOC_PUNCH_HOLE_KEEP_SIZE,
  fallocate,
  fcntl,
  lastErrno,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  mapShared,
  memfdCreate,
  SEALS_OF_LENGTH,
  unshare,
} from './system.js';

/** Names, in a child's environment, the descriptor of each handed handle: `HANDLE:FD,...`. */
export const MEMORY_VARIABLE = 'MEMRACK_MEMORY';

const PAGE_BYTES = 4096;
/** The unit in which a file's blocks are counted, whatever its file system (stat(2)). */
const BLOCK_BYTES = 512;
/** What `nameOf` gives: identity of a process (its number and start at the end), descriptor. */
const FILE_NAME = /^(.+\/(\d+)\/\d+)\/(\d+)$/;
/** Descriptors stay below the limit of open files, which stays below this. */
const DESCRIPTORS_MAX = 2 ** 24;

const copyBytes = Buffer.prototype.copy;

export const nodeMemory: Memory = {
  create(name, bytes) {
    assert(name.includes('memrack'), "a memory file's name contains memrack");
    checkLength(bytes);
    const fd = memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) throw new MemoryError(`cannot make a memory file: ${errnoName(lastErrno())}`);
    try {
      ftruncateSync(fd, bytes);
    } catch (error) {
      closeSync(fd);
      throw new MemoryError(`cannot make a memory file of ${bytes} bytes: ${String(error)}`);
    }
    // Others open it by its name: who made it shorter would end all that have it mapped.
    if (fcntl(fd, F_ADD_SEALS, SEALS_OF_LENGTH) !== 0) {
      const reason = errnoName(lastErrno());
      closeSync(fd);
      throw new MemoryError(`cannot seal a memory file: ${reason}`);
    }
    return new NodeMemoryFile(handleOf(fd), fd, name, bytes);
  },

  adopt(handle) {
    const fd = descriptorOf(handle);
    try {
      return new NodeMemoryFile(handle, fd, memoryName(fd), fstatSync(fd).size);
    } catch (error) {
      throw new MemoryError(`no memory file of handle ${handle}: ${(error as Error).message}`);
    }
  },

  nameOf(handle) {
    return `${identityOf(process.pid) ?? ''}/${descriptorOf(handle)}`;
  },

  open(name, access) {
    const fd = openOf(name, access);
    try {
      return new NodeMemoryFile(handleOf(fd), fd, memoryName(fd), fstatSync(fd).size, access);
    } catch (error) {
      closeSync(fd);
      throw new MemoryError(`no memory file ${name}: ${(error as Error).message}`);
    }
  },

  runNow: runAll,
  run: runAll,

  meanwhile() {
    // Other processors need no leave to look in.
  },

  available: availableBytes,

  room: (group) => roomOf(group),

  copy(target, targetStart, source, sourceStart, bytes) {
    const sourceEnd = sourceStart + bytes;
    assert(bytes >= 0 && sourceStart >= 0 && sourceEnd <= source.length, 'copy out of bounds');
    assert(targetStart >= 0 && targetStart + bytes <= target.length, 'copy out of bounds');
    copyBytes.call(source, target, targetStart, sourceStart, sourceEnd);
  },

  copyWords,
};

function runAll(steps: Steps): void {
  while (steps.next());
  steps.ended();
}

/** Opens the file of another process by what `nameOf` gave, whatever kind of file that is. */
export function openOf(name: string, access: 'read' | 'write'): number {
  const [, identity = '', pid = '', descriptor = ''] = FILE_NAME.exec(name) ?? [];
  const fd = openDescriptor(`/proc/${pid}/fd/${descriptor}`, access);
  try {
    // Looked at after the opening, so that it was that process whose descriptor was opened.
    if (identityOf(Number(pid)) !== identity) throw new Error('the process has ended');
    return fd;
  } catch (error) {
    closeSync(fd);
    throw new MemoryError(`no memory file ${name}: ${(error as Error).message}`);
  }
}

function openDescriptor(path: string, access: 'read' | 'write'): number {
  try {
    const flags = access === 'read' ? constants.O_RDONLY : constants.O_RDWR;
    return openSync(path, flags);
  } catch (error) {
    throw new MemoryError(`cannot open a memory file: ${(error as Error).message}`);
  }
}

export function checkLength(bytes: number): void {
  if (bytes > 0 && bytes % PAGE_BYTES === 0) return;
  throw new MemoryError(`a memory file has whole pages of ${PAGE_BYTES} bytes, not ${bytes}`);
}

interface MappedPiece {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
}

export class NodeMemoryFile implements MemoryFile {
  readonly handle: MemoryHandle;
  readonly name: string;
  readonly bytes: number;
  protected readonly fd: number;
  readonly #access: 'read' | 'write';
  /** Kept until they are given up, because their memory must not be undone under a view. */
  protected readonly mapped: MappedPiece[] = [];

  constructor(
    handle: MemoryHandle,
    fd: number,
    name: string,
    bytes: number,
    access: 'read' | 'write' = 'write',
  ) {
    this.handle = handle;
    this.name = name;
    this.bytes = bytes;
    this.fd = fd;
    this.#access = access;
  }

  map(offset: number, bytes: number): Mapping {
    this.check(offset, bytes);
    if (bytes > MAPPING_BYTES_MAX) throw new MemoryError('a mapping is at most 1 GiB long');
    let buffer: ArrayBuffer;
    try {
      buffer = mapShared(this.fd, offset, bytes, this.#access);
      this.mapped.push({ buffer, offset });
    } catch (error) {
      throw new MemoryError(`cannot map ${this.name}: ${(error as Error).message}`);
    }
    return {
      bytes: Buffer.from(buffer),
      view: new DataView(buffer),
      words: new Int32Array(buffer),
      wide: new BigUint64Array(buffer),
    };
  }

  discard(offset: number, bytes: number): void {
    this.check(offset, bytes);
    if (fallocate(this.fd, FALLOC_PUNCH_HOLE_KEEP_SIZE, offset, bytes) !== 0) {
      throw new MemoryError(`cannot discard in ${this.name}: ${errnoName(lastErrno())}`);
    }
  }

  populate(offset: number, bytes: number): void {
    this.check(offset, bytes);
    const piece = this.mapped.find(({ buffer, offset: start }) => {
      return offset >= start && offset + bytes <= start + buffer.byteLength;
    });
    assert(piece !== undefined, 'only what is mapped is populated');
    const words = new Int32Array(piece.buffer, offset - piece.offset, bytes / 4);
    // Of every page of the machine one word is written, as it is.
    for (let at = 0; at < words.length; at += PAGE_BYTES / 4) Atomics.or(words, at, 0);
  }

  heldBytes(): number {
    return fstatSync(this.fd).blocks * BLOCK_BYTES;
  }

  release(): void {
    for (const { buffer } of this.mapped.splice(0)) unshare(buffer);
    closeSync(this.fd);
  }

  protected check(offset: number, bytes: number): void {
    const aligned = offset % PAGE_BYTES === 0 && bytes % PAGE_BYTES === 0;
    if (!aligned || offset < 0 || bytes <= 0 || offset + bytes > this.bytes) {
      throw new MemoryError(`no range of ${this.name}: ${bytes} bytes at ${offset}`);
    }
  }
}

export function handleOf(fd: number): MemoryHandle {
  assert(fd < DESCRIPTORS_MAX);
  return process.pid * DESCRIPTORS_MAX + fd;
}

/** The descriptor under which this process holds the file of `handle`. */
export function descriptorOf(handle: MemoryHandle): number {
  if (Math.floor(handle / DESCRIPTORS_MAX) === process.pid) return handle % DESCRIPTORS_MAX;
  for (const pair of (process.env[MEMORY_VARIABLE] ?? '').split(',')) {
    const [handed, fd] = pair.split(':');
    if (Number(handed) === handle && fd !== undefined) return Number(fd);
  }
  throw new MemoryError(`no memory file of handle ${handle} was handed to this process`);
}

/** From what the kernel calls it: `/memfd:NAME (deleted)`. Throws when nothing here made it. */
function memoryName(fd: number): string {
  const link = readlinkSync(`/proc/self/fd/${fd}`);
  const [, name = ''] = /^\/memfd:(.*memrack.*) \(deleted\)$/.exec(link) ?? [];
  if (name === '') throw new Error(`it is ${link}`);
  return name;
}
