/**
 * The FUSE door: a folder with a file for each device.
 *
 *     const door = new FuseDoor({ runtime, source });
 *     await door.mount('/mnt/memrack');
 *     ...
 *     await door.stop();
 */

import { Status, statusName } from '../../base/status.js';
import { KiB } from '../../base/units.js';
import { sleep } from '../../runtime/clock.js';
import { FuseError, type FuseMount } from '../../runtime/fuse.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Agreed } from './agreement.js';
import type { FileSource } from './files.js';
import { resending } from './messages.js';
import { FuseSession, type FileTraffic } from './session.js';

export interface FuseDoorOptions {
  readonly runtime: Pick<Runtime, 'timers' | 'clock' | 'fuse' | 'log'>;
  readonly source: FileSource;
  /** Of swap: the kernel keeps no pages of the files, and lets nobody map them. */
  readonly isUncached?: boolean;
}

/** A mount that another process has made, of one device that is the machine's swap. */
export interface KeptMount {
  readonly connection: number;
  /** What one who served before has agreed on with the kernel; missing: nobody has. */
  readonly agreed?: Agreed | undefined;
}

/** A kept mount that is served here. */
export interface ServedMount {
  /** Undefined: the kernel has not begun yet. */
  agreed(): Agreed | undefined;
  traffic(): FileTraffic;
  /** The mount is no more, or it was stopped here. */
  readonly hasEnded: Promise<void>;
}

/** Between tries to have the device. */
const AGAIN_MS = 200;
/** Requests that are here at a time. */
const SLOTS = 128;
const DATA_BYTES_MAX = 128 * KiB;
/** For who mounts what is served here. */
export const SWAP_DATA_BYTES_MAX = DATA_BYTES_MAX;
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

  /**
   * Serves what is kept, until `stop` or its `ended`. The device is had before anything is read;
   * what one before has read and not answered comes again, once, before anything else. Rejects with
   * a `FuseError` when the device cannot be had within `patienceMs`.
   */
  async serve({ connection, agreed }: KeptMount, patienceMs: number): Promise<ServedMount> {
    const { runtime, source } = this.#options;
    const dataBytesMax = DATA_BYTES_MAX;
    const kernel = runtime.fuse.serve(connection, { slots: SLOTS, dataBytesMax });
    this.#mount = kernel;
    const { timers, clock } = runtime;
    const { owner } = kernel;
    const parts = { kernel, timers, clock, source, owner, dataBytesMax, isUncached: true };
    let tellEnd = (): void => undefined;
    const hasEnded = new Promise<void>((resolve) => (tellEnd = resolve));
    const session = new FuseSession({ ...parts, ...(agreed && { agreed }), ended: tellEnd });
    const end = clock.now() + patienceMs;
    for (;;) {
      const status = await session.files.hold();
      if (status === Status.Ok) break;
      if (clock.now() >= end) throw new FuseError(`the device: ${statusName(status)}`);
      await sleep(timers, AGAIN_MS);
    }
    if (agreed !== undefined && !(await kernel.tell(resending()))) {
      throw new FuseError('the kernel does not send again what was not answered');
    }
    kernel.begin(session);
    return {
      agreed: () => session.agreed,
      traffic: () => session.traffic,
      hasEnded,
    };
  }

  /** Takes the folder away. What is under way there ends first, unless files are still open. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#mount?.close();
  }
}
