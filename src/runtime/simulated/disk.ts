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
import { type FaultKind, FaultKind as Kinds } from './faults.js';
import type { Kernel } from './kernel.js';
import type { Machine, Task } from './task.js';
import { EventKind } from './trace.js';

const WORD_BYTES = 8;

type Change =
  | { readonly offset: number; readonly bytes: Uint8Array }
  | { readonly truncatedTo: number };

/** Bytes that grow. */
class Content {
  #bytes = new Uint8Array(0);
  length = 0;

  write(offset: number, from: Uint8Array): void {
    this.resize(Math.max(this.length, offset + from.length));
    this.#bytes.set(from, offset);
  }

  resize(length: number): void {
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
    } else if (length < this.length) {
      this.#bytes.fill(0, length, this.length);
    }
    this.length = length;
  }

  read(offset: number, into: Uint8Array): number {
    const bytes = Math.max(0, Math.min(into.length, this.length - offset));
    into.set(this.#bytes.subarray(offset, offset + bytes));
    return bytes;
  }

  copyFrom(other: Content): void {
    this.#bytes = other.#bytes.slice(0, other.length);
    this.length = other.length;
  }

  apply(change: Change): void {
    if ('truncatedTo' in change) this.resize(change.truncatedTo);
    else this.write(change.offset, change.bytes);
  }
}

class Inode {
  readonly current = new Content();
  readonly #stored = new Content();
  #changes: Change[] = [];
  /** How many changes were taken out of `#changes` by flushes. */
  #flushedCount = 0;
  /** Bytes were lost at the last crash, and nobody has read since. */
  lossFaultUnread: (() => void) | undefined;

  change(change: Change): void {
    this.current.apply(change);
    this.#changes.push(change);
  }

  /** The number of changes ever made: what a flush that begins now stores. */
  get changeCount(): number {
    return this.#flushedCount + this.#changes.length;
  }

  /** Stores the changes up to this number. */
  flush(upTo: number): void {
    for (const change of this.#takeChanges(upTo)) this.#stored.apply(change);
  }

  /** A flush that failed: the kernel forgets the changes, and a later flush will not repeat them. */
  failFlush(upTo: number): void {
    this.#takeChanges(upTo);
  }

  #takeChanges(upTo: number): Change[] {
    const taken = this.#changes.splice(0, Math.max(0, upTo - this.#flushedCount));
    this.#flushedCount += taken.length;
    return taken;
  }

  /** The machine stops. Returns what became of the changes that were not flushed. */
  crash(prng: Prng): { lost: number; torn: number } {
    const fate = { lost: 0, torn: 0 };
    for (const change of this.#takeChanges(this.changeCount)) {
      const kind = prng.below(3);
      if (kind === 0) fate.lost += 1;
      else if (kind === 1 || 'truncatedTo' in change) this.#stored.apply(change);
      else {
        fate.torn += 1;
        this.#storeSomeWords(prng, change.offset, change.bytes);
      }
    }
    this.current.copyFrom(this.#stored);
    return fate;
  }

  /** A prefix, a suffix, or any words. */
  #storeSomeWords(prng: Prng, offset: number, bytes: Uint8Array): void {
    const first = Math.floor(offset / WORD_BYTES);
    const words = Math.ceil((offset + bytes.length) / WORD_BYTES) - first;
    const style = prng.below(3);
    const cut = prng.below(words + 1);
    for (let word = 0; word < words; word++) {
      const kept = style === 0 ? word < cut : style === 1 ? word >= cut : prng.below(2) === 0;
      if (!kept) continue;
      const start = Math.max(0, (first + word) * WORD_BYTES - offset);
      const end = Math.min(bytes.length, (first + word + 1) * WORD_BYTES - offset);
      this.#stored.write(offset + start, bytes.subarray(start, end));
    }
  }
}

type Entry = Inode | Folder;

/** A set of names that appear and vanish together. */
type NameChange = ReadonlyMap<string, Entry | undefined>;

class Folder {
  readonly current: Map<string, Entry> = new Map();
  readonly #stored: Map<string, Entry> = new Map();
  #changes: NameChange[] = [];

  change(change: NameChange): void {
    applyNames(this.current, change);
    this.#changes.push(change);
  }

  flush(): void {
    for (const change of this.#changes.splice(0)) applyNames(this.#stored, change);
  }

  /** Returns how many changes were lost. */
  crash(prng: Prng): number {
    let lost = 0;
    for (const change of this.#changes) {
      if (prng.below(2) === 0) applyNames(this.#stored, change);
      else lost += 1;
    }
    this.#changes = [];
    this.current.clear();
    applyNames(this.current, this.#stored);
    return lost;
  }
}

function applyNames(names: Map<string, Entry>, change: ReadonlyMap<string, Entry | undefined>) {
  for (const [name, entry] of change) {
    if (entry === undefined) names.delete(name);
    else names.set(name, entry);
  }
}

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
    if (namesLost > 0) this.#inject(Kinds.NameLoss);
    for (const entry of entries) {
      if (entry instanceof Folder) this.#crashFolder(entry);
      else this.#crashFile(entry);
    }
  }

  #crashFile(inode: Inode): void {
    const fate = inode.crash(this.#prng);
    const faults: (() => void)[] = [];
    if (fate.lost > 0) faults.push(this.#inject(Kinds.UnflushedLoss));
    if (fate.torn > 0) faults.push(this.#inject(Kinds.TornWrite));
    if (faults.length === 0) return;
    inode.lossFaultUnread = () => {
      for (const matter of faults) matter();
    };
  }

  #inject(kind: FaultKind): () => void {
    const { faults } = this.#kernel;
    const fault = faults.inject(kind, [this.#machine.id]);
    return () => faults.matter(fault);
  }

  /**
   * Runs `act` after the time that the disk takes. The machine finishes it even if the process
   * that asked ends meanwhile; only then nobody is told.
   */
  run<T>(task: Task, us: number, act: () => T): Promise<T> {
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
        if (machine.stops === stops) finish();
      };
      kernel.schedule(delayNs, undefined, EventKind.Disk, ifStillUp);
    });
  }

  /** An injected error of this kind, or undefined. It matters: the operation fails by it. */
  injected(kind: FaultKind, message: string): DiskError | undefined {
    const { faults } = this.#kernel;
    if (!faults.roll(kind)) return undefined;
    this.#inject(kind)();
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
  readonly #inode: Inode;
  readonly #path: string;
  readonly #mayWrite: boolean;
  #open = true;

  constructor(store: DiskStore, task: Task, inode: Inode, path: string, mayWrite: boolean) {
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
      this.#inode.lossFaultUnread?.();
      this.#inode.lossFaultUnread = undefined;
      return this.#inode.current.read(offset, into);
    });
  }

  write(offset: number, from: Uint8Array): Promise<void> {
    const bytes = from.slice();
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
    if (store.capacityBytes !== Infinity) {
      const grows = Math.max(0, end - this.#inode.current.length);
      if (store.usedBytes() + grows > store.capacityBytes) {
        return new DiskError('full', `no space for ${this.#path}`);
      }
    }
    return (
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
    return this.#run(this.#store.knobs.diskUs, () => {
      const inode = mode === 'create' ? this.#create(path) : this.#find(path);
      return new SimulatedFile(this.#store, this.#task, inode, path, mode !== 'read');
    });
  }

  #create(path: string): Inode {
    const { folder, name } = this.#store.locate(path);
    if (folder.current.has(name)) throw new DiskError('exists', `${path} exists`);
    const inode = new Inode();
    folder.change(new Map([[name, inode]]));
    return inode;
  }

  #find(path: string): Inode {
    const { folder, name } = this.#store.locate(path);
    const entry = folder.current.get(name);
    if (entry === undefined) throw new DiskError('not-found', `${path} does not exist`);
    if (entry instanceof Folder) throw new DiskError('denied', `${path} is a folder`);
    return entry;
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
    return this.#run(this.#store.knobs.diskUs, () =>
      [...this.#store.folder(folder).current.keys()].sort(),
    );
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
