/** The block devices of the rack, as exports of the door. */

import type { BlockHost } from '../../block/block-host.js';
import type { ServedDevice } from '../../block/served-device.js';
import { Status } from '../../base/status.js';
import type { Timers } from '../../runtime/clock.js';
import type { BlockBackend, Exports } from '../backend.js';
import { DeviceBackend } from '../device-backend.js';
import { nbdFaults } from './planted.js';

export class DeviceExports implements Exports {
  readonly #host: BlockHost;
  readonly #timers: Timers;
  readonly #devices = new Map<BlockBackend, ServedDevice>();

  constructor(host: BlockHost, timers: Timers) {
    this.#host = host;
    this.#timers = timers;
  }

  async find(name: string): Promise<BlockBackend | undefined> {
    const device = await this.#host.use(name);
    if (typeof device === 'number') return undefined;
    const backend = new DeviceBackend(name, '', device, this.#timers);
    const isFirst = ![...this.#devices.values()].includes(device);
    if (nbdFaults.flushOfFirstOnly && !isFirst) {
      backend.flush = (sink, token) => sink.completed(token, Status.Ok);
    }
    this.#devices.set(backend, device);
    return backend;
  }

  async list(): Promise<readonly Pick<BlockBackend, 'name' | 'description'>[]> {
    return ((await this.#host.list()) ?? []).map(({ name }) => ({ name, description: '' }));
  }

  release(backend: BlockBackend): void {
    const device = this.#devices.get(backend);
    this.#devices.delete(backend);
    if (device !== undefined) this.#host.letGo(device);
  }
}
