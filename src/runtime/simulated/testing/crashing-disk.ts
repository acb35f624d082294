/** A disk for tests that have a time of their own: its machine may stop, its users be killed. */

import type { Prng } from '../../../base/prng.js';
import { type Disk, DiskError, type File } from '../../disk.js';
import { Inode } from '../disk-image.js';

/** Who uses it. */
export interface DiskUser {
  readonly world: { readonly prng: Prng; sleep(ms: number): Promise<void> };
  /** Now, or when it stands still no more; never when it is dead. */
  whenAwake(run: () => void): void;
}

const HUNG_LOOK_MS = 100;

export class CrashingDisk {
  isFull = false;
  /** Flushes that fail, of a million. */
  flushesFail = 0;
  /** What is asked for is not done, and does not fail, before that ends. */
  hangs = false;
  /** Reads from such places fail. */
  isBad: (at: number) => boolean = () => false;
  readonly #files = new Map<string, Inode>();
  /** What it was asked for and has not ended. */
  readonly #asked = new Map<DiskUser, number>();
  #crashes = 0;

  /** What was not flushed may be gone. */
  crash(user: DiskUser): void {
    this.#crashes += 1;
    for (const file of this.#files.values()) file.crash(user.world.prng);
  }

  /** A process is there until the disk has ended what it was asked, and so are its locks. */
  isIdle(user: DiskUser): boolean {
    return (this.#asked.get(user) ?? 0) === 0;
  }

  of(user: DiskUser): Disk {
    const run = <T>(act: () => T): Promise<T> => this.#run(user, act);
    const find = (path: string): Inode => {
      const file = this.#files.get(path);
      if (file === undefined) throw new DiskError('not-found', path);
      return file;
    };
    return {
      open: (path, mode) =>
        run(() => {
          if (mode === 'create') this.#files.set(path, new Inode());
          return this.#open(find(path), run, user);
        }),
      rename: (from, to) =>
        run(() => {
          this.#files.set(to, find(from));
          this.#files.delete(from);
        }),
      remove: (path) => run(() => void (find(path), this.#files.delete(path))),
      list: () => run(() => [...this.#files.keys()]),
      makeFolder: () => run(() => undefined),
      flushDirectory: () => run(() => undefined),
    };
  }

  /** The machine ends what a process has begun; who is dead is told nothing. */
  async #run<T>(user: DiskUser, act: () => T): Promise<T> {
    const { world } = user;
    const crashes = this.#crashes;
    this.#asked.set(user, (this.#asked.get(user) ?? 0) + 1);
    await world.sleep(world.prng.fraction() * world.prng.pick([0.2, 2, 20]));
    while (this.hangs) await world.sleep(HUNG_LOOK_MS);
    this.#asked.set(user, (this.#asked.get(user) as number) - 1);
    if (crashes !== this.#crashes) return new Promise(() => undefined);
    let end: () => T | Promise<T>;
    try {
      const value = act();
      end = () => value;
    } catch (error) {
      end = () => Promise.reject(error as Error);
    }
    await new Promise<void>((resolve) => user.whenAwake(resolve));
    return end();
  }

  #open(inode: Inode, run: <T>(act: () => T) => Promise<T>, { world }: DiskUser): File {
    return {
      read: (at, into) =>
        run(() => {
          if (this.isBad(at)) throw new DiskError('io', 'the disk does not read that');
          return inode.current.read(at, into);
        }),
      write: (offset, from) => {
        const bytes = new Uint8Array(from);
        return run(() => {
          if (this.isFull) throw new DiskError('full', 'the disk is full');
          inode.change({ offset, bytes });
        });
      },
      flush: () => {
        const upTo = inode.changeCount;
        return run(() => {
          if (!world.prng.chance(this.flushesFail)) return inode.flush(upTo);
          inode.failFlush(upTo);
          throw new DiskError('io', 'the disk does not flush');
        });
      },
      size: () => run(() => inode.current.length),
      truncate: (bytes) => run(() => inode.change({ truncatedTo: bytes })),
      close: () => run(() => undefined),
    };
  }
}
