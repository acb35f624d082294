/** Files of devices that are in memory, and never go. */

import { Status } from '../../../base/status.js';
import type { BlockBackend } from '../../backend.js';
import type { FileDevice, FileSource } from '../files.js';

export class MemoryFiles implements FileSource {
  readonly #devices: readonly BlockBackend[];
  isAway = false;
  refusal: Status | undefined;
  /** How often each is open. */
  readonly opened = new Map<string, number>();

  constructor(devices: readonly BlockBackend[]) {
    this.#devices = devices;
  }

  list(): Promise<readonly FileDevice[] | undefined> {
    const all = this.#devices.map(({ name, bytes }, i) => ({ device: i + 1, name, bytes }));
    return Promise.resolve(this.isAway ? undefined : all);
  }

  open({ name, device }: FileDevice): Promise<BlockBackend | Status> {
    if (this.refusal !== undefined) return Promise.resolve(this.refusal);
    this.opened.set(name, (this.opened.get(name) ?? 0) + 1);
    const found = this.#devices[device - 1];
    return Promise.resolve(found?.name === name ? found : Status.NotFound);
  }

  close(backend: BlockBackend): void {
    this.opened.set(backend.name, (this.opened.get(backend.name) ?? 0) - 1);
  }
}
