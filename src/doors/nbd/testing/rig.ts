/** A door in a world of its own, with a device behind it, and clients. */

import { FakeWorld } from '../../../fabric/testing/fake-world.js';
import { NbdDoor, type NbdDoorOptions } from '../door.js';
import { Prng } from '../../../base/prng.js';
import { MiB } from '../../../base/units.js';
import { NbdClient } from './client.js';
import {
  MemoryBackend,
  type MemoryBackendOptions,
  MemoryExports,
} from '../../testing/memory-backend.js';

export const ADDRESS = 'tcp://door';

export interface RigOptions {
  readonly backend?: Partial<MemoryBackendOptions>;
  readonly door?: Partial<NbdDoorOptions>;
  readonly seed?: number;
}

export class Rig {
  readonly world: FakeWorld;
  readonly backend: MemoryBackend;
  readonly exports: MemoryExports;
  readonly door: NbdDoor;

  constructor({ backend = {}, door = {}, seed = 1 }: RigOptions = {}) {
    this.world = new FakeWorld(seed);
    const runtime = this.world.runtime();
    this.backend = new MemoryBackend(runtime.timers, { bytes: MiB, name: 'disk', ...backend });
    this.exports = new MemoryExports(this.backend);
    this.door = new NbdDoor({ runtime, exports: this.exports, ...door });
  }

  async listen(): Promise<this> {
    await this.door.listen(ADDRESS);
    return this;
  }

  /** A client before its first option. */
  async connect(clientFlags?: number): Promise<NbdClient> {
    const { network } = this.world.runtime();
    return this.wait(NbdClient.connect(network, ADDRESS, clientFlags));
  }

  /** A client that uses the device. */
  async use(how: { structured?: boolean; context?: boolean } = {}): Promise<NbdClient> {
    const client = await this.connect();
    if (how.structured !== false) await this.wait(client.structured());
    if (how.context !== false && how.structured !== false) {
      await this.wait(client.contexts('disk', 'base:allocation'));
    }
    const facts = await this.wait(client.go('disk'));
    if (typeof facts === 'number') throw new Error(`refused: ${facts}`);
    return client;
  }

  /** Lets time pass until the promise settles. */
  async wait<T>(promise: Promise<T>, forMs = 60_000): Promise<T> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    const hasSettled = await this.world.run(() => isSettled, forMs);
    if (!hasSettled) throw new Error('nothing more happens');
    return promise;
  }

  async pass(ms: number): Promise<void> {
    await this.world.run(() => false, ms);
  }
}

export function someBytes(length: number, seed: number): Uint8Array {
  const prng = new Prng(seed);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = prng.below(256);
  return bytes;
}
