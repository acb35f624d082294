/**
 * The files of a mount: which there are, and the devices behind those that are open. A file is
 * known by the number of its device, so that whoever serves the mount next knows it, too.
 */

import { Status } from '../../base/status.js';
import type { BlockBackend } from '../backend.js';
import { FUSE_ROOT_ID } from './abi.js';
import { Lane } from './lanes.js';

/** A file, as the kernel is told of it. */
export interface FileFacts {
  readonly node: number;
  readonly name: string;
  readonly bytes: number;
}

/** A device that can be a file. */
export interface FileDevice {
  /** Its number in the rack, 1 or more; no other device ever has it. */
  readonly device: number;
  readonly name: string;
  readonly bytes: number;
}

/** Where files come from. */
export interface FileSource {
  /** All that there are; undefined: that cannot be known now. Never rejects. */
  list(): Promise<readonly FileDevice[] | undefined>;
  /**
   * This device, and no other of its name, for reads and writes until `close`; or why it cannot be
   * had. Never rejects.
   */
  open(file: FileDevice): Promise<BlockBackend | Status>;
  close(backend: BlockBackend): void;
}

/** A device that is open. */
interface Opened {
  readonly backend: BlockBackend;
  readonly unwatch: () => void;
  /** Others may have written: what the kernel, or a program, knows of it may be wrong. */
  isStale: boolean;
}

export class File {
  facts: FileFacts;
  readonly lane = new Lane();
  /** When something was written to it here last, of the wall's clock. */
  writtenMs: number;
  opens = 0;
  opened: Opened | undefined;
  opening: Promise<Status> | undefined;

  constructor(facts: FileFacts, nowMs: number) {
    this.facts = facts;
    this.writtenMs = nowMs;
  }
}

export function nodeOfDevice(device: number): number {
  return FUSE_ROOT_ID + device;
}

export class Files {
  readonly #source: FileSource;
  readonly #wall: () => number;
  /** The kernel keeps what is not so any more. */
  readonly #changed: ((file: File) => void) | undefined;
  readonly #known = new Map<number, File>();
  #looking: Promise<readonly FileFacts[] | undefined> | undefined;
  #lookingNext: Promise<readonly FileFacts[] | undefined> | undefined;

  /** `changed` missing: only who serves this mount writes, one after the other. */
  constructor(source: FileSource, wall: () => number, changed?: (file: File) => void) {
    this.#source = source;
    this.#wall = wall;
    this.#changed = changed;
  }

  find(node: number): File | undefined {
    return this.#known.get(node);
  }

  get all(): IterableIterator<File> {
    return this.#known.values();
  }

  /** As they are at some time after this call; undefined where nobody knows. */
  look(): Promise<readonly FileFacts[] | undefined> {
    const before = this.#looking;
    if (before === undefined) return this.#lookNow();
    this.#lookingNext ??= before.then(() => this.#lookNow());
    return this.#lookingNext;
  }

  #lookNow(): Promise<readonly FileFacts[] | undefined> {
    this.#lookingNext = undefined;
    const looking = this.#source.list().then((devices) => {
      if (this.#looking === looking) this.#looking = undefined;
      return devices && this.#learn(devices);
    });
    this.#looking = looking;
    return looking;
  }

  #learn(devices: readonly FileDevice[]): readonly FileFacts[] {
    const seen = devices.map(({ device, name, bytes }) => {
      return { node: nodeOfDevice(device), name, bytes };
    });
    const nodes = new Set(seen.map(({ node }) => node));
    for (const [node, file] of this.#known) {
      if (!nodes.has(node) && file.opens === 0) this.#known.delete(node);
    }
    for (const facts of seen) {
      const file = this.#known.get(facts.node);
      // What is open keeps its size until it is closed by all.
      const bytes = file?.opened?.backend.bytes ?? facts.bytes;
      if (file === undefined) this.#known.set(facts.node, new File(facts, this.#wall()));
      else file.facts = { ...facts, bytes };
    }
    return seen;
  }

  /** Each that ends as `Ok` wants a `release`. */
  async open(file: File): Promise<Status> {
    file.opens += 1;
    let status: Status = file.opened?.isStale === true ? Status.Stale : Status.Ok;
    if (file.opened === undefined) {
      file.opening ??= this.#openDevice(file);
      status = await file.opening;
    }
    if (status !== Status.Ok) this.release(file);
    return status;
  }

  async #openDevice(file: File): Promise<Status> {
    const { name, node, bytes } = file.facts;
    const backend = await this.#source.open({ name, device: node - FUSE_ROOT_ID, bytes });
    file.opening = undefined;
    if (typeof backend === 'number') return backend;
    if (file.opens === 0) {
      this.#source.close(backend);
      return Status.Closed;
    }
    const changed = (): void => {
      opened.isStale = true;
      this.#changed?.(file);
    };
    const isWatched = this.#changed !== undefined;
    const unwatch = isWatched ? backend.whenOthersWrote(changed) : () => undefined;
    const opened: Opened = { backend, unwatch, isStale: false };
    file.opened = opened;
    file.facts = { ...file.facts, bytes: backend.bytes };
    return Status.Ok;
  }

  /** Opens the only one, as a program would that never closes it. */
  async hold(): Promise<Status> {
    const [facts] = (await this.look()) ?? [];
    const file = facts && this.#known.get(facts.node);
    return file === undefined ? Status.Unavailable : this.open(file);
  }

  release(file: File): void {
    if (file.opens === 0) return;
    file.opens -= 1;
    if (file.opens === 0) this.#close(file);
  }

  #close(file: File): void {
    const { opened } = file;
    if (opened === undefined) return;
    file.opened = undefined;
    opened.unwatch();
    this.#source.close(opened.backend);
  }

  /** Lets go of all that is open; nothing is read or written any more. */
  close(): void {
    for (const file of this.#known.values()) {
      file.opens = 0;
      this.#close(file);
    }
  }
}
