/**
 * The files of a mount: which there are, and the devices behind those that are open. A file is
 * known by the number of its device, so that whoever serves the mount next knows it, too.
 */

import { Status } from '../../base/status.js';
import type { BlockBackend } from '../backend.js';
import { FUSE_ROOT_ID } from './abi.js';

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
  /** The device, for reads and writes until `close`; or why it cannot be had. Never rejects. */
  open(name: string): Promise<BlockBackend | Status>;
  close(backend: BlockBackend): void;
}

export interface File {
  facts: FileFacts;
  /** While it is open. */
  backend: BlockBackend | undefined;
  opens: number;
  opening: Promise<Status> | undefined;
}

export function nodeOfDevice(device: number): number {
  return FUSE_ROOT_ID + device;
}

export class Files {
  readonly #source: FileSource;
  readonly #known = new Map<number, File>();

  constructor(source: FileSource) {
    this.#source = source;
  }

  find(node: number): File | undefined {
    return this.#known.get(node);
  }

  /** As they are now; undefined where nobody knows. */
  async look(): Promise<readonly FileFacts[] | undefined> {
    const devices = await this.#source.list();
    if (devices === undefined) return undefined;
    const seen = devices.map(({ device, name, bytes }) => {
      return { node: nodeOfDevice(device), name, bytes };
    });
    const nodes = new Set(seen.map(({ node }) => node));
    for (const [node, file] of this.#known) {
      if (!nodes.has(node) && file.opens === 0) this.#known.delete(node);
    }
    for (const facts of seen) this.#learn(facts);
    return seen;
  }

  #learn(facts: FileFacts): void {
    const file = this.#known.get(facts.node);
    if (file === undefined) {
      this.#known.set(facts.node, { facts, backend: undefined, opens: 0, opening: undefined });
    } else if (file.backend === undefined) file.facts = facts;
    // What is open keeps its size until it is closed by all.
    else file.facts = { ...facts, bytes: file.backend.bytes };
  }

  /** Each that ends as `Ok` wants a `release`. */
  async open(file: File): Promise<Status> {
    file.opens += 1;
    let status: Status = Status.Ok;
    if (file.backend === undefined) {
      file.opening ??= this.#openDevice(file);
      status = await file.opening;
    }
    if (status !== Status.Ok) this.release(file);
    return status;
  }

  async #openDevice(file: File): Promise<Status> {
    const backend = await this.#source.open(file.facts.name);
    file.opening = undefined;
    if (typeof backend === 'number') return backend;
    if (file.opens === 0) {
      this.#source.close(backend);
      return Status.Closed;
    }
    file.backend = backend;
    file.facts = { ...file.facts, bytes: backend.bytes };
    return Status.Ok;
  }

  release(file: File): void {
    if (file.opens === 0) return;
    file.opens -= 1;
    if (file.opens > 0 || file.backend === undefined) return;
    this.#source.close(file.backend);
    file.backend = undefined;
  }

  /** Lets go of all that is open; nothing is read or written any more. */
  close(): void {
    for (const file of this.#known.values()) {
      if (file.backend !== undefined) this.#source.close(file.backend);
      file.backend = undefined;
      file.opens = 0;
    }
  }
}
