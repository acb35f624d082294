/** Making, listing and removing block devices: what the command line and programs ask for. */

import { isNoAnswer, Status } from '../base/status.js';
import { GiB, MiB } from '../base/units.js';
import { codeOf, MemrackError, statusOf } from '../client/error.js';
import { nbdUrl } from '../client/options.js';
import type { RackCore } from '../client/rack.js';
import { outcomeOf } from '../fabric/verbs.js';
import { sleep } from '../runtime/clock.js';
import { DiskError } from '../runtime/disk.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import { DoorKind, MessageType } from '../wire/messages.js';
import { makeBackup, removeBackup } from './backup/backup-path.js';
import { changedText, factsOf, optionsIn, optionsText } from './device-options.js';
import { Memories } from './memories.js';
import type { DeviceAllowance } from './rate-limit.js';
import type { NumberedDevice } from './world.js';

export interface DeviceWish {
  readonly name: string;
  readonly bytes: number;
  /** 1 to 3. */
  readonly copies: number;
  /**
   * A file that its host keeps it in, too: a path from / on. It is made here, and nothing may be
   * there, so this is for the machine whose host is to serve the device.
   */
  readonly backup?: string | undefined;
  /** What its host allows it; default: all there is. */
  readonly allowance?: DeviceAllowance;
  /** Of memory that each copy of a slab takes; default: by the size of the device. */
  readonly slabBytes?: number;
}

const ASK_MS = 10_000;
const REMOVE_LEASE_MS = 10_000;
const LOOK_MS = 200;
const SLAB_BYTES_LEAST = 64 * MiB;
/** About so many slabs, as far as their sizes allow. */
const SLABS_WANTED = 256;

export async function createDevice(core: RackCore, wish: DeviceWish): Promise<NumberedDevice> {
  const { name, bytes, copies, backup, allowance = {} } = wish;
  const { control, runtime } = core;
  const device = runtime.entropy.u53();
  const slabBytes = wish.slabBytes ?? slabBytesFor(bytes);
  const options = optionsText({ backup, ...allowance });
  const request = { name, device, bytes, slabBytes, copies, options };
  const what = `making the device ${name}`;
  if (backup?.startsWith('/') === false) {
    const remedy = 'name its path from / on';
    throw new MemrackError('Invalid', `the backup ${backup} is in no folder`, { remedy });
  }
  if (backup !== undefined) await makeBackupOf(core, backup, { device, slabBytes });
  try {
    await control.demand(what, MessageType.CreateDevice, request, within(core, ASK_MS));
  } catch (error) {
    // Without an answer it may be there.
    const isRefused = error instanceof MemrackError && !isNoAnswer(statusOf(error));
    if (backup !== undefined && isRefused) {
      await removeBackup(runtime, backup, request).catch(() => false);
    }
    throw error;
  }
  return { name, device, bytes, slabBytes, copies, backup, isBackedUp: backup !== undefined };
}

/**
 * Changes what is named of what its host allows it; `undefined`: all there is. Resolves with what
 * it is then, which the host knows some seconds later.
 */
export async function allowDevice(
  { control, runtime }: RackCore,
  name: string,
  changes: DeviceAllowance,
): Promise<DeviceAllowance> {
  const what = `changing the device ${name}`;
  const deadline = runtime.clock.now() + ASK_MS;
  for (;;) {
    const facts = await control.demand(what, MessageType.OpenDevice, { name }, deadline);
    const { device, options: before } = facts;
    const options = changedText(before, changes);
    if (options === undefined) {
      const remedy = 'use the version of this program that made it';
      throw new MemrackError('Unsupported', `${what}: its options are not known`, { remedy });
    }
    const request = { name, device, before, options };
    const reply = await control.call(MessageType.SetDeviceOptions, request, deadline);
    if (reply.status === Status.Ok) {
      const { backup: _, ...allowance } = optionsIn(options);
      return allowance;
    }
    // Somebody else has changed something just now.
    if (reply.status === Status.Conflict) continue;
    const outcome = outcomeOf(reply.status);
    throw new MemrackError(codeOf(reply.status), `${what}: ${reply.reason}`, { outcome });
  }
}

async function makeBackupOf(
  { runtime }: RackCore,
  path: string,
  of: { readonly device: number; readonly slabBytes: number },
): Promise<void> {
  try {
    await makeBackup(runtime, path, of);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    const remedy = 'name a new file, in a folder that is there, on the machine of its host';
    throw new MemrackError('Invalid', `the backup cannot be made: ${error.message}`, { remedy });
  }
}

/** Large devices have large slabs, so that they have some hundreds and not many thousands. */
export function slabBytesFor(bytes: number): number {
  let slabBytes = SLAB_BYTES_LEAST;
  while (slabBytes < GiB && bytes / slabBytes > SLABS_WANTED) slabBytes *= 2;
  return slabBytes;
}

export async function listDevices(core: RackCore): Promise<NumberedDevice[]> {
  const found: NumberedDevice[] = [];
  for (let after = ''; ; ) {
    const type = MessageType.ListDevices;
    const reply = await core.control.demand(
      'listing devices',
      type,
      { after },
      within(core, ASK_MS),
    );
    found.push(...reply.devices.map(factsOf));
    after = found.at(-1)?.name ?? '';
    if (reply.more === 0 || reply.devices.length === 0) return found;
  }
}

/** All of them with what their hosts tell, as `memrack device list -o json` prints it. */
export async function seeDevices(core: RackCore): Promise<unknown[]> {
  const found: { readonly name: string }[] = [];
  for (let after = ''; ; ) {
    const type = MessageType.SeeDevices;
    const deadline = within(core, ASK_MS);
    const reply = await core.control.demand('listing devices', type, { after }, deadline);
    const page = JSON.parse(reply.json) as typeof found;
    found.push(...page);
    after = page.at(-1)?.name ?? '';
    if (reply.more === 0 || page.length === 0) break;
  }
  const facts = new Map((await listDevices(core)).map((device) => [device.name, device]));
  return found.map((device) => ({ ...device, ...facts.get(device.name)?.allowance }));
}

/** Where a host serves it. Rejects with `NotFound`, and with `Unavailable` where no host serves. */
export async function deviceUri(core: RackCore, name: string): Promise<string> {
  const deadline = within(core, ASK_MS);
  await core.control.demand(`the device ${name}`, MessageType.OpenDevice, { name }, deadline);
  const { NBD, NBD_TLS } = DoorKind;
  for (;;) {
    const reply = await core.control.demand('listing doors', MessageType.ListDoors, {}, deadline);
    const door = reply.doors.find(({ kind }) => kind === NBD || kind === NBD_TLS);
    if (door !== undefined) {
      return `${nbdUrl(door.address, door.kind === NBD_TLS)}/${encodeURIComponent(name)}`;
    }
    // One that was killed is let in again when it has been silent for a while.
    if (core.runtime.clock.now() + LOOK_MS >= deadline) break;
    await sleep(core.runtime.timers, LOOK_MS);
  }
  const remedy = 'start a host: memrack host --join ADDRESS';
  throw new MemrackError('Unavailable', 'no host serves block devices', { remedy });
}

/**
 * Removes it. Rejects with `Conflict` while a host serves it. The controller gives its memory back:
 * at once, and at nodes that are away as soon as they are there. Resolves to the path of its
 * backup, where that is not on this machine, and is left.
 */
export async function removeDevice(core: RackCore, name: string): Promise<string | undefined> {
  const { control, leases, runtime } = core;
  const what = `removing the device ${name}`;
  const facts = await control.demand(what, MessageType.OpenDevice, { name }, within(core, ASK_MS));
  const memories = new Memories(runtime.clock, control);
  const nodes = (await memories.list()) ?? [];
  const there = nodes.filter(({ isServing, isLeaving }) => isServing || isLeaving);
  const { device } = facts;
  const ids = there.map(({ id }) => id).slice(0, LEASE_NODES_MAX);
  const wish = { nodes: ids, durationMs: REMOVE_LEASE_MS };
  const lease = await leases.acquireOfDevice(device, wish);
  try {
    const request = { name, device, epoch: lease.epoch };
    await control.demand(what, MessageType.RemoveDevice, request, within(core, ASK_MS));
  } finally {
    await lease.release().catch(() => undefined);
  }
  const { backup } = factsOf(facts);
  if (backup === undefined) return undefined;
  return (await removeBackup(runtime, backup, facts)) ? undefined : backup;
}

function within({ runtime }: RackCore, ms: number): number {
  return runtime.clock.now() + ms;
}
