/**
 * The backups that a host has: a file for each device that has one, open while the device is
 * served. A second file beside each is locked as long: by the process that may write to it.
 */

import { sleep } from '../../runtime/clock.js';
import { DiskError } from '../../runtime/disk.js';
import type { DurableFile } from '../../runtime/durable.js';
import { MemoryError } from '../../runtime/memory.js';
import type { Runtime } from '../../runtime/runtime.js';
import { BackupFile } from './backup-file.js';
import { lockOf, openBackup } from './backup-path.js';
import type { Behind, Unwritten } from './slab-file.js';

/** Of a device: what may wait for the disk. */
const BUFFER_BYTES = 64 * 1024 * 1024;
const LOCK_BYTES = 4096;
const LOCK_PART = 0;
/** Of a device whose lease is held: others wait for its file, and for the device. */
const CLOSE_MS = 5_000;
const OPEN_MS = 5_000;

/** Of a file, or of the attempt to open it. */
interface Ending {
  readonly done: Promise<void>;
  /** As long it is waited for. */
  readonly untilMs: number;
}

/** What a writer knew of a file when it ended. */
interface Known {
  readonly file: number;
  readonly behind: Behind;
  /** Of its lease, or of an attempt after it that served nothing. */
  epoch: number;
}

/** Of the lease: its own, and the last one before in which another host may have had the device. */
interface Epochs {
  readonly epoch: number;
  readonly heldBefore: number;
}

interface Closing {
  readonly epoch: number;
  readonly behind: Behind;
  /** Of some slab there is no other copy. */
  readonly isSole: boolean;
}

export class Backups {
  readonly #runtime: Runtime;
  /** Of devices: what was done with their files last. */
  readonly #ending = new Map<number, Ending>();

  readonly #known = new Map<number, Known>();
  /** Of devices whose files were closed here. */
  readonly #unwritten = new Map<number, Unwritten>();
  readonly #locks = new Map<BackupFile, DurableFile>();
  /** A disk that has lost something once tells it to who has the file open, and to nobody else. */
  readonly #failed = new Set<string>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Under this epoch, until `close`; undefined: it cannot be had, and the log says why. */
  async open(
    path: string,
    device: number,
    slabBytes: number,
    { epoch, heldBefore }: Epochs,
  ): Promise<BackupFile | undefined> {
    const file = await this.#openInTime(path, device, slabBytes);
    const known = this.#known.get(device);
    this.#known.delete(device);
    if (typeof file !== 'string') {
      const isLast = known !== undefined && known.epoch >= heldBefore && known.epoch < epoch;
      if (isLast && known.file === file.id) file.known = known.behind;
      return file;
    }
    this.#note(device, file);
    return undefined;
  }

  async #openInTime(path: string, device: number, slabBytes: number): Promise<BackupFile | string> {
    const { timers } = this.#runtime;
    if (this.#failed.has(path)) return `${path}: its disk has failed since this host started`;
    if (!(await this.#hasEnded(device))) return `${path} is still being written`;
    const opening = this.#open(path, device, slabBytes);
    const late = sleep(timers, OPEN_MS).then(() => `${path}: its disk does not answer`);
    const file = await Promise.race([opening, late]);
    if (typeof file !== 'string') return file;
    // What comes late is let go as soon as it comes.
    this.#ends(device, () =>
      opening.then((opened) => (typeof opened === 'string' ? undefined : this.#end(opened))),
    );
    return file;
  }

  async #open(path: string, device: number, slabBytes: number): Promise<BackupFile | string> {
    const { disk, clock, timers, checksum } = this.#runtime;
    // Beside what is no backup nothing is made.
    const seen = await openBackup({ disk, checksum }, path, { device, slabBytes });
    if (typeof seen === 'string') return seen;
    await seen.file.close();
    const lock = await this.#lock(path);
    if (typeof lock === 'string') return lock;
    const file = await BackupFile.open({
      ...{ disk, clock, timers, checksum, path, device, slabBytes },
      bufferBytes: BUFFER_BYTES,
      failed: (reason, isFinal) => {
        if (isFinal) this.#failed.add(path);
        this.#note(device, reason);
      },
    });
    if (typeof file === 'string') lock.release();
    else this.#locks.set(file, lock);
    return file;
  }

  /**
   * What is pending goes to the disk first, if that lets it; then the next writer hears what this
   * one knew. Resolves when it is closed.
   */
  close(device: number, file: BackupFile, { epoch, behind, isSole }: Closing): Promise<boolean> {
    this.#unwritten.set(device, 'ending');
    this.#ends(device, async () => {
      let isWhole = false;
      try {
        isWhole = await this.#end(file);
      } finally {
        if (isWhole) this.#known.set(device, { file: file.id, behind, epoch });
        this.#noteEnd(device, file.path, isWhole || !isSole);
      }
    });
    return this.#hasEnded(device);
  }

  /** What was told to be written and is nowhere is not told as it was before that. */
  #noteEnd(device: number, path: string, isSafe: boolean): void {
    if (isSafe) this.#unwritten.delete(device);
    else {
      this.#unwritten.set(device, 'failed');
      this.#failed.add(path);
    }
  }

  /** What was told to be written, and is in the file alone, may not be on the disk. */
  unwritten(device: number): Unwritten | undefined {
    return this.#unwritten.get(device);
  }

  /** The device was not served under this epoch. */
  passOver(device: number, { epoch, heldBefore }: Epochs): void {
    const known = this.#known.get(device);
    if (known !== undefined && known.epoch >= heldBefore) known.epoch = epoch;
  }

  /** The lock stays as long as the disk may write something that it was asked to. */
  async #end(file: BackupFile): Promise<boolean> {
    try {
      return await file.end();
    } finally {
      this.#locks.get(file)?.release();
      this.#locks.delete(file);
    }
  }

  #ends(device: number, end: () => Promise<unknown>): void {
    const untilMs = this.#runtime.clock.now() + CLOSE_MS;
    const done = end().then(noop, (error: unknown) => this.#note(device, String(error)));
    const ending = { done, untilMs };
    this.#ending.set(device, ending);
    void done.then(() => {
      if (this.#ending.get(device) === ending) this.#ending.delete(device);
    });
  }

  /** False: its disk needs longer than others are to wait. */
  async #hasEnded(device: number): Promise<boolean> {
    const ending = this.#ending.get(device);
    if (ending === undefined) return true;
    const { clock, timers } = this.#runtime;
    const leftMs = Math.max(0, ending.untilMs - clock.now());
    const late = sleep(timers, leftMs).then(() => false);
    return Promise.race([ending.done.then(() => true), late]);
  }

  /** When all files that are being closed are, or their disks have had time enough. */
  async closed(): Promise<void> {
    await Promise.all([...this.#ending.keys()].map((device) => this.#hasEnded(device)));
  }

  /** Of an opening of the file: it ends with the process, and what is left locks nobody. */
  async #lock(path: string): Promise<DurableFile | string> {
    const lockPath = lockOf(path);
    try {
      const file = await this.#openLock(lockPath);
      if (file.lock(LOCK_PART, 'exclusive')) return file;
      file.release();
      return `${path} is locked: another process serves the device`;
    } catch (error) {
      if (error instanceof MemoryError) {
        return `${lockPath} is no lock: ${error.message}; remove it if no host uses it`;
      }
      if (error instanceof Error) return error.message;
      throw error;
    }
  }

  async #openLock(path: string): Promise<DurableFile> {
    const { durables } = this.#runtime;
    try {
      return await durables.open(path);
    } catch (error) {
      if (error instanceof DiskError && error.kind === 'not-found') {
        return durables.create(path, LOCK_BYTES);
      }
      if (error instanceof MemoryError && (await this.#mendLock(path))) return durables.open(path);
      throw error;
    }
  }

  /** Whoever made it was killed before it had its length, or is just giving it the same one. */
  async #mendLock(path: string): Promise<boolean> {
    const file = await this.#runtime.disk.open(path, 'write');
    try {
      if ((await file.size()) !== 0) return false;
      await file.truncate(LOCK_BYTES);
      return true;
    } finally {
      await file.close();
    }
  }

  #note(device: number, reason: string): void {
    this.#runtime.log.write('warn', 'the backup of a device is not written', {
      ...{ code: 'BACKUP_NOT_WRITTEN', device, reason },
    });
  }
}

const noop = (): void => undefined;
