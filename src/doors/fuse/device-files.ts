/** The block devices of the rack, as files. */

import type { Status } from '../../base/status.js';
import type { BlockHost } from '../../block/block-host.js';
import type { ServedDevice } from '../../block/served-device.js';
import type { Timers } from '../../runtime/clock.js';
import type { BlockBackend } from '../backend.js';
import { DeviceBackend } from '../device-backend.js';
import type { FileDevice, FileSource } from './files.js';

export class DeviceFiles implements FileSource {
  readonly #host: BlockHost;
  readonly #timers: Timers;
  readonly #devices = new Map<BlockBackend, ServedDevice>();

  constructor(host: BlockHost, timers: Timers) {
    this.#host = host;
    this.#timers = timers;
  }

  list(): Promise<readonly FileDevice[] | undefined> {
    return this.#host.list();
  }

  async open({ name, device: number }: FileDevice): Promise<BlockBackend | Status> {
    const device = await this.#host.use(name, number);
    if (typeof device === 'number') return device;
    const backend = new DeviceBackend(name, '', device, this.#timers);
    this.#devices.set(backend, device);
    return backend;
  }

  close(backend: BlockBackend): void {
    const device = this.#devices.get(backend);
    this.#devices.delete(backend);
    if (device !== undefined) this.#host.letGo(device);
  }
}
