/** The devices of a rack for a process that has a door to them: connects when one is asked for. */

import { Status } from '../base/status.js';
import { MemrackError } from '../client/error.js';
import { connectRack, type Rack } from '../client/rack.js';
import { bestFreeOfTwo } from '../policies/placement/best-free-of-two.js';
import type { Runtime } from '../runtime/runtime.js';
import type { DeviceReport } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import { Backups } from './backup/backups.js';
import { DeviceHost } from './device-host.js';
import { Memories } from './memories.js';
import type { ServedDevice } from './served-device.js';
import type { NumberedDevice } from './world.js';

export class BlockHost {
  readonly #runtime: Runtime;
  readonly #controllers: readonly string[];
  #connecting: Promise<{ rack: Rack; devices: DeviceHost } | undefined> | undefined;
  #devices: DeviceHost | undefined;
  readonly #backups: Backups;
  #turn = 0;

  /** `controllers`: their addresses, `tcp://HOST:PORT`; each is tried in turn. */
  constructor(runtime: Runtime, controllers: readonly string[]) {
    this.#runtime = runtime;
    this.#controllers = controllers;
    this.#backups = new Backups(runtime);
  }

  async use(name: string, device?: number): Promise<ServedDevice | Status> {
    const connected = await this.#connected();
    return connected === undefined ? Status.Unavailable : connected.devices.use(name, device);
  }

  /** What this host tells of its devices. */
  reports(): readonly Fields<typeof DeviceReport>[] {
    return this.#devices?.reports() ?? [];
  }

  letGo(device: ServedDevice): void {
    void this.#connecting?.then((connected) => connected?.devices.letGo(device));
  }

  /** All devices of the rack; undefined where that cannot be known now. */
  async list(): Promise<readonly NumberedDevice[] | undefined> {
    return (await this.#connected())?.devices.list();
  }

  async close(): Promise<void> {
    const connected = await this.#connecting;
    await connected?.devices.close();
    await this.#backups.closed();
    await connected?.rack.close();
  }

  async #connected() {
    this.#connecting ??= this.#connect();
    const connected = await this.#connecting;
    if (connected === undefined) this.#connecting = undefined;
    return connected;
  }

  async #connect() {
    const address = this.#controllers[this.#turn++ % this.#controllers.length] as string;
    try {
      const rack = await connectRack(this.#runtime, address.replace(/^tcp:/, 'memrack:'));
      const { runtime, control, connections, leases } = rack.core;
      const memories = new Memories(runtime.clock, control);
      const policy = bestFreeOfTwo;
      const backups = this.#backups;
      const world = { runtime, control, connections, leases, memories, policy, backups };
      this.#devices = new DeviceHost(world);
      return { rack, devices: this.#devices };
    } catch (error) {
      if (!(error instanceof MemrackError)) throw error;
      const reason = error.message;
      this.#runtime.log.write('warn', 'the rack is not there', { code: 'RACK_AWAY', reason });
      return undefined;
    }
  }
}
