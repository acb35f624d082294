/** Of the devices of the rack one alone, under another name; known from when it was seen first. */

import type { Status } from '../../base/status.js';
import type { BlockBackend } from '../backend.js';
import type { FileDevice, FileSource } from './files.js';

export class OneFile implements FileSource {
  readonly #all: FileSource;
  readonly #device: string;
  readonly #name: string;
  #seen: FileDevice | undefined;

  constructor(all: FileSource, device: string, name: string) {
    this.#all = all;
    this.#device = device;
    this.#name = name;
  }

  async list(): Promise<readonly FileDevice[] | undefined> {
    if (this.#seen === undefined) {
      this.#seen = (await this.#all.list())?.find(({ name }) => name === this.#device);
    }
    return this.#seen === undefined ? undefined : [{ ...this.#seen, name: this.#name }];
  }

  open(file: FileDevice): Promise<BlockBackend | Status> {
    return this.#all.open({ ...file, name: this.#device });
  }

  close(backend: BlockBackend): void {
    this.#all.close(backend);
  }
}
