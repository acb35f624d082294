/**
 * The backups that a host has: a file for each device that has one, open while the device is
 * served. A second file beside each is locked as long: by the process that may write to it.
 */

import { DiskError } from '../../runtime/disk.js';
import type { DurableFile } from '../../runtime/durable.js';
import type { Runtime } from '../../runtime/runtime.js';
import { BackupFile } from './backup-file.js';
import { lockOf, openBackup } from './backup-path.js';

/** Of a device: what may wait for the disk. */
const BUFFER_BYTES = 64 * 1024 * 1024;
const LOCK_BYTES = 4096;
const LOCK_PART = 0;

export class Backups {
  readonly #runtime: Runtime;
  /** Of devices: what was done with their files last is done. */
  readonly #done = new Map<number, Promise<void>>();

  readonly #locks = new Map<BackupFile, DurableFile>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Until `close`; undefined: it cannot be had, and the log says why. */
  async open(path: string, device: number, slabBytes: number): Promise<BackupFile | undefined> {
    await this.#done.get(device);
    const file = await this.#open(path, device, slabBytes);
    if (typeof file !== 'string') return file;
    this.#note(device, file);
    return undefined;
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
      failed: (reason) => this.#note(device, reason),
    });
    if (typeof file === 'string') lock.release();
    else this.#locks.set(file, lock);
    return file;
  }

  /** What is pending goes to the disk first, if that lets it. */
  close(device: number, file: BackupFile): void {
    const ending = file.end().finally(() => {
      this.#locks.get(file)?.release();
      this.#locks.delete(file);
      if (this.#done.get(device) === ending) this.#done.delete(device);
    });
    this.#done.set(device, ending);
  }

  /** When all files that are being closed are. */
  async closed(): Promise<void> {
    await Promise.all(this.#done.values());
  }

  async #lock(path: string): Promise<DurableFile | string> {
    const lockPath = lockOf(path);
    const { durables } = this.#runtime;
    try {
      const file = await durables.open(lockPath).catch((error: unknown) => {
        if (!(error instanceof DiskError && error.kind === 'not-found')) throw error;
        return durables.create(lockPath, LOCK_BYTES);
      });
      if (file.lock(LOCK_PART, 'exclusive')) return file;
      file.release();
      return `${path} is locked: another process serves the device`;
    } catch (error) {
      if (error instanceof Error) return error.message;
      throw error;
    }
  }

  #note(device: number, reason: string): void {
    this.#runtime.log.write('warn', 'the backup of a device is not written', {
      ...{ code: 'BACKUP_NOT_WRITTEN', device, reason },
    });
  }
}
