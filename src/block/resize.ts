/**
 * Another size for a device. To grow is a word to the controller: who serves it meanwhile knows
 * fewer sectors, and is right about them. To shrink takes the lease, so that nobody serves it:
 *
 *   zeros to the rest of the slab that stays in part -> size, durably
 *
 * Killed within, the same again goes on. What is beyond the end the controller gives back.
 */

import { Status, statusName } from '../base/status.js';
import { codeOf, MemrackError } from '../client/error.js';
import type { RackCore } from '../client/rack.js';
import type { CompletionSink } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import { bestFreeOfTwo } from '../policies/placement/best-free-of-two.js';
import { PIECE_BYTES } from '../replication/layout.js';
import { MessageType } from '../wire/messages.js';
import { CopyPace } from './copy-pace.js';
import type { Device } from './device.js';
import { Memories } from './memories.js';
import { openDevice } from './open-device.js';
import { blockFaults } from './planted.js';
import type { Tenure } from './served-device.js';
import { planOf } from './slabs.js';
import type { DeviceWorld, NumberedDevice } from './world.js';

const ASK_MS = 10_000;

/** `isForced`: what was written beyond the new end is lost, and its memory is given back. */
export async function resizeDevice(
  core: RackCore,
  name: string,
  bytes: number,
  isForced = false,
): Promise<void> {
  const what = `resizing the device ${name}`;
  const deadline = core.runtime.clock.now() + ASK_MS;
  const facts = await core.control.demand(what, MessageType.OpenDevice, { name }, deadline);
  if (bytes === facts.bytes) return;
  if (bytes > facts.bytes) await resize(core, what, { ...facts, name }, bytes, 0, false);
  else await shrink(core, what, { ...facts, name }, bytes, isForced);
}

function resize(
  { control, runtime }: RackCore,
  what: string,
  { name, device, bytes: bytesBefore }: NumberedDevice,
  bytes: number,
  epoch: number,
  isForced: boolean,
): Promise<unknown> {
  const request = { name, device, bytesBefore, bytes, epoch, isForced: isForced ? 1 : 0 };
  const deadline = runtime.clock.now() + ASK_MS;
  return control.demand(what, MessageType.ResizeDevice, request, deadline);
}

async function shrink(
  core: RackCore,
  what: string,
  facts: NumberedDevice,
  bytes: number,
  isForced: boolean,
): Promise<void> {
  const { clock, timers } = core.runtime;
  const memories = new Memories(clock, core.control);
  const pace = new CopyPace({ clock, timers, uses: () => 0 });
  const world = { ...core, memories, policy: bestFreeOfTwo, pace, backups: undefined };
  const tenure = await openDevice(world, facts);
  if (typeof tenure === 'number') throw refusalOf(what, tenure);
  try {
    if (isForced) await cut(world, what, facts, bytes, tenure);
    else await resize(core, what, facts, bytes, tenure.epoch, false);
  } finally {
    await tenure.release();
  }
}

function refusalOf(what: string, status: Status): MemrackError {
  if (status !== Status.Conflict) {
    return new MemrackError(codeOf(status), `${what}: its lease is not to be had`);
  }
  const remedy = 'let its clients leave before; while it is served it can only grow';
  return new MemrackError('Conflict', `${what}: a host serves it`, { remedy });
}

async function cut(
  world: DeviceWorld,
  what: string,
  facts: NumberedDevice,
  bytes: number,
  { device, epoch }: Tenure,
): Promise<void> {
  const { layout, count } = planOf(bytes, facts.slabBytes);
  const end = Math.min(count * layout.dataBytes, facts.bytes);
  if (!blockFaults.restKept) await zero(device, what, bytes, end);
  device.stop();
  await resize(world, what, facts, bytes, epoch, true);
}

/**
 * So that it reads as zeros when the device grows again. What does so already stays as it is: zeros
 * that are written take memory.
 */
async function zero(device: Device, what: string, from: number, end: number): Promise<void> {
  const buffer = new Uint8Array(PIECE_BYTES);
  // That it is absent is known after the first read, when nodes have told what they have.
  for (let at = from; at < end && !device.isAbsent(at, end - at); ) {
    const bytes = Math.min(PIECE_BYTES - (at % PIECE_BYTES), end - at);
    const place = [at, buffer, 0, bytes] as const;
    let status = await ended((sink) => device.read(...place, sink, 0));
    if (status === Status.Ok && buffer.some((byte) => byte !== 0)) {
      buffer.fill(0);
      status = await ended((sink) => device.write(...place, sink, 0));
    }
    if (status !== Status.Ok) {
      const why = `what is left of its last slab cannot be zeroed: ${statusName(status) ?? ''}`;
      const outcome = outcomeOf(status);
      throw new MemrackError(codeOf(status), `${what}: ${why}`, { outcome });
    }
    at += bytes;
  }
}

function ended(begin: (sink: CompletionSink) => void): Promise<Status> {
  return new Promise((resolve) => begin({ completed: (_token, status) => resolve(status) }));
}
