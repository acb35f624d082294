/**
 * The FUSE door: a folder with a file for each device.
 *
 *     const door = new FuseDoor({ runtime, source });
 *     await door.mount('/mnt/memrack');
 *     ...
 *     await door.stop();
 */

import { KiB } from '../../base/units.js';
import type { FuseMount } from '../../runtime/fuse.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { FileSource } from './files.js';
import { FuseSession } from './session.js';

export interface FuseDoorOptions {
  readonly runtime: Pick<Runtime, 'timers' | 'clock' | 'fuse' | 'log'>;
  readonly source: FileSource;
  /** Of swap: the kernel keeps no pages of the files, and lets nobody map them. */
  readonly isUncached?: boolean;
}

/** Requests that are here at a time. */
const SLOTS = 128;
const DATA_BYTES_MAX = 128 * KiB;
const SOURCE = 'memrack';

export class FuseDoor {
  readonly #options: FuseDoorOptions;
  #mount: FuseMount | undefined;
  #isStopped = false;

  constructor(options: FuseDoorOptions) {
    this.#options = options;
  }

  /** Rejects with a `FuseError`. */
  async mount(folder: string): Promise<void> {
    const { runtime, source, isUncached = false } = this.#options;
    const dataBytesMax = DATA_BYTES_MAX;
    const options = { folder, source: SOURCE, slots: SLOTS, dataBytesMax };
    const kernel = await runtime.fuse.mount(options);
    this.#mount = kernel;
    const { timers, clock, log } = runtime;
    const { owner } = kernel;
    const ended = (): void => {
      if (this.#isStopped) return;
      log.write('warn', 'the folder of the files was unmounted', {
        code: 'FOLDER_UNMOUNTED',
        folder,
      });
    };
    kernel.begin(
      new FuseSession({ kernel, timers, clock, source, owner, dataBytesMax, isUncached, ended }),
    );
  }

  /** Takes the folder away. What is under way there ends first, unless files are still open. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#mount?.close();
  }
}
