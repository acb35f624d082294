/**
 * The process of a host: on a using machine, with the doors through which programs reach the rack.
 * It needs the rack for what they ask, not for being there: a controller that is away is waited
 * for.
 */

import { BlockHost } from '../block/block-host.js';
import {
  checkHostConfig,
  Host,
  type HostConfig,
  type HostReady,
  isSecured,
} from '../client/host.js';
import { createEndpoint } from '../fabric/endpoint.js';
import { NetworkError } from '../runtime/network.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime/runtime.js';
import { DoorKind } from '../wire/messages.js';
import { DeviceExports } from './nbd/device-exports.js';
import { NbdDoor } from './nbd/door.js';
import { NBD_LIMITS } from './nbd/limits.js';
import { nbdTlsOf } from './nbd/tls-files.js';

/** Of a host that serves. */
export interface RunningHost extends RunningRole {
  /** Where the NBD door listens. */
  readonly nbd?: string;
}

/** Rejects with `ConfigError` or `NetworkError`. */
export const hostMain: RoleMain<HostConfig> = async (runtime, config) => {
  const checked = checkHostConfig(config);
  const endpoint = createEndpoint(runtime);
  const { address } = await endpoint.listen(checked.listen);
  const nbd = await openNbd(runtime, checked);
  const kind = isSecured(checked) ? DoorKind.NBD_TLS : DoorKind.NBD;
  const doors = nbd === undefined ? [] : [{ kind, address: nbd.address }];
  const devices = () => nbd?.devices.reports() ?? [];
  const host = new Host(runtime, endpoint, checked, { address, doors, devices });
  void host.run();
  const { pid } = runtime.processes;
  const door = nbd === undefined ? {} : { nbd: nbd.address };
  runtime.processes.ready({ id: checked.id, address, pid, ...door } satisfies HostReady);
  return {
    address,
    ...door,
    stop: async () => {
      await nbd?.stop();
      await host.stop();
    },
  } satisfies RunningHost;
};

async function openNbd(
  runtime: Runtime,
  config: ReturnType<typeof checkHostConfig>,
): Promise<(RunningRole & { readonly devices: BlockHost }) | undefined> {
  if (config.nbd === undefined) return undefined;
  const tls = await nbdTlsOf(runtime, config);
  const devices = new BlockHost(runtime, config.join);
  const exports = new DeviceExports(devices, runtime.timers);
  const door = new NbdDoor({ runtime, exports, tls });
  const { address } = await listen(door, config.nbd, config.nbdAnyPort === true);
  return {
    address,
    devices,
    stop: async () => {
      // What waits for a lease then ends with the devices, and the door with it.
      const late = runtime.timers.after(NBD_LIMITS.stopMs, () => void devices.close());
      await door.stop();
      late.cancel();
      await devices.close();
    },
  };
}

/** Where another process listens there already, on any port if that will do. */
async function listen(door: NbdDoor, address: string, anyPort: boolean) {
  try {
    return await door.listen(address);
  } catch (error) {
    const isTaken = error instanceof NetworkError && anyPort && address.startsWith('tcp://');
    if (!isTaken) throw error;
    return door.listen(address.replace(/:\d+$/, ':0'));
  }
}
