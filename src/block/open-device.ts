/** Takes the lease of a device, reads its rows, and serves it for as long as it is held. */

import { Status } from '../base/status.js';
import { MemrackError, statusOf } from '../client/error.js';
import type { Lease } from '../client/lease.js';
import type { Chance } from '../policies/placement/candidate.js';
import { sample } from '../policies/sample.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import type { BackupFile } from './backup/backup-file.js';
import { Device } from './device.js';
import type { SlabCounts } from './kept-slab.js';
import { type DeviceLease, LeasedRack, rowOf } from './leased-rack.js';
import type { SetRow, SlabNode } from './ports.js';
import type { Tenure } from './served-device.js';
import { sweep } from './sweep.js';
import type { DeviceWorld, NumberedDevice } from './world.js';

/** How long others wait for a host that has vanished. */
const LEASE_MS = 5_000;
/** What a read or write may take before it is given up. */
export const PATIENCE_MS = 30_000;
const ROWS_MS = 5_000;
const HELD_MS = 1_000;
/** What is under way when a device is given up may end so long. */
const FINISH_MS = 1_000;

export async function openDevice(
  world: DeviceWorld,
  device: NumberedDevice,
  counts?: SlabCounts,
): Promise<Tenure | Status> {
  const nodes = await world.memories.list();
  if (nodes === undefined) return Status.Unavailable;
  const hint = await readRows(world, device.device);
  if (typeof hint === 'number') return hint;
  const there = leaseNodes(nodes, hint, world.runtime.entropy);
  if (there.length === 0) return Status.Unavailable;
  try {
    const wish = { nodes: there, durationMs: LEASE_MS };
    const lease = await world.leases.acquireOfDevice(device.device, wish);
    const [size, rows, heldBefore] = await Promise.all([
      readSize(world, device),
      readRows(world, device.device),
      readHeldBefore(world, lease),
    ]);
    const epochs = { epoch: lease.epoch, heldBefore };
    if (typeof size !== 'number' && typeof rows !== 'number') {
      const backup = await openBackup(world, device, epochs);
      return serve(world, { ...device, ...size }, lease, rows, { counts, backup, heldBefore });
    }
    world.backups?.passOver(device.device, epochs);
    await lease.release().catch(() => undefined);
    return typeof size === 'number' ? size : (rows as Status);
  } catch (error) {
    if (!(error instanceof MemrackError)) throw error;
    const { code, message: reason } = error;
    if (code === 'Conflict') return Status.Conflict;
    world.runtime.log.write('warn', 'the lease of a device cannot be had now', {
      ...{ code: 'DEVICE_NOT_OPENED', device: device.name, reason },
    });
    // A node may be gone that was there a moment ago.
    return Status.Unavailable;
  }
}

/** Whoever has the lease has the file, if it is here. */
async function openBackup(
  { backups }: DeviceWorld,
  { device, slabBytes, backup }: NumberedDevice,
  epochs: { readonly epoch: number; readonly heldBefore: number },
): Promise<BackupFile | undefined> {
  return backup === undefined ? undefined : backups?.open(backup, device, slabBytes, epochs);
}

/**
 * Those that can be had, the ones with copies first. Where there are more than a lease may be over
 * chance decides, so that devices together use all of them.
 */
export function leaseNodes(
  nodes: readonly SlabNode[],
  rows: readonly SetRow[],
  chance: Chance,
): string[] {
  const used = new Set(rows.flatMap(({ copies }) => copies.map(({ node }) => node)));
  const there = nodes.filter(({ isServing, isLeaving }) => isServing || isLeaving);
  const ids = there.map(({ id }) => id);
  const first = ids.filter((id) => used.has(id)).slice(0, LEASE_NODES_MAX);
  const others = ids.filter((id) => !used.has(id));
  const room = LEASE_NODES_MAX - first.length;
  if (others.length <= room) return [...first, ...others];
  return [...first, ...sample(others.length, room, chance).map((i) => others[i] as string)];
}

interface ServeParts {
  readonly counts: SlabCounts | undefined;
  readonly backup: BackupFile | undefined;
  readonly heldBefore: number;
}

function serve(
  world: DeviceWorld,
  facts: NumberedDevice,
  lease: Lease,
  rows: readonly SetRow[],
  { counts, backup, heldBefore }: ServeParts,
): Tenure {
  const { runtime, control, connections, memories, policy, backups } = world;
  let isLost: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    isLost = resolve;
  });
  const rack = new LeasedRack({
    ...{ runtime, control, connections, memories },
    lease: heldLease(lease),
    device: facts.device,
    slabBytes: facts.slabBytes,
    windowTo: world.pace.windowTo,
  });
  let tellSwept: () => void = () => undefined;
  const swept = new Promise<void>((resolve) => (tellSwept = resolve));
  const device = new Device({
    ...{ facts, swept, rows, rack, policy, backup, clock: runtime.clock, timers: runtime.timers },
    unwritten: () => backups?.unwritten(facts.device),
    entropy: runtime.entropy,
    checksum: runtime.checksum,
    patienceMs: PATIENCE_MS,
    ...(counts === undefined ? {} : { counts }),
    paced: world.pace.run,
  });
  let isEnded = false;
  let closing: Promise<unknown> | undefined;
  const end = (): void => {
    if (isEnded) return;
    isEnded = true;
    rack.stop();
    const { epoch } = lease;
    const told = { epoch, behind: device.behindInFile(), isSole: device.isInFileAlone };
    device.stop();
    if (backup !== undefined) closing = backups?.close(facts.device, backup, told);
    isLost();
  };
  lease.lost.addEventListener('abort', end, { once: true });
  if (lease.lost.aborted) end();
  else {
    void sweep(world, rack, facts.device, lease.epoch, rows, device).then(tellSwept);
  }
  const release = async (): Promise<void> => {
    await device.finish(FINISH_MS);
    end();
    // Whoever has the lease next is to have the file, too.
    await closing;
    await lease.release().catch(() => undefined);
  };
  return { device, bytes: facts.bytes, epoch: lease.epoch, heldBefore, ended, release };
}

function heldLease(lease: Lease): DeviceLease {
  return {
    number: lease.number,
    epoch: lease.epoch,
    nodes: lease.nodes,
    memoryAt: (node) => lease.memoryAt(node),
    extend: (node) => ended(lease.extend(node)),
    shrink: (node) => ended(lease.shrink(node)),
    confirm: () => lease.confirm(),
    lose: (why) => lease.lose(why),
  };
}

async function ended(change: Promise<void>): Promise<Status> {
  try {
    await change;
    return Status.Ok;
  } catch (error) {
    if (error instanceof MemrackError) return statusOf(error);
    throw error;
  }
}

/** A controller that cannot say, or is of a version before, leaves it at the epoch before. */
async function readHeldBefore(
  { runtime, control }: DeviceWorld,
  { number: lease, epoch }: Lease,
): Promise<number> {
  const deadline = runtime.clock.now() + HELD_MS;
  const reply = await control.call(MessageType.HeldBefore, { lease, epoch }, deadline);
  return reply.status === Status.Ok ? reply.epoch : epoch - 1;
}

/** As long as the lease is held it can only grow. */
async function readSize(
  world: DeviceWorld,
  { name, device }: NumberedDevice,
): Promise<{ readonly bytes: number } | Status> {
  const deadline = world.runtime.clock.now() + ROWS_MS;
  const reply = await world.control.call(MessageType.OpenDevice, { name }, deadline);
  if (reply.status !== Status.Ok) return reply.status;
  return reply.device === device ? { bytes: reply.bytes } : Status.NotFound;
}

export async function readRows(
  world: Pick<DeviceWorld, 'runtime' | 'control'>,
  device: number,
): Promise<SetRow[] | Status> {
  const rows: SetRow[] = [];
  const deadline = world.runtime.clock.now() + ROWS_MS;
  for (let from = 0; ; ) {
    const reply = await world.control.call(MessageType.GetSets, { device, from }, deadline);
    if (reply.status !== Status.Ok) return reply.status;
    for (const set of reply.sets) rows.push(rowOf(set.slab, set));
    if (reply.next === 0) return rows;
    from = reply.next;
  }
}
