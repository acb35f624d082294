/**
 * A simulated machine's disk: what programs see, and what would survive.
 *
 * Every file has its content as read now and as stored, and the changes between the two in order.
 * A flush stores them. When the machine stops, each change that was not flushed is stored wholly,
 * in part (whole words of 8 bytes) or not at all, each by itself. Names are kept per folder in the
 * same way: what was created, renamed or removed since `flushDirectory` may or may not have been.
 */

import { assert } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import { type Disk, DiskError, type File } from '../disk.js';
import type { FileRange } from '../durable.js';
import { type Entry, type FileNode, Folder, Inode, noticeLoss } from './disk-image.js';
import { type FaultKind, FaultKind as Kinds } from './faults.js';
import type { Kernel } from './kernel.js';
import type { Machine, Task } from './task.js';
import { EventKind } from './trace.js';

/** Splits a path into the names on the way, without '.' and empty ones. */
function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

/** One machine's disk; it outlives the machine's crashes. */
export class DiskStore {
  readonly #kernel: Kernel;
  readonly #machine: Machine;
  readonly #prng: Prng;
  readonly #root = new Folder();
  capacityBytes = Infinity;

  constructor(kernel: Kernel, machine: Machine) {
    this.#kernel = kernel;
    this.#machine = machine;
    this.#prng = kernel.prng.fork(`disk ${machine.name}`);
  }

  /** The folder that holds the last name, and that name. */
  locate(path: string): { folder: Folder; name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new DiskError('denied', `${path} is the root`);
    return { folder: this.#walk(names, path), name };
  }

  folder(path: string): Folder {
    return this.#walk(namesOf(path), path);
  }

  #walk(names: readonly string[], path: string): Folder {
    let folder = this.#root;
    for (const name of names) {
      const entry = folder.current.get(name);
      if (!(entry instanceof Folder)) throw new DiskError('not-found', `no folder for ${path}`);
      folder = entry;
    }
    return folder;
  }

  /** The folder and those above it, as far as they are missing. */
  makeFolders(path: string): void {
    let folder = this.#root;
    for (const name of namesOf(path)) {
      let entry = folder.current.get(name);
      if (entry === undefined) {
        entry = new Folder();
        folder.change(new Map([[name, entry]]));
      }
      if (!(entry instanceof Folder)) throw new DiskError('exists', `${path} is a file`);
      folder = entry;
    }
  }

  find(path: string): FileNode {
    const { folder, name } = this.locate(path);
    const entry = folder.current.get(name);
    if (entry === undefined) {
      noticeLoss(folder);
      throw new DiskError('not-found', `${path} does not exist`);
    }
    if (entry instanceof Folder) throw new DiskError('denied', `${path} is a folder`);
    return entry;
  }

  add<Kind extends FileNode>(path: string, make: () => Kind): Kind {
    const { folder, name } = this.locate(path);
    if (folder.current.has(name)) throw new DiskError('exists', `${path} exists`);
    const file = make();
    folder.change(new Map([[name, file]]));
    return file;
  }

  /** Why `grows` more bytes cannot be had for this file; undefined: they can. */
  whyFull(path: string, grows: number): DiskError | undefined {
    const { diskFull } = this.#machine;
    if (diskFull !== undefined && grows > 0) {
      this.#kernel.faults.matter(diskFull);
      return new DiskError('full', `no space for ${path}`);
    }
    if (this.capacityBytes === Infinity) return undefined;
    if (this.usedBytes() + grows <= this.capacityBytes) return undefined;
    this.inject(Kinds.DiskFull)();
    return new DiskError('full', `no space for ${path}`);
  }

  usedBytes(folder: Folder = this.#root): number {
    let bytes = 0;
    for (const entry of folder.current.values()) {
      bytes += entry instanceof Folder ? this.usedBytes(entry) : entry.current.length;
    }
    return bytes;
  }

  /** The machine stops: what was not flushed is gone, in part or wholly. */
  crash(): void {
    this.#crashFolder(this.#root);
  }

  #crashFolder(folder: Folder): void {
    // Files that have a name now, or had one that comes back, meet their fate.
    const entries = new Set(folder.current.values());
    const namesLost = folder.crash(this.#prng);
    for (const entry of folder.current.values()) entries.add(entry);
    if (namesLost > 0) folder.noticeLoss = this.inject(Kinds.NameLoss);
    for (const entry of entries) {
      if (entry instanceof Folder) this.#crashFolder(entry);
      else this.#crashFile(entry);
    }
  }

  #crashFile(inode: FileNode): void {
    const fate = inode.crash(this.#prng);
    const faults: (() => void)[] = [];
    if (fate.lost > 0) faults.push(this.inject(Kinds.UnflushedLoss));
    if (fate.torn > 0) faults.push(this.inject(Kinds.TornWrite));
    if (faults.length === 0) return;
    inode.noticeLoss = () => {
      for (const matter of faults) matter();
    };
  }

  /** Counts a fault; what is returned is to be called when it matters. */
  inject(kind: FaultKind): () => void {
    const { faults } = this.#kernel;
    const fault = faults.inject(kind, [this.#machine.id]);
    return () => faults.matter(fault);
  }

  /**
   * Runs `act` after the time that the disk takes. The machine finishes it even if the process
   * that asked ends meanwhile; only then nobody is told.
   */
  run<T>(task: Task, us: number, act: () => T, before = (): void => {}): Promise<T> {
    const kernel = this.#kernel;
    const machine = this.#machine;
    const delayNs = kernel.withinUs(us);
    return new Promise((resolve, reject) => {
      if (!task.alive) return;
      const finish = (): void => {
        if (!machine.up) return;
        let settle: () => void;
        try {
          const value = act();
          settle = () => resolve(value);
        } catch (error) {
          settle = () => reject(error as Error);
        }
        if (task.process.paused) kernel.schedule(0, task, EventKind.Disk, settle);
        else if (task.alive) settle();
      };
      const stops = machine.stops;
      const ifStillUp = (): void => {
        if (machine.stops === stops) before();
        if (machine.stops === stops) finish();
      };
      kernel.schedule(delayNs, undefined, EventKind.Disk, ifStillUp);
    });
  }

  /** Of these ranges of a mapped file; none: of all of it. */
  runFlush<T>(task: Task, ranges: readonly FileRange[], act: () => T): Promise<T> {
    const kernel = this.#kernel;
    return this.run(task, kernel.knobs.flushUs, act, () => {
      kernel.flushEnds?.(this.#machine, ranges);
    });
  }

  /** An injected error of this kind, or undefined. It matters: the operation fails by it. */
  injected(kind: FaultKind, message: string): DiskError | undefined {
    const { faults } = this.#kernel;
    if (!faults.roll(kind)) return undefined;
    this.inject(kind)();
    return new DiskError(kind === Kinds.DiskFull ? 'full' : 'io', message);
  }

  get prng(): Prng {
    return this.#prng;
  }

  get knobs() {
    return this.#kernel.knobs;
  }
}

class SimulatedFile implements File {
  readonly #store: DiskStore;
  readonly #task: Task;
  readonly #inode: FileNode;
  readonly #path: string;
  readonly #mayWrite: boolean;
  #open = true;

  constructor(store: DiskStore, task: Task, inode: FileNode, path: string, mayWrite: boolean) {
    this.#store = store;
    this.#task = task;
    this.#inode = inode;
    this.#path = path;
    this.#mayWrite = mayWrite;
  }

  #run<T>(us: number, act: () => T): Promise<T> {
    assert(this.#open, 'a closed file was used');
    return this.#store.run(this.#task, us, act);
  }

  read(offset: number, into: Uint8Array): Promise<number> {
    return this.#run(this.#store.knobs.diskUs, () => {
      const error = this.#store.injected(Kinds.DiskReadError, `cannot read ${this.#path}`);
      if (error !== undefined) throw error;
      noticeLoss(this.#inode);
      return this.#inode.current.read(offset, into);
    });
  }

  write(offset: number, from: Uint8Array): Promise<void> {
    const bytes = new Uint8Array(from);
    return this.#run(this.#store.knobs.diskUs, () => {
      if (!this.#mayWrite) throw new DiskError('denied', `${this.#path} was opened to read`);
      const error = this.#whyNotWritten(offset + bytes.length);
      const kept = error === undefined ? bytes.length : this.#store.prng.below(bytes.length + 1);
      if (kept > 0) this.#inode.change({ offset, bytes: bytes.subarray(0, kept) });
      if (error !== undefined) throw error;
    });
  }

  #whyNotWritten(end: number): DiskError | undefined {
    const store = this.#store;
    const grows = Math.max(0, end - this.#inode.current.length);
    return (
      store.whyFull(this.#path, grows) ??
      store.injected(Kinds.DiskFull, `no space for ${this.#path}`) ??
      store.injected(Kinds.DiskWriteError, `cannot write ${this.#path}`)
    );
  }

  flush(): Promise<void> {
    const inode = this.#inode;
    // What is written while the flush runs is not part of it.
    const upTo = inode.changeCount;
    return this.#run(this.#store.knobs.flushUs, () => {
      const error = this.#store.injected(Kinds.DiskFlushError, `cannot flush ${this.#path}`);
      if (error === undefined) {
        inode.flush(upTo);
        return;
      }
      inode.failFlush(upTo);
      throw error;
    });
  }

  size(): Promise<number> {
    return this.#run(this.#store.knobs.diskUs, () => this.#inode.current.length);
  }

  truncate(bytes: number): Promise<void> {
    return this.#run(this.#store.knobs.diskUs, () => {
      if (!this.#mayWrite) throw new DiskError('denied', `${this.#path} was opened to read`);
      this.#inode.change({ truncatedTo: bytes });
    });
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    await this.#run(this.#store.knobs.diskUs, () => {});
    this.#open = false;
  }
}

/** The disk as one task sees it. */
export class SimulatedDisk implements Disk {
  readonly #store: DiskStore;
  readonly #task: Task;

  constructor(store: DiskStore, task: Task) {
    this.#store = store;
    this.#task = task;
  }

  #run<T>(us: number, act: () => T): Promise<T> {
    return this.#store.run(this.#task, us, act);
  }

  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    const store = this.#store;
    return this.#run(store.knobs.diskUs, () => {
      const inode = mode === 'create' ? store.add(path, () => new Inode()) : store.find(path);
      return new SimulatedFile(this.#store, this.#task, inode, path, mode !== 'read');
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run(this.#store.knobs.diskUs, () => {
      const source = this.#store.locate(from);
      const target = this.#store.locate(to);
      const entry = source.folder.current.get(source.name);
      if (entry === undefined) throw new DiskError('not-found', `${from} does not exist`);
      if (source.folder === target.folder) {
        if (source.name === target.name) return;
        source.folder.change(
          new Map<string, Entry | undefined>([
            [target.name, entry],
            [source.name, undefined],
          ]),
        );
        return;
      }
      target.folder.change(new Map([[target.name, entry]]));
      source.folder.change(new Map([[source.name, undefined]]));
    });
  }

  remove(path: string): Promise<void> {
    return this.#run(this.#store.knobs.diskUs, () => {
      const { folder, name } = this.#store.locate(path);
      const entry = folder.current.get(name);
      if (entry === undefined) throw new DiskError('not-found', `${path} does not exist`);
      if (entry instanceof Folder && entry.current.size > 0) {
        throw new DiskError('denied', `${path} is not empty`);
      }
      folder.change(new Map([[name, undefined]]));
    });
  }

  list(folder: string): Promise<string[]> {
    return this.#run(this.#store.knobs.diskUs, () => {
      const found = this.#store.folder(folder);
      noticeLoss(found);
      return [...found.current.keys()].sort();
    });
  }

  makeFolder(path: string): Promise<void> {
    return this.#run(this.#store.knobs.diskUs, () => this.#store.makeFolders(path));
  }

  flushDirectory(path: string): Promise<void> {
    const store = this.#store;
    return this.#run(store.knobs.flushUs, () => {
      const error = store.injected(Kinds.DiskFlushError, `cannot flush ${path}`);
      if (error !== undefined) throw error;
      store.folder(path).flush();
    });
  }
}
