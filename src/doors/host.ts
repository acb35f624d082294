/**
 * The process of a host: on a using machine, with the doors through which programs reach the rack.
 * It needs the rack for what they ask, not for being there: a controller that is away is waited
 * for.
 */

import { BlockHost } from '../block/block-host.js';
import {
  type CheckedHost,
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
import { DeviceFiles } from './fuse/device-files.js';
import { FuseDoor, type ServedMount } from './fuse/door.js';
import { OneFile } from './fuse/one-file.js';
import { DeviceExports } from './nbd/device-exports.js';
import { NbdDoor } from './nbd/door.js';
import { NBD_LIMITS } from './nbd/limits.js';
import { nbdTlsOf } from './nbd/tls-files.js';

/** Of a host that serves. */
export interface RunningHost extends RunningRole {
  /** Where the NBD door listens. */
  readonly nbd?: string;
  /** The folder with a file for each device. */
  readonly files?: string;
  /** The swap of this machine. */
  readonly swap?: ServedMount;
}

/** A way in that is open. */
interface OpenDoor {
  /** Where it listens; missing: nowhere. */
  readonly address?: string;
  /** After what is under way. */
  stop(): Promise<void>;
}

/** Longer than a lease that another process had. */
const SWAP_PATIENCE_MS = 30_000;

/** Rejects with `ConfigError`, `NetworkError` or `FuseError`. */
export const hostMain: RoleMain<HostConfig> = async (runtime, config) => {
  const checked = checkHostConfig(config);
  const endpoint = createEndpoint(runtime);
  const { address } = await endpoint.listen(checked.listen);
  const blocks = new BlockHost(runtime, checked.join);
  const files = await openFiles(runtime, checked, blocks);
  const opened: OpenDoor[] = files === undefined ? [] : [files];
  const orStop = async (error: unknown): Promise<never> => {
    await Promise.all(opened.map((door) => door.stop()));
    throw error;
  };
  const nbd = await openNbd(runtime, checked, blocks).catch(orStop);
  if (nbd !== undefined) opened.push(nbd);
  const swap = await openSwap(runtime, checked, blocks).catch(orStop);
  if (swap !== undefined) opened.push(swap.door);
  const kind = isSecured(checked) ? DoorKind.NBD_TLS : DoorKind.NBD;
  const doors = nbd === undefined ? [] : [{ kind, address: nbd.address }];
  const host = new Host(runtime, endpoint, checked, {
    ...{ address, doors },
    devices: () => blocks.reports(),
  });
  void host.run();
  const { pid } = runtime.processes;
  const where = {
    ...(nbd === undefined ? {} : { nbd: nbd.address }),
    ...(checked.files === undefined ? {} : { files: checked.files }),
  };
  runtime.processes.ready({ id: checked.id, address, pid, ...where } satisfies HostReady);
  return {
    address,
    ...where,
    ...(swap && { swap: swap.served }),
    stop: async () => {
      // What waits for a lease then ends with the devices, and the doors with it.
      const late = runtime.timers.after(NBD_LIMITS.stopMs, () => void blocks.close());
      await Promise.all(opened.map((door) => door.stop()));
      late.cancel();
      await blocks.close();
      await host.stop();
    },
  } satisfies RunningHost;
};

async function openNbd(
  runtime: Runtime,
  config: CheckedHost,
  blocks: BlockHost,
): Promise<Required<OpenDoor> | undefined> {
  if (config.nbd === undefined) return undefined;
  const tls = await nbdTlsOf(runtime, config);
  const exports = new DeviceExports(blocks, runtime.timers);
  const door = new NbdDoor({ runtime, exports, tls });
  const { address } = await listen(door, config.nbd, config.nbdAnyPort === true);
  return { address, stop: () => door.stop() };
}

async function openFiles(
  runtime: Runtime,
  config: CheckedHost,
  blocks: BlockHost,
): Promise<OpenDoor | undefined> {
  if (config.files === undefined) return undefined;
  const door = new FuseDoor({ runtime, source: new DeviceFiles(blocks, runtime.timers) });
  await door.mount(config.files);
  return { stop: () => door.stop() };
}

/** The device is opened before anything is asked of it. */
async function openSwap(
  runtime: Runtime,
  config: CheckedHost,
  blocks: BlockHost,
): Promise<{ readonly door: OpenDoor; readonly served: ServedMount } | undefined> {
  if (config.swap === undefined) return undefined;
  const { device, file, connection, agreed } = config.swap;
  const source = new OneFile(new DeviceFiles(blocks, runtime.timers), device, file);
  const door = new FuseDoor({ runtime, source });
  const served = await door.serve({ connection, agreed }, SWAP_PATIENCE_MS);
  return { door: { stop: () => door.stop() }, served };
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
