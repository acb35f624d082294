/** Simulated memory files on a disk; what a crash leaves of them is decided in durable-image.ts. */

import { assert } from '../../base/assert.js';
import { DiskError } from '../disk.js';
import type { DurableFile, DurableFiles, FileRange, Settled } from '../durable.js';
import { MemoryError, type MemoryHandle } from '../memory.js';
import type { DiskStore } from './disk.js';
import type { FileNode } from './disk-image.js';
import { DurableImage, Opening } from './durable-image.js';
import { FaultKind } from './faults.js';
import {
  type HeldMemory,
  objectOf,
  SimulatedMemoryFile,
  type SimulatedMemoryParts,
} from './memory.js';

const PAGE_BYTES = 4096;
const LOCK_PARTS = 8;

interface Disk {
  readonly store: DiskStore;
  readonly parts: SimulatedMemoryParts;
}

class SimulatedDurableFile extends SimulatedMemoryFile implements DurableFile {
  readonly device = 1;
  readonly fileSystem = 'ext4';
  readonly #opening: Opening;
  readonly #disk: Disk;
  readonly #mapped: FileRange[] = [];
  #flushed: Promise<void> = Promise.resolve();

  constructor(handle: MemoryHandle, opening: Opening, held: HeldMemory, disk: Disk) {
    super(handle, opening, held);
    this.#opening = opening;
    this.#disk = disk;
  }

  get inode(): number {
    return this.#opening.image.inode;
  }

  override map(offset: number, bytes: number) {
    this.#mapped.push({ offset, bytes });
    return super.map(offset, bytes);
  }

  /** Perhaps by several mappings. */
  #isMapped(from: number, end: number): boolean {
    if (from >= end) return true;
    const piece = this.#mapped.find(({ offset, bytes }) => {
      return offset <= from && from < offset + bytes;
    });
    return piece !== undefined && this.#isMapped(piece.offset + piece.bytes, end);
  }

  flush(ranges: readonly FileRange[]): Promise<void> {
    for (const { offset, bytes } of ranges) {
      this.check(offset, bytes);
      assert(this.#isMapped(offset, offset + bytes), 'only what is mapped is flushed');
    }
    const { image } = this.#opening;
    const content = image.contentOf(ranges);
    this.#flushed = this.#flushed.then(() => {
      return this.#run(ranges, () => {
        image.writeSomeBack();
        const error = this.#injected();
        if (error === undefined) image.store(content);
        else image.failToStore(content);
        if (error !== undefined) throw error;
      });
    });
    return this.#flushed;
  }

  #injected(): DiskError | undefined {
    return this.#disk.store.injected(FaultKind.DiskFlushError, `cannot flush ${this.name}`);
  }

  #run<T>(ranges: readonly FileRange[], act: () => T): Promise<T> {
    const { store, parts } = this.#disk;
    return store.runFlush(parts.task, ranges, act);
  }

  flushAll(): Promise<void> {
    this.#flushed = this.#flushed.then(() => {
      return this.#run([], () => {
        const { image } = this.#opening;
        const error = this.#injected();
        if (error === undefined) image.flush();
        else image.failFlush();
        if (error !== undefined) throw error;
        if (!this.#opening.hearsOfFailures()) return;
        throw new DiskError('io', `what was stored in ${this.name} is not on the disk`);
      });
    });
    return this.#flushed;
  }

  settle(): Promise<Settled> {
    assert(this.#mapped.length === 0, 'who has a file mapped cannot settle it');
    const { image } = this.#opening;
    return this.#run([], () => {
      if (image.openings.size > 1) return 'in use';
      const error = this.#injected();
      if (error === undefined) image.flush();
      else image.failFlush();
      return image.dropCache() && error === undefined ? 'settled' : 'lossy';
    });
  }

  lock(part: number, how: 'shared' | 'exclusive'): boolean {
    assert(part >= 0 && part < LOCK_PARTS, 'a file has 8 locks');
    return this.#opening.lock(part, how);
  }

  unlock(part: number): void {
    this.#opening.locks.delete(part);
  }

  override discard(): never {
    throw new MemoryError(
      `${this.name} is on a disk: what is discarded would lose its place there`,
    );
  }
}

/** The durable files of a machine, as one task sees them. */
export class SimulatedDurables implements DurableFiles {
  readonly #disk: Disk;

  constructor(store: DiskStore, parts: SimulatedMemoryParts) {
    this.#disk = { store, parts };
  }

  create(path: string, bytes: number): Promise<DurableFile> {
    const { store, parts } = this.#disk;
    return store.run(parts.task, store.knobs.diskUs, () => {
      if (bytes <= 0 || bytes % PAGE_BYTES !== 0) {
        throw new MemoryError(`a memory file has whole pages of 4096 bytes, not ${bytes}`);
      }
      const error =
        store.whyFull(path, bytes) ?? store.injected(FaultKind.DiskFull, `no space for ${path}`);
      if (error !== undefined) throw error;
      const { prng } = store;
      return this.#open(store.add(path, () => new DurableImage(path, bytes, prng)));
    });
  }

  open(path: string): Promise<DurableFile> {
    const { store, parts } = this.#disk;
    return store.run(parts.task, store.knobs.diskUs, () => this.#open(store.find(path), path));
  }

  #open(file: FileNode, path = ''): DurableFile {
    if (!(file instanceof DurableImage)) {
      throw new MemoryError(`${path} is no durable memory file`);
    }
    file.noticeLoss?.();
    file.noticeLoss = undefined;
    const opened = this.#hold(new Opening(file));
    // Who has ended meanwhile holds nothing.
    if (!this.#disk.parts.task.alive) opened.release();
    return opened;
  }

  #hold(opening: Opening): DurableFile {
    const { held, nextHandle } = this.#disk.parts;
    const handle = nextHandle();
    held.add(handle, opening);
    return new SimulatedDurableFile(handle, opening, held, this.#disk);
  }

  adopt(handle: MemoryHandle): DurableFile {
    const { held } = this.#disk.parts;
    const object = held.get(handle);
    if (object instanceof Opening) {
      return new SimulatedDurableFile(handle, object, held, this.#disk);
    }
    throw new MemoryError(`no durable memory file of handle ${handle}`);
  }

  openNamed(name: string): DurableFile {
    const object = objectOf(this.#disk.parts, name);
    if (object instanceof Opening) return this.#hold(new Opening(object.image));
    throw new MemoryError(`no durable memory file ${name}`);
  }
}
